"""The clerk: the one writer of attempts in a process, who commits together what comes together."""

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from archon_batch.errors import StoreAwayError
from archon_batch.store.attempts import Begun, Finish, Start, lock
from archon_batch.store.begin import begin
from archon_batch.store.database import Database
from archon_batch.store.settle import settle

#: Entries that share a commit at most: what a crash before it can take along is then small.
_BATCH = 256
#: Seconds that a database may be away before the clerk gives up: a restart, a failover.
_PATIENCE = 60.0


@dataclass(slots=True)
class _Beginning:
    work: Start
    future: Future[Begun] = field(default_factory=Future)


@dataclass(slots=True)
class _End:
    work: Finish
    future: Future[None] = field(default_factory=Future)


_Entry = _Beginning | _End


class Clerk:
    """Takes beginnings and ends of attempts from any thread, and answers after the commit.

    A beginning that was answered is on the disk, so it may be sent; an end that was answered is
    paid for once and for all. Entries that arrive while a commit is under way share the next one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="clerk", daemon=True)
        self._thread.start()

    def begin(self, start: Start) -> "Future[Begun]":
        entry = _Beginning(start)
        self._entries.put(entry)
        return entry.future

    def settle(self, finish: Finish) -> "Future[None]":
        entry = _End(finish)
        # Whoever waits for it may go away; the answer is put on record all the same.
        entry.future.set_running_or_notify_cancel()
        self._entries.put(entry)
        return entry.future

    def close(self) -> None:
        """Commit what has been handed in, and stop."""
        self._entries.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, last = self._batch()
            if batch:
                self._commit(batch)
            if last:
                return

    def _batch(self) -> tuple[list[_Entry], bool]:
        """What waits now, at least one entry; and whether the clerk is to stop after it."""
        batch: list[_Entry] = []
        entry = self._entries.get()
        while entry is not None:
            # A beginning that nobody waits for any more is not begun.
            if isinstance(entry, _End) or entry.future.set_running_or_notify_cancel():
                batch.append(entry)
            if len(batch) == _BATCH:
                return batch, False
            try:
                entry = self._entries.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[_Entry]) -> None:
        """Commit the batch, with patience, and tell those who wait."""
        starts = [entry for entry in batch if isinstance(entry, _Beginning)]
        ends = [entry for entry in batch if isinstance(entry, _End)]
        try:
            verdicts = self._patiently([e.work for e in starts], [e.work for e in ends])
        except BaseException as error:  # noqa: BLE001  (whoever waits must hear of it)
            if len(batch) > 1 and not isinstance(error, StoreAwayError):
                # One of them cannot be done; the others are no worse for it.
                for entry in batch:
                    self._commit([entry])
                return
            for entry in batch:
                entry.future.set_exception(error)
            return
        for start, verdict in zip(starts, verdicts, strict=True):
            start.future.set_result(verdict)
        for end in ends:
            end.future.set_result(None)

    def _patiently(self, starts: list[Start], ends: list[Finish]) -> list[Begun]:
        """Both are safe to do again, also when only the confirmation of a commit was lost."""
        jobs = {work.call.job for work in starts} | {work.start.call.job for work in ends}
        patience = time.monotonic() + _PATIENCE
        while True:
            try:
                with self._database.writing() as connection:
                    lock(connection, jobs)
                    # Ends first: the money that they free may let a beginning through.
                    if ends:
                        settle(connection, ends)
                    return begin(connection, starts) if starts else []
            except StoreAwayError:
                if time.monotonic() > patience:
                    raise
                time.sleep(0.2)
