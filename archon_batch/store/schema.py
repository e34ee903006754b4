"""The ledger's tables. Nothing of an item's progress is kept but its replies and its end."""

from datetime import datetime

from sqlalchemy import Boolean, Index, false, text
from sqlmodel import Field, SQLModel

from archon_batch.store.columns import count, moment, money, words


class Job(SQLModel, table=True):
    __tablename__ = "jobs"

    id: str = Field(primary_key=True, max_length=32)
    #: The hash of dataset, architecture and name: a submission made twice is one job.
    submit_key: str = Field(unique=True, max_length=64)
    name: str = Field(index=True, max_length=200)
    dataset: str = words()
    #: The architecture as it was read, frozen: the file may change while the job runs.
    architecture: str = words()
    #: The price of each model by its name, null for one that is unpriced.
    prices: str = words()
    options: str = words()
    rows: int
    #: Items in a shard.
    shard: int
    #: Shards under way at once.
    width: int
    #: running, paused (by the budget), stopped (by a provider's verdict), cancelled or done.
    state: str = Field(max_length=16)
    reason: str | None = words(null=True)
    #: high, normal or low: whose messages workers fetch first.
    priority: str = Field(
        default="normal", max_length=16, sa_column_kwargs={"server_default": "normal"}
    )
    budget: int | None = money(null=True)
    #: Settled, kept back for calls in flight, and possibly billed though no answer came.
    spent: int = money()
    reserved: int = money()
    in_doubt: int = money()
    created_at: datetime = moment()
    ended_at: datetime | None = moment(null=True)


class Item(SQLModel, table=True):
    __tablename__ = "items"
    __table_args__ = (
        Index("items_by_status", "job_id", "status", "shard"),
        Index("items_by_row", "job_id", "row_id"),
        Index(
            "items_with_notes",
            "job_id",
            sqlite_where=text("notes IS NOT NULL"),
            postgresql_where=text("notes IS NOT NULL"),
        ),
    )

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    #: The row's place in the dataset, from 0.
    ix: int = Field(primary_key=True)
    shard: int
    row_id: str = words()
    #: The messages, as JSON.
    messages: str = words()
    #: The row's other keys, as JSON.
    extras: str = words()
    #: open, answered, given_up or cancelled.
    status: str = Field(max_length=16)
    answer: str | None = words(null=True)
    reason: str | None = words(null=True)
    #: What did not go as asked, as JSON.
    notes: str | None = words(null=True)
    ended_at: datetime | None = moment(null=True)


class Call(SQLModel, table=True):
    """A settled call: the reply that plans are made from. The first reply stays."""

    __tablename__ = "calls"

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    ix: int = Field(primary_key=True)
    #: ``layer.component.slot.again``
    key: str = Field(primary_key=True, max_length=48)
    layer: int
    component: int
    kind: str = Field(max_length=64)
    model: str = Field(max_length=200)
    fingerprint: str = Field(max_length=64)
    text: str | None = words(null=True)
    failure: str | None = words(null=True)
    finish: str | None = Field(default=None, max_length=64, nullable=True)
    #: Found among the completions: nothing was sent, nothing was paid.
    cached: bool = Field(sa_type=Boolean)
    #: What the completion cost when it was paid for, when it was found; else null.
    saved: int | None = money(null=True)
    settled_at: datetime = moment()


class Attempt(SQLModel, table=True):
    """One try at a call on the wire: written before it is sent, and settled once."""

    __tablename__ = "attempts"
    __table_args__ = (
        # A call has at most one attempt in flight. A request has too, but for two jobs that
        # begin it at the very same moment on Postgres.
        Index(
            "one_open_attempt",
            "job_id",
            "ix",
            "key",
            unique=True,
            sqlite_where=text("state = 'sending'"),
            postgresql_where=text("state = 'sending'"),
        ),
        Index(
            "open_attempts_by_request",
            "fingerprint",
            sqlite_where=text("state = 'sending'"),
            postgresql_where=text("state = 'sending'"),
        ),
    )

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    ix: int = Field(primary_key=True)
    key: str = Field(primary_key=True, max_length=48)
    #: From 1.
    n: int = Field(primary_key=True)
    layer: int
    component: int
    kind: str = Field(max_length=64)
    model: str = Field(max_length=200)
    fingerprint: str = Field(max_length=64)
    #: The process that sends it.
    owner: str = Field(max_length=100)
    #: sending, billed, not_sent, not_billed or in_doubt.
    state: str = Field(max_length=16)
    #: ok, or why there was no answer: rate_limit, call_timeout, ...
    outcome: str | None = Field(default=None, max_length=64, nullable=True)
    why: str | None = words(null=True)
    #: Kept back while it is in flight, and counted while it is in doubt. 0 when unpriced.
    reserve: int = money()
    #: What it cost; null while unknown, and for good when unpriced.
    cost: int | None = money(null=True)
    #: The cost is the highest possible, since the provider did not report the tokens.
    estimated: bool = Field(default=False, sa_type=Boolean)
    prompt_tokens: int | None = count()
    completion_tokens: int | None = count()
    cached_tokens: int | None = count()
    reasoning_tokens: int | None = count()
    #: Counts against the bound of attempts; ``retry`` begins a new count.
    counts: bool = Field(default=True, sa_type=Boolean)
    #: It made a candidate of which nothing is in the item's answer.
    dropped: bool = Field(
        default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()}
    )
    begun_at: datetime = moment()
    #: When the process has certainly stopped waiting for it.
    expires_at: datetime = moment()
    ended_at: datetime | None = moment(null=True)


class Sum(SQLModel, table=True):
    """What the calls and attempts of a component come to; the database's triggers keep it."""

    __tablename__ = "sums"

    job_id: str = Field(primary_key=True, max_length=32)
    layer: int = Field(primary_key=True)
    component: int = Field(primary_key=True)
    kind: str = Field(primary_key=True, max_length=64)
    model: str = Field(primary_key=True, max_length=200)
    attempts: int = money()
    unpriced_calls: int = money()
    in_doubt: int = money()
    prompt_tokens: int = money()
    completion_tokens: int = money()
    cost: int = money()
    in_doubt_cost: int = money()
    lost_cost: int = money()
    again_cost: int = money()
    dropped_cost: int = money()
    calls: int = money()
    cached_calls: int = money()
    failed_calls: int = money()
    saved: int = money()


class Completion(SQLModel, table=True):
    """A paid-for reply under the hash of its request, for any job to find again."""

    __tablename__ = "completions"

    fingerprint: str = Field(primary_key=True, max_length=64)
    model: str = Field(max_length=200)
    text: str = words()
    finish: str | None = Field(default=None, max_length=64, nullable=True)
    prompt_tokens: int | None = count()
    completion_tokens: int | None = count()
    cost: int | None = money(null=True)
    made_at: datetime = moment()
