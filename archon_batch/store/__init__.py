"""The database: jobs, items, replies and the ledger. No SQL leaves this package."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from archon_batch.store.attempt_writer import AttemptWriter
from archon_batch.store.attempts import (
    Admission,
    Admitted,
    AlreadySettled,
    AttemptRequest,
    AttemptResult,
    BudgetExhausted,
    BudgetWait,
    CacheHit,
    CallId,
    DuplicateInFlight,
    JobNotRunning,
    PoisonPill,
)
from archon_batch.store.audit import LedgerAudit, LedgerCheck
from archon_batch.store.call_metrics import AttemptOutcomeCount, CallMetrics
from archon_batch.store.completion_cache import CacheStats, CompletionCache
from archon_batch.store.database import (
    Database,
    create_engine,
    database_exists,
    migrate,
    retry_while_unavailable,
)
from archon_batch.store.high_water_mark import HighWaterMark, RecordedTotals
from archon_batch.store.installation import Installation
from archon_batch.store.item_results import (
    AttemptRecord,
    CallRecord,
    ItemAnswer,
    ItemResult,
    ItemResults,
)
from archon_batch.store.items import Items, OpenItem
from archon_batch.store.jobs import Job, Jobs, NewItem, NewJob
from archon_batch.store.leases import Leases
from archon_batch.store.process_identity import current_process_id, is_dead
from archon_batch.store.rate_limits import ConfiguredRateLimits, ModelKey, ModelRateLimits
from archon_batch.store.scheduled_runs import ScheduledRun, ScheduledRuns
from archon_batch.store.scores import RowScore, RowScores
from archon_batch.store.searches import Searches, SearchRecord, TrialRecord
from archon_batch.store.settlement import recover as _recover
from archon_batch.store.shard_cursors import CursorPosition, ShardCursors, StalledCursor
from archon_batch.store.spool import Spool
from archon_batch.store.spool_replay import replay_spool
from archon_batch.store.sql_values import now
from archon_batch.store.usage_totals import GroupBy, Progress, UsageQueries, UsageTotals
from archon_batch.store.workers import Worker, Workers


@dataclass(frozen=True, slots=True)
class Store:
    """The database of a process; all its threads may use it."""

    database: Database
    jobs: Jobs
    items: Items
    usage: UsageQueries
    item_results: ItemResults
    completion_cache: CompletionCache
    audit: LedgerAudit
    call_metrics: CallMetrics
    scheduled_runs: ScheduledRuns
    rate_limits: ModelRateLimits
    workers: Workers
    scores: RowScores
    searches: Searches
    shard_cursors: ShardCursors
    leases: Leases
    installation: Installation
    attempt_writer: AttemptWriter
    spool: Spool | None = None
    high_water_mark: HighWaterMark | None = None

    @classmethod
    def open(cls, url: str, spool: Path | None = None) -> "Store":
        """Connect, and create the tables in an empty database.

        Args:
            url: the address of the database.
            spool: the folder for results that the database cannot take, and for the high-water mark.

        Raises:
            SettingsError: the address is invalid.
            SchemaError: the tables belong to another version of the program.
            StoreError: the database is unavailable.
        """
        database = Database.open(url)
        own_spool = None if spool is None else Spool.for_database(spool, database.canonical_address)
        installation = Installation(database)
        high_water_mark = (
            None if own_spool is None else HighWaterMark(own_spool.folder, database, installation)
        )
        return cls(
            database,
            Jobs(database),
            Items(database),
            UsageQueries(database),
            ItemResults(database),
            CompletionCache(database),
            LedgerAudit(database),
            CallMetrics(database),
            ScheduledRuns(database),
            ModelRateLimits(database),
            Workers(database),
            RowScores(database),
            Searches(database),
            ShardCursors(database),
            Leases(database),
            installation,
            AttemptWriter(database, own_spool, high_water_mark),
            own_spool,
            high_water_mark,
        )

    @staticmethod
    def exists(url: str) -> bool:
        """Whether the database may exist, without creating a SQLite file."""
        return database_exists(url)

    @property
    def address(self) -> str:
        """The address of the database, without its password."""
        # The query string may contain a password too.
        return self.database.engine.url.set(query={}).render_as_string(hide_password=True)

    @property
    def sqlite_path(self) -> Path | None:
        """The file of a SQLite database, else None."""
        url = self.database.engine.url
        return Path(url.database or "") if self.database.is_sqlite else None

    def problems(self) -> list[str]:
        """Problems of the database, the spool and the high-water mark, for people."""
        return [
            *self.database.problems(),
            *(self.spool.problems() if self.spool else ()),
            *(self.high_water_mark.problems() if self.high_water_mark else ()),
        ]

    def count_quarantined(self, job_id: str) -> int:
        """The number of the job's results that the ledger could not store in full."""
        files = self.spool.quarantine.read_all() if self.spool else ()
        return sum(
            result.request.call.job_id == job_id for _, results in files for result in results
        )

    def recover(self, *, include_expired_leases: bool = False) -> int:
        """Replay the spool, and mark attempts in doubt that no living process will settle.

        A process judges the age of its own attempts, because clocks of other machines differ. An
        attempt of another process is lost if its kernel says that the process is dead, or if the
        process has no lease and the attempt has expired.

        Args:
            include_expired_leases: also treat processes as dead whose lease has expired. Use it only
                if the database was available to renew leases.

        Returns:
            The number of attempts marked in doubt.

        Raises:
            StoreReplacedError: the database has fewer attempts than this machine saw in it.
        """
        if self.high_water_mark:
            self.high_water_mark.check()
        if self.spool:
            replay_spool(self.database, self.spool)
        at = now()
        # ``is_lost`` reads the leases after the attempts: a process acquires its lease before its
        # first attempt.
        leases, is_process_dead = cache(self.leases.all), cache(is_dead)

        def is_lost(owner: str, expires: datetime) -> bool:
            if owner == current_process_id():
                return expires < at
            if is_process_dead(owner):
                return True
            has_lease = leases().get(owner)
            if has_lease is None:
                return expires < at
            return include_expired_leases and not has_lease

        with self.database.write_transaction() as connection:
            return _recover(connection, is_lost, at)

    def close(self) -> None:
        self.attempt_writer.close()
        if self.high_water_mark:
            self.high_water_mark.close()
        self.database.close()


def upgrade(url: str) -> None:
    """Migrate the tables at ``url`` to the schema of this program.

    Raises:
        SchemaError: the tables are newer than this program, or too old to be migrated.
    """
    engine = create_engine(url)
    try:
        migrate(engine)
    finally:
        engine.dispose()


__all__ = [
    "Admission",
    "Admitted",
    "AlreadySettled",
    "AttemptOutcomeCount",
    "AttemptRecord",
    "AttemptRequest",
    "AttemptResult",
    "AttemptWriter",
    "BudgetExhausted",
    "BudgetWait",
    "CacheHit",
    "CacheStats",
    "CallId",
    "CallRecord",
    "ConfiguredRateLimits",
    "CursorPosition",
    "DuplicateInFlight",
    "GroupBy",
    "Installation",
    "ItemAnswer",
    "ItemResult",
    "Items",
    "Job",
    "JobNotRunning",
    "Leases",
    "LedgerCheck",
    "ModelKey",
    "NewItem",
    "NewJob",
    "OpenItem",
    "PoisonPill",
    "Progress",
    "RecordedTotals",
    "RowScore",
    "ScheduledRun",
    "SearchRecord",
    "ShardCursors",
    "StalledCursor",
    "Store",
    "TrialRecord",
    "UsageTotals",
    "Worker",
    "Workers",
    "current_process_id",
    "now",
    "retry_while_unavailable",
    "upgrade",
]
