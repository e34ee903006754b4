"""The SQL schema: every table, as a model and as a table for statements.

An item's progress is not stored: the calls and the item's result are enough to plan it again.
"""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import BigInteger, Boolean, DateTime, Index, Integer, Table, Text, text
from sqlmodel import Field, SQLModel


def text_column(*, null: bool = False) -> Any:  # noqa: ANN401  (SQLModel's Field is Any to a type checker)
    return Field(default=None, sa_type=Text, nullable=null)


def money_column(*, null: bool = False) -> Any:  # noqa: ANN401
    """Nano-dollars."""
    return Field(default=None if null else 0, sa_type=BigInteger, nullable=null)


def counter_column() -> Any:  # noqa: ANN401
    return Field(default=0, sa_type=BigInteger, nullable=False)


def token_count_column() -> Any:  # noqa: ANN401
    """Tokens as the provider reports them; null if it reports none."""
    # SQLite has one integer type, and changing a column's type there rewrites the whole table.
    integer = BigInteger().with_variant(Integer(), "sqlite")
    return Field(default=None, sa_type=cast("Any", integer), nullable=True)


def timestamp_column(*, null: bool = False) -> Any:  # noqa: ANN401
    """A time in UTC. SQLite drops the time zone; ``sql_values.as_utc`` restores it."""
    return Field(default=None, sa_type=cast("Any", DateTime(timezone=True)), nullable=null)


class JobTable(SQLModel, table=True):
    __tablename__ = "jobs"

    id: str = Field(primary_key=True, max_length=32)
    #: The hash of dataset, architecture and name: submitting twice gives one job.
    submit_key: str = Field(unique=True, max_length=64)
    name: str = Field(index=True, max_length=200)
    dataset: str = text_column()
    #: The architecture as it was read, frozen: the file may change while the job runs.
    architecture: str = text_column()
    #: The price of each model by its name; null if unpriced.
    prices: str = text_column()
    options: str = text_column()
    rows: int
    #: Items per shard.
    shard_size: int
    #: Shards in progress at the same time.
    concurrent_shards: int
    #: running, paused (by the budget), stopped (by a provider's error), cancelled or done.
    state: str = Field(max_length=16)
    reason: str | None = text_column(null=True)
    #: high, normal or low: workers fetch its messages in this order.
    priority: str = Field(max_length=16)
    budget: int | None = money_column(null=True)
    #: Settled; held for calls in flight; possibly billed although no answer came.
    spent: int = money_column()
    held: int = money_column()
    in_doubt: int = money_column()
    created_at: datetime = timestamp_column()
    ended_at: datetime | None = timestamp_column(null=True)


class ItemTable(SQLModel, table=True):
    __tablename__ = "items"
    __table_args__ = (
        Index("items_by_status", "job_id", "status", "shard"),
        Index("items_by_row", "job_id", "row_id"),
        Index(
            "items_with_warnings",
            "job_id",
            sqlite_where=text("warnings IS NOT NULL"),
            postgresql_where=text("warnings IS NOT NULL"),
        ),
    )

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    #: The row's position in the dataset, from 0.
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
    #: The item's warnings, as JSON.
    warnings: str | None = text_column(null=True)
    ended_at: datetime | None = timestamp_column(null=True)


class CallTable(SQLModel, table=True):
    """A settled call with the reply that plans use. The first reply is kept."""

    __tablename__ = "calls"

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    ix: int = Field(primary_key=True)
    #: ``layer.component.index.reask``
    key: str = Field(primary_key=True, max_length=48)
    layer: int
    component: int
    kind: str = Field(max_length=64)
    model: str = Field(max_length=200)
    fingerprint: str = Field(max_length=64)
    text: str | None = text_column(null=True)
    failure: str | None = text_column(null=True)
    finish_reason: str | None = Field(default=None, max_length=64, nullable=True)
    #: A cache hit: nothing was sent and nothing was paid.
    cached: bool = Field(sa_type=Boolean)
    #: What the completion cost when it was paid for, if this call is a cache hit; else null.
    cache_saved: int | None = money_column(null=True)
    settled_at: datetime = timestamp_column()


class AttemptTable(SQLModel, table=True):
    """One try to send a call: recorded before it is sent, and settled once."""

    __tablename__ = "attempts"
    __table_args__ = (
        # A call has at most one attempt in flight. So does a request, except for two jobs on
        # Postgres that begin it at the same time.
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
    attempt_number: int = Field(primary_key=True)
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
    detail: str | None = text_column(null=True)
    #: Held while it is in flight, and counted while it is in doubt. 0 if unpriced.
    hold: int = money_column()
    #: What it cost; null while unknown, and always if unpriced.
    cost: int | None = money_column(null=True)
    #: The cost is the highest possible, because the provider did not report the tokens.
    estimated: bool = Field(default=False, sa_type=Boolean)
    prompt_tokens: int | None = token_count_column()
    completion_tokens: int | None = token_count_column()
    cached_tokens: int | None = token_count_column()
    reasoning_tokens: int | None = token_count_column()
    #: Counts towards the call's maximum of attempts; ``retry`` starts a new count.
    counted: bool = Field(default=True, sa_type=Boolean)
    #: It made a candidate that the item's answer does not use.
    unused: bool = Field(default=False, sa_type=Boolean)
    begun_at: datetime = timestamp_column()
    #: After this time its process has certainly stopped waiting for it.
    expires_at: datetime = timestamp_column()
    ended_at: datetime | None = timestamp_column(null=True)


class UsageTotalTable(SQLModel, table=True):
    """Totals of a component's calls and attempts; database triggers update them."""

    __tablename__ = "usage_totals"

    job_id: str = Field(primary_key=True, max_length=32)
    layer: int = Field(primary_key=True)
    component: int = Field(primary_key=True)
    kind: str = Field(primary_key=True, max_length=64)
    model: str = Field(primary_key=True, max_length=200)
    attempts: int = counter_column()
    unpriced_calls: int = counter_column()
    in_doubt: int = counter_column()
    prompt_tokens: int = counter_column()
    completion_tokens: int = counter_column()
    cost: int = money_column()
    in_doubt_cost: int = money_column()
    failed_cost: int = money_column()
    reask_cost: int = money_column()
    unused_cost: int = money_column()
    calls: int = counter_column()
    cached_calls: int = counter_column()
    failed_calls: int = counter_column()
    cache_saved: int = money_column()


class CompletionTable(SQLModel, table=True):
    """A paid-for reply under the hash of its request: the completion cache of all jobs."""

    __tablename__ = "completions"

    fingerprint: str = Field(primary_key=True, max_length=64)
    model: str = Field(max_length=200)
    text: str = text_column()
    finish_reason: str | None = Field(default=None, max_length=64, nullable=True)
    prompt_tokens: int | None = token_count_column()
    completion_tokens: int | None = token_count_column()
    cost: int | None = money_column(null=True)
    created_at: datetime = timestamp_column()


class ScheduledRunTable(SQLModel, table=True):
    """The run of a job file on one day."""

    __tablename__ = "scheduled_runs"

    #: The absolute path.
    job_file: str = Field(primary_key=True, max_length=500)
    #: The day that replaces ``{date}``, in ISO 8601.
    day: str = Field(primary_key=True, max_length=10)
    #: Null if the file could not be read.
    job_name: str | None = Field(default=None, max_length=200, nullable=True)
    #: Null until the job is submitted.
    job_id: str | None = Field(
        default=None, foreign_key="jobs.id", max_length=32, nullable=True, index=True
    )
    #: open, export_failed (the job has ended without its export), failed (there is no job), or the
    #: final state of its job: done, paused, stopped or cancelled.
    state: str = Field(max_length=16)
    reason: str | None = text_column(null=True)
    #: The process that runs it.
    owner: str = Field(max_length=100)
    begun_at: datetime = timestamp_column()
    ended_at: datetime | None = timestamp_column(null=True)
    #: When the failure hook was called; it is called once.
    notified_at: datetime | None = timestamp_column(null=True)


class RowScoreTable(SQLModel, table=True):
    """An answer's score under a metric; scoring again replaces it."""

    __tablename__ = "scores"

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    #: The metric with its options: ``number against gold``.
    metric: str = Field(primary_key=True, max_length=500)
    ix: int = Field(primary_key=True)
    #: Null if there is no score.
    value: float | None = Field(default=None, nullable=True)
    #: The part of the answer that was compared.
    extracted: str | None = text_column(null=True)
    #: Why nothing could be extracted.
    unparsed_reason: str | None = text_column(null=True)


class RateLimitTable(SQLModel, table=True):
    """The rate limits of a model over all workers."""

    __tablename__ = "rate_limits"

    model: str = Field(primary_key=True, max_length=200)
    #: Empty for the provider's own address.
    api_base: str = Field(primary_key=True, max_length=2000)
    #: Set by an operator; null leaves the limit to the jobs.
    rpm: int | None = Field(default=None, nullable=True)
    tpm: int | None = Field(default=None, nullable=True)
    max_in_flight: int | None = Field(default=None, nullable=True)
    #: When the next call may be sent, and the calls in flight of each process: JSON.
    state: str = text_column()


class WorkerTable(SQLModel, table=True):
    __tablename__ = "workers"

    name: str = Field(primary_key=True, max_length=200)
    #: The queues that it consumes, as JSON.
    queues: str = text_column()
    #: Its last heartbeat: seconds since 1970, by the clock that all processes share.
    heartbeat_at: float


class SearchTable(SQLModel, table=True):
    """A search for an architecture: its trials are jobs."""

    __tablename__ = "searches"

    id: str = Field(primary_key=True, max_length=32)
    name: str = Field(index=True, max_length=200)
    #: The request, as JSON.
    request: str = text_column()
    #: running, done, paused (by the budget), stopped or interrupted.
    state: str = Field(max_length=16)
    reason: str | None = text_column(null=True)
    budget: int | None = money_column(null=True)
    #: The result, as JSON.
    result: str | None = text_column(null=True)
    created_at: datetime = timestamp_column()
    ended_at: datetime | None = timestamp_column(null=True)


class TrialTable(SQLModel, table=True):
    """One architecture on some rows of a search: recorded before it runs."""

    __tablename__ = "trials"

    search_id: str = Field(primary_key=True, foreign_key="searches.id", max_length=32)
    #: In the order of the requests, from 0.
    number: int = Field(primary_key=True)
    #: model, fuser, trial or held_out.
    stage: str = Field(max_length=16)
    #: The point, the architecture, the jobs and their results, as JSON.
    data: str = text_column()


class SearchJobTable(SQLModel, table=True):
    """A job that shares the budget of a search."""

    __tablename__ = "search_jobs"

    search_id: str = Field(primary_key=True, foreign_key="searches.id", max_length=32)
    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)


class ShardCursorTable(SQLModel, table=True):
    """A cursor over a job's shards: it takes one shard after another."""

    __tablename__ = "shard_cursors"

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    cursor: int = Field(primary_key=True)
    #: The fencing token that a message must carry.
    token: str = Field(max_length=16)
    shard: int
    #: Batches of the current round that are not done.
    pending_batches: int
    #: The queues that may hold the round's messages, separated by spaces.
    queues: str = text_column()
    #: ``broker``, or the process that carries the messages itself.
    carrier: str = Field(max_length=100)
    #: The last progress: seconds since 1970, by the clock that all processes share.
    progress_at: float
    #: When the round's messages were last sent, by the same clock.
    sent_at: float


class LeaseTable(SQLModel, table=True):
    """A right, or a sign of life, that expires unless its holder renews it."""

    __tablename__ = "leases"

    name: str = Field(primary_key=True, max_length=110)
    holder: str = Field(max_length=100)
    #: Seconds since 1970, by the clock that all processes share.
    expires_at: float


class InstallationTable(SQLModel, table=True):
    """The installation that the database belongs to: one row."""

    __tablename__ = "installation"

    #: Random, made once.
    id: str = Field(primary_key=True, max_length=32)


def _table(model: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(model.__tablename__)]


jobs = _table(JobTable)
items = _table(ItemTable)
calls = _table(CallTable)
attempts = _table(AttemptTable)
completions = _table(CompletionTable)
scheduled_runs = _table(ScheduledRunTable)
rate_limits = _table(RateLimitTable)
scores = _table(RowScoreTable)
workers = _table(WorkerTable)
searches = _table(SearchTable)
trials = _table(TrialTable)
search_jobs = _table(SearchJobTable)
usage_totals = _table(UsageTotalTable)
shard_cursors = _table(ShardCursorTable)
leases = _table(LeaseTable)
installation = _table(InstallationTable)
