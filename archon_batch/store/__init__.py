"""The database: jobs, items, replies and the ledger. No table leaves this room."""

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
from archon_batch.store.database import Database, create_engine, database_exists, migrate
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
from archon_batch.store.patience import retry_while_unavailable
from archon_batch.store.process_identity import current_process_id, is_dead
from archon_batch.store.rate_limits import ConfiguredRateLimits, ModelKey, ModelRateLimits
from archon_batch.store.scheduled_runs import ScheduledRun, ScheduledRuns
from archon_batch.store.scores import RowScore, RowScores
from archon_batch.store.searches import Searches, SearchRecord, TrialRecord
from archon_batch.store.settlement import recover as _recover
from archon_batch.store.shard_cursors import CursorPosition, ShardCursors, StalledCursor
from archon_batch.store.spool import Spool
from archon_batch.store.spool_replay import replay_spool
from archon_batch.store.timestamps import now
from archon_batch.store.usage_totals import GroupBy, Progress, UsageQueries, UsageTotals
from archon_batch.store.workers import Worker, Workers


@dataclass(frozen=True, slots=True)
class Store:
    """The front door: one a process, good for all its threads."""

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
        """Connect, and make the tables when the database is new.

        ``spool`` is the folder for ends of attempts that the database is not there to take, and for
        what was seen on record.

        Raises:
            SettingsError: the address is not one.
            SchemaError: the tables are of another version of the program.
            StoreError: the database cannot be reached.
        """
        database = Database.open(url)
        kept = None if spool is None else Spool.for_database(spool, database.canonical_address)
        installation = Installation(database)
        witness = None if kept is None else HighWaterMark(kept.folder, database, installation)
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
            AttemptWriter(database, kept, witness),
            kept,
            witness,
        )

    @staticmethod
    def exists(url: str) -> bool:
        """Whether there may be something in the database: to look must not make a file."""
        return database_exists(url)

    @property
    def address(self) -> str:
        """The database's address, without its password."""
        # A password may also stand behind the question mark.
        return self.database.engine.url.set(query={}).render_as_string(hide_password=True)

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file; a server has none."""
        url = self.database.engine.url
        return Path(url.database or "") if self.database.is_sqlite else None

    def problems(self) -> list[str]:
        """What is wrong with the database, or waits in the spool for a person, in words."""
        return [
            *self.database.problems(),
            *(self.spool.problems() if self.spool else ()),
            *(self.high_water_mark.problems() if self.high_water_mark else ()),
        ]

    def count_quarantined(self, job_id: str) -> int:
        """How many ends of the job's attempts the ledger could not take in whole."""
        kept = self.spool.quarantine.read_all() if self.spool else ()
        return sum(finish.request.call.job_id == job_id for _, some in kept for finish in some)

    def recover(self, *, include_expired_leases: bool = False) -> int:
        """Take in what was spooled; put attempts in doubt that no living process will settle.

        A process is dead when the kernel that counts it says so, or, with ``include_expired_leases``, when its
        lease has lapsed: to be asked for only by who knows that the database was there to renew
        it. Clocks of other machines are not compared: each process judges the age of its own
        attempts, and of the rest it counts only where a process has no lease.

        Return how many were put in doubt.

        Raises:
            StoreGoneError: the database knows less than this machine saw on record.
        """
        if self.high_water_mark:
            self.high_water_mark.check()
        if self.spool:
            replay_spool(self.database, self.spool)
        at = now()
        # Asked for after the attempts are known: a process has its lease before its first.
        leases, gone = cache(self.leases.all), cache(is_dead)

        def is_lost(owner: str, expires: datetime) -> bool:
            if owner == current_process_id():
                return expires < at
            if gone(owner):
                return True
            lives = leases().get(owner)
            return expires < at if lives is None else include_expired_leases and not lives

        with self.database.write_transaction() as connection:
            return _recover(connection, is_lost, at)

    def close(self) -> None:
        self.attempt_writer.close()
        if self.high_water_mark:
            self.high_water_mark.close()
        self.database.close()


def upgrade(url: str) -> None:
    """Bring the tables at ``url`` to what this program needs.

    Raises:
        SchemaError: they are of a newer version of the program.
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
