"""The clerk: the one writer of attempts in a process, who commits together what comes together."""

import os
import queue
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Protocol

import structlog

from archon_batch.errors import StoreAwayError
from archon_batch.store.admission import begin
from archon_batch.store.attempts import Begun, Finish, Start, Started, lock
from archon_batch.store.database import Database
from archon_batch.store.fallback_settlement import put
from archon_batch.store.high_water_mark import Witness
from archon_batch.store.patience import patiently
from archon_batch.store.settlement import settle
from archon_batch.store.spool import Spool
from archon_batch.store.spool_replay import lay_aside

_log = structlog.get_logger()

#: Entries that share a commit at most: what a crash before it can take along is then small.
_BATCH = 256
#: Seconds that entries wait for others to share their commit, once they come in numbers: a call
#: waits twice for it, and its disk and its database are asked a tenth as often.
_GATHER, _FEW = 0.01, 4
#: Seconds before ends are tried again that neither database nor spool takes.
_AGAIN = 1.0


class Waits(Protocol):
    """Whoever waits for the commit: a future, or what passes for one."""

    def set_running_or_notify_cancel(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...  # noqa: ANN401
    def set_exception(self, error: BaseException, /) -> None: ...


@dataclass(slots=True)
class _Beginning:
    work: Start
    #: Whoever ``Waits``.
    future: Any = field(default_factory=Future)


@dataclass(slots=True)
class _End:
    work: Finish
    #: Whoever ``Waits``.
    future: Any = field(default_factory=Future)


_Entry = _Beginning | _End


class Clerk:
    """Takes beginnings and ends of attempts from any thread, and answers after the commit.

    A beginning that was answered is on the disk, so it may be sent; an end that was answered is
    paid for once and for all. Entries that arrive while a commit is under way share the next one.
    Ends that the database is not there to take go into the spool; of those that it refuses, as
    much is put on record as it takes.
    """

    def __init__(
        self, database: Database, spool: Spool | None = None, witness: Witness | None = None
    ) -> None:
        self._database = database
        self._spool = spool
        self._witness = witness
        self._closing = False
        #: Whether the last batch had more than a few entries.
        self._many = False
        #: Never set: to wait on it is to let others come.
        self._gathering = threading.Event()
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="clerk", daemon=True)
        self._thread.start()

    def begin(self, start: Start) -> "Future[Begun]":
        future: Future[Begun] = Future()
        self.begin_for(future, start)
        return future

    def settle(self, finish: Finish) -> "Future[None]":
        future: Future[None] = Future()
        self.settle_for(future, finish)
        return future

    def begin_for(self, waits: Waits, start: Start) -> None:
        """As ``begin``, for one who brings what is to be answered."""
        self._entries.put(_Beginning(start, waits))

    def settle_for(self, waits: Waits, finish: Finish) -> None:
        # Whoever waits for it may go away; the answer is put on record all the same.
        waits.set_running_or_notify_cancel()
        self._entries.put(_End(finish, waits))

    def close(self) -> None:
        """Commit what has been handed in, and stop."""
        self._closing = True
        self._entries.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                batch, last = self._batch()
                if batch:
                    self._commit(batch)
                if last:
                    return
        except BaseException as error:  # noqa: BLE001
            # Without a clerk every call would wait for ever. Of a dead process it is known what to do.
            _log.critical("clerk_died", error=type(error).__name__)
            os._exit(1)

    def _batch(self) -> tuple[list[_Entry], bool]:
        """What waits now, at least one entry; and whether the clerk is to stop after it."""
        batch: list[_Entry] = []
        entry = self._entries.get()
        if self._many and not self._closing:
            self._gathering.wait(_GATHER)
        while entry is not None:
            # A beginning that nobody waits for any more is not begun.
            if isinstance(entry, _End) or entry.future.set_running_or_notify_cancel():
                batch.append(entry)
            if len(batch) == _BATCH:
                break
            try:
                entry = self._entries.get_nowait()
            except queue.Empty:
                break
        self._many = len(batch) > _FEW
        return batch, entry is None

    def _commit(self, batch: list[_Entry]) -> None:
        """Commit the batch, with patience, and tell those who wait."""
        starts = [entry for entry in batch if isinstance(entry, _Beginning)]
        ends = [entry for entry in batch if isinstance(entry, _End)]
        try:
            tries = count()
            verdicts, strays = patiently(
                lambda: self._counted(
                    [e.work for e in starts], [e.work for e in ends], again=next(tries) > 0
                )
            )
        except BaseException as error:  # noqa: BLE001  (whoever waits must hear of it)
            self._failed(starts, ends, error)
            return
        lay_aside(self._spool, strays)
        for start, verdict in zip(starts, verdicts, strict=True):
            start.future.set_result(verdict)
        for end in ends:
            end.future.set_result(None)

    def _failed(self, starts: list[_Beginning], ends: list[_End], error: BaseException) -> None:
        batch: list[_Entry] = [*starts, *ends]
        if len(batch) > 1 and not isinstance(error, StoreAwayError):
            # One of them cannot be done; the others are no worse for it.
            for entry in batch:
                self._commit([entry])
            return
        for start in starts:
            start.future.set_exception(error)
        if ends and isinstance(error, StoreAwayError):
            self._keep(ends, error)
        elif ends and isinstance(error, Exception):
            self._lessen(ends[0], error)
        else:
            for end in ends:
                end.future.set_exception(error)

    def _lessen(self, end: _End, refused: Exception) -> None:
        """Put on record what can be of an end that was refused; what cannot is kept."""
        try:
            if not put(self._database, end.work, refused) and self._spool:
                self._spool.aside.keep([end.work])
        except (StoreAwayError, OSError) as error:
            self._keep([end], error)
        except Exception as error:  # noqa: BLE001  (whoever waits must hear of it)
            # Not of the end alone: it is taken in when the database takes any.
            with suppress(OSError):
                if self._spool:
                    self._spool.keep([end.work])
            end.future.set_exception(error)
        else:
            end.future.set_result(None)

    def _keep(self, ends: list[_End], away: Exception) -> None:
        """Put the ends into the spool, or wait until there is any place for them."""
        spool = self._spool
        if spool is None:
            for end in ends:
                end.future.set_exception(away)
            return
        while True:
            try:
                spool.keep([end.work for end in ends])
            except OSError as error:
                _log.error("spool_failed", ends=len(ends), why=str(error))
            else:
                _log.warning("ends_spooled", ends=len(ends), folder=str(spool.folder))
                break
            try:
                patiently(partial(self._counted, [], [end.work for end in ends], again=True))
                break
            except StoreAwayError as error:
                if self._closing:
                    for end in ends:
                        end.future.set_exception(error)
                    return
                self._gathering.wait(_AGAIN)
        for end in ends:
            end.future.set_result(None)

    def _counted(
        self, starts: list[Start], ends: list[Finish], *, again: bool
    ) -> tuple[list[Begun], list[Finish]]:
        """Commit all, and have the witness count what has begun."""
        if self._witness is None:
            return self._commit_all(starts, ends)
        with self._witness.commits:
            self._make_sure()
            verdicts, strays = self._commit_all(starts, ends)
            # Again, only the confirmation may have been lost, and what is on record been counted.
            if not again:
                begun = zip(starts, verdicts, strict=True)
                self._witness.begun(s for s, verdict in begun if isinstance(verdict, Started))
            # It may have been another connection, made without a word since the one before was cut.
            self._make_sure()
        return verdicts, strays

    def _commit_all(
        self, starts: list[Start], ends: list[Finish]
    ) -> tuple[list[Begun], list[Finish]]:
        """The verdicts, and the ends of no attempt on record.

        Both are safe to do again, also when only the confirmation of a commit was lost.
        """
        jobs = {work.call.job for work in starts} | {work.start.call.job for work in ends}
        with self._database.writing() as connection:
            lock(connection, jobs)
            # Ends first: the money that they free may let a beginning through.
            strays = settle(connection, ends) if ends else []
            return begin(connection, starts) if starts else [], strays

    def _make_sure(self) -> None:
        if self._witness and self._witness.doubts:
            self._witness.check()
