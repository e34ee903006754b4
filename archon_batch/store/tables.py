"""The tables. Nothing of an item's progress is kept but its replies and its end."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import BigInteger, Boolean, DateTime, Index, Table, Text, false, text
from sqlmodel import Field, SQLModel


def _text(*, null: bool = False) -> Any:  # noqa: ANN401  (SQLModel's Field is Any to a type checker)
    return Field(default=None, sa_type=Text, nullable=null)


def _money(*, null: bool = False) -> Any:  # noqa: ANN401
    """Nano-dollars."""
    return Field(default=None if null else 0, sa_type=BigInteger, nullable=null)


def _moment(*, null: bool = False) -> Any:  # noqa: ANN401
    """A moment in UTC. SQLite forgets the zone, and the store's door puts it on again."""
    return Field(default=None, sa_type=cast("Any", DateTime(timezone=True)), nullable=null)


class Job(SQLModel, table=True):
    __tablename__ = "jobs"

    id: str = Field(primary_key=True, max_length=32)
    #: The hash of dataset, architecture and name: a submission made twice is one job.
    submit_key: str = Field(unique=True, max_length=64)
    name: str = Field(index=True, max_length=200)
    dataset: str = _text()
    #: The architecture as it was read, frozen: the file may change while the job runs.
    architecture: str = _text()
    #: The price of each model by its name, null for one that is unpriced.
    prices: str = _text()
    options: str = _text()
    rows: int
    #: Items in a shard.
    shard: int
    #: Shards under way at once.
    width: int
    #: running, paused (by the budget), stopped (by a provider's verdict), cancelled or done.
    state: str = Field(max_length=16)
    reason: str | None = _text(null=True)
    #: high, normal or low: whose messages workers fetch first.
    priority: str = Field(
        default="normal", max_length=16, sa_column_kwargs={"server_default": "normal"}
    )
    budget: int | None = _money(null=True)
    #: Settled, kept back for calls in flight, and possibly billed though no answer came.
    spent: int = _money()
    reserved: int = _money()
    in_doubt: int = _money()
    created_at: datetime = _moment()
    ended_at: datetime | None = _moment(null=True)


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
    row_id: str = _text()
    #: The messages, as JSON.
    messages: str = _text()
    #: The row's other keys, as JSON.
    extras: str = _text()
    #: open, answered, given_up or cancelled.
    status: str = Field(max_length=16)
    answer: str | None = _text(null=True)
    reason: str | None = _text(null=True)
    #: What did not go as asked, as JSON.
    notes: str | None = _text(null=True)
    ended_at: datetime | None = _moment(null=True)


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
    text: str | None = _text(null=True)
    failure: str | None = _text(null=True)
    finish: str | None = Field(default=None, max_length=64, nullable=True)
    #: Found among the completions: nothing was sent, nothing was paid.
    cached: bool = Field(sa_type=Boolean)
    #: What the completion cost when it was paid for, when it was found; else null.
    saved: int | None = _money(null=True)
    settled_at: datetime = _moment()


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
    why: str | None = _text(null=True)
    #: Kept back while it is in flight, and counted while it is in doubt. 0 when unpriced.
    reserve: int = _money()
    #: What it cost; null while unknown, and for good when unpriced.
    cost: int | None = _money(null=True)
    #: The cost is the highest possible, since the provider did not report the tokens.
    estimated: bool = Field(default=False, sa_type=Boolean)
    prompt_tokens: int | None = Field(default=None, nullable=True)
    completion_tokens: int | None = Field(default=None, nullable=True)
    cached_tokens: int | None = Field(default=None, nullable=True)
    reasoning_tokens: int | None = Field(default=None, nullable=True)
    #: Counts against the bound of attempts; ``retry`` begins a new count.
    counts: bool = Field(default=True, sa_type=Boolean)
    #: It made a candidate of which nothing is in the item's answer.
    dropped: bool = Field(
        default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()}
    )
    begun_at: datetime = _moment()
    #: When the process has certainly stopped waiting for it.
    expires_at: datetime = _moment()
    ended_at: datetime | None = _moment(null=True)


class Sum(SQLModel, table=True):
    """What the calls and attempts of a component come to; the database's triggers keep it."""

    __tablename__ = "sums"

    job_id: str = Field(primary_key=True, max_length=32)
    layer: int = Field(primary_key=True)
    component: int = Field(primary_key=True)
    kind: str = Field(primary_key=True, max_length=64)
    model: str = Field(primary_key=True, max_length=200)
    attempts: int = _money()
    unpriced_calls: int = _money()
    in_doubt: int = _money()
    prompt_tokens: int = _money()
    completion_tokens: int = _money()
    cost: int = _money()
    in_doubt_cost: int = _money()
    lost_cost: int = _money()
    again_cost: int = _money()
    dropped_cost: int = _money()
    calls: int = _money()
    cached_calls: int = _money()
    failed_calls: int = _money()
    saved: int = _money()


class Completion(SQLModel, table=True):
    """A paid-for reply under the hash of its request, for any job to find again."""

    __tablename__ = "completions"

    fingerprint: str = Field(primary_key=True, max_length=64)
    model: str = Field(max_length=200)
    text: str = _text()
    finish: str | None = Field(default=None, max_length=64, nullable=True)
    prompt_tokens: int | None = Field(default=None, nullable=True)
    completion_tokens: int | None = Field(default=None, nullable=True)
    cost: int | None = _money(null=True)
    made_at: datetime = _moment()


class Night(SQLModel, table=True):
    """One day of a job file: begun, and ended in one way or another."""

    __tablename__ = "nights"

    #: The job file, as an absolute path.
    file: str = Field(primary_key=True, max_length=500)
    #: The day that ``{date}`` stands for, as ISO 8601 has it.
    day: str = Field(primary_key=True, max_length=10)
    #: The job's name; null when the file could not be read.
    name: str | None = Field(default=None, max_length=200, nullable=True)
    #: Null until it has been submitted.
    job_id: str | None = Field(
        default=None, foreign_key="jobs.id", max_length=32, nullable=True, index=True
    )
    #: open, unexported (the job has ended, its file is not written), failed (there is no job), or
    #: as its job ended: done, paused, stopped or cancelled.
    state: str = Field(max_length=16)
    reason: str | None = _text(null=True)
    #: The process that sees to it.
    owner: str = Field(max_length=100)
    begun_at: datetime = _moment()
    ended_at: datetime | None = _moment(null=True)
    #: When its failure was told; it is told once.
    told_at: datetime | None = _moment(null=True)


class RowScore(SQLModel, table=True):
    """What an answer is worth under a metric; to score again replaces it."""

    __tablename__ = "scores"

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    #: The metric with all that it goes by: ``number against gold``.
    metric: str = Field(primary_key=True, max_length=500)
    ix: int = Field(primary_key=True)
    #: Null is no score.
    value: float | None = Field(default=None, nullable=True)
    #: What was compared.
    read: str | None = _text(null=True)
    #: Why nothing could be read.
    unread: str | None = _text(null=True)


class ModelLimits(SQLModel, table=True):
    """What holds for a model over all workers."""

    __tablename__ = "limits"

    model: str = Field(primary_key=True, max_length=200)
    #: Empty is the provider's own address.
    api_base: str = Field(primary_key=True, max_length=2000)
    #: What an operator set; null is what the jobs ask for.
    rpm: int | None = Field(default=None, nullable=True)
    tpm: int | None = Field(default=None, nullable=True)
    max_in_flight: int | None = Field(default=None, nullable=True)
    #: When the next call may go, and which process holds how many places: JSON.
    meter: str = _text()


class Worker(SQLModel, table=True):
    """A worker that lives, or did."""

    __tablename__ = "workers"

    name: str = Field(primary_key=True, max_length=200)
    #: The queues that it drains, as JSON.
    queues: str = _text()
    #: When it last said so: seconds since 1970, by the clock that all processes share.
    seen: float


class Search(SQLModel, table=True):
    """A search for an architecture: its trials are jobs."""

    __tablename__ = "searches"

    id: str = Field(primary_key=True, max_length=32)
    name: str = Field(index=True, max_length=200)
    #: What was asked for, as JSON.
    asked: str = _text()
    #: running, or as it ended: done, paused (by the budget), stopped or interrupted.
    state: str = Field(max_length=16)
    reason: str | None = _text(null=True)
    budget: int | None = _money(null=True)
    #: What came of it, as JSON.
    result: str | None = _text(null=True)
    created_at: datetime = _moment()
    ended_at: datetime | None = _moment(null=True)


class Trial(SQLModel, table=True):
    """One architecture on some rows of a search: on record before it runs."""

    __tablename__ = "trials"

    search_id: str = Field(primary_key=True, foreign_key="searches.id", max_length=32)
    #: In the order they were asked for, from 0.
    n: int = Field(primary_key=True)
    #: model, fuser, trial or held_out.
    stage: str = Field(max_length=16)
    #: The point, the architecture, the jobs and what came of them, as JSON.
    told: str = _text()


class SearchJob(SQLModel, table=True):
    """A job of a search, which has a part of its budget."""

    __tablename__ = "search_jobs"

    search_id: str = Field(primary_key=True, foreign_key="searches.id", max_length=32)
    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)


class Line(SQLModel, table=True):
    """A line of a job that takes its shards on, one after another."""

    __tablename__ = "lines"

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    line: int = Field(primary_key=True)
    #: What a message must say to move it.
    turn: str = Field(max_length=16)
    shard: int
    #: Batches of the turn that have not returned.
    waiting: int
    #: The queues in which the turn's messages may wait, with spaces between them.
    queues: str = _text()
    #: Who carries its messages: ``broker``, or the process whose own broker it is.
    via: str = Field(max_length=100)
    #: When somebody last moved it or worked on it: seconds since 1970, by the shared clock.
    moved: float


class Lease(SQLModel, table=True):
    """A right, or a life, that lapses when nobody renews it."""

    __tablename__ = "leases"

    name: str = Field(primary_key=True, max_length=110)
    holder: str = Field(max_length=100)
    #: Seconds since 1970, by the clock that all processes share.
    until: float


def _table(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


jobs = _table(Job)
items = _table(Item)
calls = _table(Call)
attempts = _table(Attempt)
completions = _table(Completion)
nights = _table(Night)
limits = _table(ModelLimits)
scores = _table(RowScore)
workers = _table(Worker)
searches = _table(Search)
trials = _table(Trial)
search_jobs = _table(SearchJob)
sums = _table(Sum)
lines = _table(Line)
leases = _table(Lease)
__all__ = [
    "attempts",
    "calls",
    "completions",
    "items",
    "jobs",
    "leases",
    "limits",
    "lines",
    "nights",
    "scores",
    "search_jobs",
    "searches",
    "sums",
    "trials",
    "workers",
]
