"""The database: jobs, items, replies and the ledger. No table leaves this room."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from archon_batch.store.attempt_writer import Clerk
from archon_batch.store.attempts import (
    Begun,
    BudgetReached,
    Busy,
    CallId,
    Finish,
    Found,
    Halted,
    Poisoned,
    Settled,
    Start,
    Started,
    Tight,
)
from archon_batch.store.audit import Audit, Books
from archon_batch.store.call_metrics import Measures, Outcome
from archon_batch.store.completion_cache import Completions, Kept
from archon_batch.store.database import Database, bring, connect, is_there
from archon_batch.store.high_water_mark import Seen, Witness
from archon_batch.store.installation import Installation
from archon_batch.store.item_results import Answered, AttemptLine, CallLine, Ending, Endings
from archon_batch.store.items import Items, OpenItem
from archon_batch.store.jobs import Job, Jobs, NewItem, NewJob
from archon_batch.store.leases import Leases
from archon_batch.store.patience import patiently
from archon_batch.store.process_identity import is_dead, me
from archon_batch.store.rate_limits import Asked, ModelKey, ModelLimits
from archon_batch.store.scheduled_runs import Night, Nights
from archon_batch.store.scores import RowScore, Scores
from archon_batch.store.searches import Search, Searches, TrialLine
from archon_batch.store.settlement import recover as _recover
from archon_batch.store.shard_cursors import Lines, Still, Turn
from archon_batch.store.spool import Spool
from archon_batch.store.spool_replay import take_in
from archon_batch.store.timestamps import now
from archon_batch.store.usage_totals import Account, Accounts, By, Progress
from archon_batch.store.workers import Worker, Workers


@dataclass(frozen=True, slots=True)
class Store:
    """The front door: one a process, good for all its threads."""

    database: Database
    jobs: Jobs
    items: Items
    accounts: Accounts
    endings: Endings
    completions: Completions
    audit: Audit
    measures: Measures
    nights: Nights
    limits: ModelLimits
    workers: Workers
    scores: Scores
    searches: Searches
    lines: Lines
    leases: Leases
    installation: Installation
    clerk: Clerk
    spool: Spool | None = None
    witness: Witness | None = None

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
        kept = None if spool is None else Spool.of(spool, database.name)
        installation = Installation(database)
        witness = None if kept is None else Witness(kept.folder, database, installation)
        return cls(
            database,
            Jobs(database),
            Items(database),
            Accounts(database),
            Endings(database),
            Completions(database),
            Audit(database),
            Measures(database),
            Nights(database),
            ModelLimits(database),
            Workers(database),
            Scores(database),
            Searches(database),
            Lines(database),
            Leases(database),
            installation,
            Clerk(database, kept, witness),
            kept,
            witness,
        )

    @staticmethod
    def is_there(url: str) -> bool:
        """Whether there may be something in the database: to look must not make a file."""
        return is_there(url)

    @property
    def where(self) -> str:
        """The database's address, without its password."""
        # A password may also stand behind the question mark.
        return self.database.engine.url.set(query={}).render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The database's file; a server has none."""
        url = self.database.engine.url
        return Path(url.database or "") if self.database.is_sqlite else None

    def faults(self) -> list[str]:
        """What is wrong with the database, or waits in the spool for a person, in words."""
        return [
            *self.database.faults(),
            *(self.spool.faults() if self.spool else ()),
            *(self.witness.faults() if self.witness else ()),
        ]

    def aside(self, job_id: str) -> int:
        """How many ends of the job's attempts the ledger could not take in whole."""
        kept = self.spool.aside.kept() if self.spool else ()
        return sum(finish.start.call.job == job_id for _, some in kept for finish in some)

    def recover(self, *, lapsed: bool = False) -> int:
        """Take in what was spooled; put attempts in doubt that no living process will settle.

        A process is dead when the kernel that counts it says so, or, with ``lapsed``, when its
        lease has lapsed: to be asked for only by who knows that the database was there to renew
        it. Clocks of other machines are not compared: each process judges the age of its own
        attempts, and of the rest it counts only where a process has no lease.

        Return how many were put in doubt.

        Raises:
            StoreGoneError: the database knows less than this machine saw on record.
        """
        if self.witness:
            self.witness.check()
        if self.spool:
            take_in(self.database, self.spool)
        at = now()
        # Asked for after the attempts are known: a process has its lease before its first.
        leases, gone = cache(self.leases.all), cache(is_dead)

        def is_lost(owner: str, expires: datetime) -> bool:
            if owner == me():
                return expires < at
            if gone(owner):
                return True
            lives = leases().get(owner)
            return expires < at if lives is None else lapsed and not lives

        with self.database.writing() as connection:
            return _recover(connection, is_lost, at)

    def close(self) -> None:
        self.clerk.close()
        if self.witness:
            self.witness.close()
        self.database.close()


def upgrade(url: str) -> None:
    """Bring the tables at ``url`` to what this program needs.

    Raises:
        SchemaError: they are of a newer version of the program.
    """
    engine = connect(url)
    try:
        bring(engine)
    finally:
        engine.dispose()


__all__ = [
    "Account",
    "Answered",
    "Asked",
    "AttemptLine",
    "Begun",
    "Books",
    "BudgetReached",
    "Busy",
    "By",
    "CallId",
    "CallLine",
    "Clerk",
    "Ending",
    "Finish",
    "Found",
    "Halted",
    "Installation",
    "Items",
    "Job",
    "Kept",
    "Leases",
    "Lines",
    "ModelKey",
    "NewItem",
    "NewJob",
    "Night",
    "OpenItem",
    "Outcome",
    "Poisoned",
    "Progress",
    "RowScore",
    "Search",
    "Seen",
    "Settled",
    "Start",
    "Started",
    "Still",
    "Store",
    "Tight",
    "TrialLine",
    "Turn",
    "Worker",
    "Workers",
    "me",
    "now",
    "patiently",
    "upgrade",
]
