"""Tables beside the ledger: what runs, who lives, what is asked for, what came of it."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from archon_batch.store.columns import money_column, text_column, timestamp_column


class ScheduledRunTable(SQLModel, table=True):
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
    reason: str | None = text_column(null=True)
    #: The process that sees to it.
    owner: str = Field(max_length=100)
    begun_at: datetime = timestamp_column()
    ended_at: datetime | None = timestamp_column(null=True)
    #: When its failure was told; it is told once.
    told_at: datetime | None = timestamp_column(null=True)


class RowScoreTable(SQLModel, table=True):
    """What an answer is worth under a metric; to score again replaces it."""

    __tablename__ = "scores"

    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)
    #: The metric with all that it goes by: ``number against gold``.
    metric: str = Field(primary_key=True, max_length=500)
    ix: int = Field(primary_key=True)
    #: Null is no score.
    value: float | None = Field(default=None, nullable=True)
    #: What was compared.
    read: str | None = text_column(null=True)
    #: Why nothing could be read.
    unread: str | None = text_column(null=True)


class RateLimitTable(SQLModel, table=True):
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
    meter: str = text_column()


class WorkerTable(SQLModel, table=True):
    """A worker that lives, or did."""

    __tablename__ = "workers"

    name: str = Field(primary_key=True, max_length=200)
    #: The queues that it drains, as JSON.
    queues: str = text_column()
    #: When it last said so: seconds since 1970, by the clock that all processes share.
    seen: float


class SearchTable(SQLModel, table=True):
    """A search for an architecture: its trials are jobs."""

    __tablename__ = "searches"

    id: str = Field(primary_key=True, max_length=32)
    name: str = Field(index=True, max_length=200)
    #: What was asked for, as JSON.
    asked: str = text_column()
    #: running, or as it ended: done, paused (by the budget), stopped or interrupted.
    state: str = Field(max_length=16)
    reason: str | None = text_column(null=True)
    budget: int | None = money_column(null=True)
    #: What came of it, as JSON.
    result: str | None = text_column(null=True)
    created_at: datetime = timestamp_column()
    ended_at: datetime | None = timestamp_column(null=True)


class TrialTable(SQLModel, table=True):
    """One architecture on some rows of a search: on record before it runs."""

    __tablename__ = "trials"

    search_id: str = Field(primary_key=True, foreign_key="searches.id", max_length=32)
    #: In the order they were asked for, from 0.
    n: int = Field(primary_key=True)
    #: model, fuser, trial or held_out.
    stage: str = Field(max_length=16)
    #: The point, the architecture, the jobs and what came of them, as JSON.
    told: str = text_column()


class SearchJobTable(SQLModel, table=True):
    """A job of a search, which has a part of its budget."""

    __tablename__ = "search_jobs"

    search_id: str = Field(primary_key=True, foreign_key="searches.id", max_length=32)
    job_id: str = Field(primary_key=True, foreign_key="jobs.id", max_length=32)


class ShardCursorTable(SQLModel, table=True):
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
    queues: str = text_column()
    #: Who carries its messages: ``broker``, or the process whose own broker it is.
    via: str = Field(max_length=100)
    #: When somebody last moved it or worked on it: seconds since 1970, by the shared clock.
    moved: float
    #: When the turn's messages were last sent, by the same clock.
    sent: float = Field(sa_column_kwargs={"server_default": "0"})


class LeaseTable(SQLModel, table=True):
    """A right, or a life, that lapses when nobody renews it."""

    __tablename__ = "leases"

    name: str = Field(primary_key=True, max_length=110)
    holder: str = Field(max_length=100)
    #: Seconds since 1970, by the clock that all processes share.
    until: float


class InstallationTable(SQLModel, table=True):
    """The one installation whose database this is."""

    __tablename__ = "installation"

    #: Random, drawn once.
    id: str = Field(primary_key=True, max_length=32)
