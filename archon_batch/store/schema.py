"""The ledger's tables. Nothing of an item's progress is kept but its replies and its end."""

from datetime import datetime

from sqlalchemy import Boolean, Index, false, text
from sqlmodel import Field, SQLModel

from archon_batch.store.columns import (
    money_column,
    text_column,
    timestamp_column,
    token_count_column,
)


class JobTable(SQLModel, table=True):
    __tablename__ = "jobs"

    id: str = Field(primary_key=True, max_length=32)
    #: The hash of dataset, architecture and name: a submission made twice is one job.
    submit_key: str = Field(unique=True, max_length=64)
    name: str = Field(index=True, max_length=200)
    dataset: str = text_column()
    #: The architecture as it was read, frozen: the file may change while the job runs.
    architecture: str = text_column()
    #: The price of each model by its name, null for one that is unpriced.
    prices: str = text_column()
    options: str = text_column()
    rows: int
    #: Items in a shard.
    shard: int
    #: Shards under way at once.
    width: int
    #: running, paused (by the budget), stopped (by a provider's verdict), cancelled or done.
    state: str = Field(max_length=16)
    reason: str | None = text_column(null=True)
    #: high, normal or low: whose messages workers fetch first.
    priority: str = Field(
        default="normal", max_length=16, sa_column_kwargs={"server_default": "normal"}
    )
    budget: int | None = money_column(null=True)
    #: Settled, kept back for calls in flight, and possibly billed though no answer came.
    spent: int = money_column()
    reserved: int = money_column()
    in_doubt: int = money_column()
    created_at: datetime = timestamp_column()
    ended_at: datetime | None = timestamp_column(null=True)


class ItemTable(SQLModel, table=True):
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
    row_id: str = text_column()
    #: The messages, as JSON.
    messages: str = text_column()
    #: The row's other keys, as JSON.
    extras: str = text_column()
    #: open, answered, failed or cancelled.
    status: str = Field(max_length=16)
    answer: str | None = text_column(null=True)
    reason: str | None = text_column(null=True)
    #: What did not go as asked, as JSON.
    notes: str | None = text_column(null=True)
    ended_at: datetime | None = timestamp_column(null=True)


class CallTable(SQLModel, table=True):
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
    text: str | None = text_column(null=True)
    failure: str | None = text_column(null=True)
    finish: str | None = Field(default=None, max_length=64, nullable=True)
    #: Found among the completions: nothing was sent, nothing was paid.
    cached: bool = Field(sa_type=Boolean)
    #: What the completion cost when it was paid for, when it was found; else null.
    saved: int | None = money_column(null=True)
    settled_at: datetime = timestamp_column()


class AttemptTable(SQLModel, table=True):
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
    why: str | None = text_column(null=True)
    #: Kept back while it is in flight, and counted while it is in doubt. 0 when unpriced.
    reserve: int = money_column()
    #: What it cost; null while unknown, and for good when unpriced.
    cost: int | None = money_column(null=True)
    #: The cost is the highest possible, since the provider did not report the tokens.
    estimated: bool = Field(default=False, sa_type=Boolean)
    prompt_tokens: int | None = token_count_column()
    completion_tokens: int | None = token_count_column()
    cached_tokens: int | None = token_count_column()
    reasoning_tokens: int | None = token_count_column()
    #: Counts against the bound of attempts; ``retry`` begins a new count.
    counts: bool = Field(default=True, sa_type=Boolean)
    #: It made a candidate of which nothing is in the item's answer.
    dropped: bool = Field(
        default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()}
    )
    begun_at: datetime = timestamp_column()
    #: When the process has certainly stopped waiting for it.
    expires_at: datetime = timestamp_column()
    ended_at: datetime | None = timestamp_column(null=True)


class UsageTotalTable(SQLModel, table=True):
    """What the calls and attempts of a component come to; the database's triggers keep it."""

    __tablename__ = "sums"

    job_id: str = Field(primary_key=True, max_length=32)
    layer: int = Field(primary_key=True)
    component: int = Field(primary_key=True)
    kind: str = Field(primary_key=True, max_length=64)
    model: str = Field(primary_key=True, max_length=200)
    attempts: int = money_column()
    unpriced_calls: int = money_column()
    in_doubt: int = money_column()
    prompt_tokens: int = money_column()
    completion_tokens: int = money_column()
    cost: int = money_column()
    in_doubt_cost: int = money_column()
    lost_cost: int = money_column()
    again_cost: int = money_column()
    dropped_cost: int = money_column()
    calls: int = money_column()
    cached_calls: int = money_column()
    failed_calls: int = money_column()
    saved: int = money_column()


class CompletionTable(SQLModel, table=True):
    """A paid-for reply under the hash of its request, for any job to find again."""

    __tablename__ = "completions"

    fingerprint: str = Field(primary_key=True, max_length=64)
    model: str = Field(max_length=200)
    text: str = text_column()
    finish: str | None = Field(default=None, max_length=64, nullable=True)
    prompt_tokens: int | None = token_count_column()
    completion_tokens: int | None = token_count_column()
    cost: int | None = money_column(null=True)
    made_at: datetime = timestamp_column()
