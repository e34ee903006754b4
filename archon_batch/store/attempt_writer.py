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

from archon_batch.errors import StoreUnavailableError
from archon_batch.store.admission import admit
from archon_batch.store.attempts import (
    Admission,
    Admitted,
    AttemptRequest,
    AttemptResult,
    lock_jobs,
)
from archon_batch.store.database import Database
from archon_batch.store.fallback_settlement import settle_reduced
from archon_batch.store.high_water_mark import HighWaterMark
from archon_batch.store.patience import retry_while_unavailable
from archon_batch.store.settlement import settle
from archon_batch.store.spool import Spool
from archon_batch.store.spool_replay import quarantine_orphans

_log = structlog.get_logger()

#: Entries that share a commit at most: what a crash before it can take along is then small.
_MAX_BATCH = 256
#: Seconds that entries wait for others to share their commit, once they come in numbers: a call
#: waits twice for it, and its disk and its database are asked a tenth as often.
_GATHER_SECONDS, _FEW_ENTRIES = 0.01, 4
#: Seconds before ends are tried again that neither database nor spool takes.
_RETRY_INTERVAL = 1.0


class FutureLike(Protocol):
    """Whoever waits for the commit: a future, or what passes for one."""

    def set_running_or_notify_cancel(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...  # noqa: ANN401
    def set_exception(self, error: BaseException, /) -> None: ...


@dataclass(slots=True)
class _AdmitEntry:
    request: AttemptRequest
    #: Whoever ``Waits``.
    future: Any = field(default_factory=Future)


@dataclass(slots=True)
class _SettleEntry:
    result: AttemptResult
    #: Whoever ``Waits``.
    future: Any = field(default_factory=Future)


_QueueEntry = _AdmitEntry | _SettleEntry


class AttemptWriter:
    """Takes beginnings and ends of attempts from any thread, and answers after the commit.

    A beginning that was answered is on the disk, so it may be sent; an end that was answered is
    paid for once and for all. Entries that arrive while a commit is under way share the next one.
    Ends that the database is not there to take go into the spool; of those that it refuses, as
    much is put on record as it takes.
    """

    def __init__(
        self,
        database: Database,
        spool: Spool | None = None,
        high_water_mark: HighWaterMark | None = None,
    ) -> None:
        self._database = database
        self._spool = spool
        self._high_water_mark = high_water_mark
        self._closing = False
        #: Whether the last batch had more than a few entries.
        self._is_loaded = False
        #: Never set: to wait on it is to let others come.
        self._never_set = threading.Event()
        self._entries: queue.SimpleQueue[_QueueEntry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="attempt-writer", daemon=True)
        self._thread.start()

    def admit(self, request: AttemptRequest) -> "Future[Admission]":
        future: Future[Admission] = Future()
        self.enqueue_request(future, request)
        return future

    def settle(self, result: AttemptResult) -> "Future[None]":
        future: Future[None] = Future()
        self.enqueue_result(future, result)
        return future

    def enqueue_request(self, future: FutureLike, request: AttemptRequest) -> None:
        """As ``begin``, for one who brings what is to be answered."""
        self._entries.put(_AdmitEntry(request, future))

    def enqueue_result(self, future: FutureLike, result: AttemptResult) -> None:
        # Whoever waits for it may go away; the answer is put on record all the same.
        future.set_running_or_notify_cancel()
        self._entries.put(_SettleEntry(result, future))

    def close(self) -> None:
        """Commit what has been handed in, and stop."""
        self._closing = True
        self._entries.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                batch, last = self._next_batch()
                if batch:
                    self._commit(batch)
                if last:
                    return
        except BaseException as error:  # noqa: BLE001
            # Without a clerk every call would wait for ever. Of a dead process it is known what to do.
            _log.critical("attempt_writer_died", error=type(error).__name__)
            os._exit(1)

    def _next_batch(self) -> tuple[list[_QueueEntry], bool]:
        """What waits now, at least one entry; and whether the clerk is to stop after it."""
        batch: list[_QueueEntry] = []
        entry = self._entries.get()
        if self._is_loaded and not self._closing:
            self._never_set.wait(_GATHER_SECONDS)
        while entry is not None:
            # A beginning that nobody waits for any more is not begun.
            if isinstance(entry, _SettleEntry) or entry.future.set_running_or_notify_cancel():
                batch.append(entry)
            if len(batch) == _MAX_BATCH:
                break
            try:
                entry = self._entries.get_nowait()
            except queue.Empty:
                break
        self._is_loaded = len(batch) > _FEW_ENTRIES
        return batch, entry is None

    def _commit(self, batch: list[_QueueEntry]) -> None:
        """Commit the batch, with patience, and tell those who wait."""
        starts = [entry for entry in batch if isinstance(entry, _AdmitEntry)]
        ends = [entry for entry in batch if isinstance(entry, _SettleEntry)]
        try:
            tries = count()
            verdicts, strays = retry_while_unavailable(
                lambda: self._commit_and_count(
                    [e.request for e in starts], [e.result for e in ends], again=next(tries) > 0
                )
            )
        except BaseException as error:  # noqa: BLE001  (whoever waits must hear of it)
            self._handle_failure(starts, ends, error)
            return
        quarantine_orphans(self._spool, strays)
        for start, verdict in zip(starts, verdicts, strict=True):
            start.future.set_result(verdict)
        for end in ends:
            end.future.set_result(None)

    def _handle_failure(
        self, starts: list[_AdmitEntry], ends: list[_SettleEntry], error: BaseException
    ) -> None:
        batch: list[_QueueEntry] = [*starts, *ends]
        if len(batch) > 1 and not isinstance(error, StoreUnavailableError):
            # One of them cannot be done; the others are no worse for it.
            for entry in batch:
                self._commit([entry])
            return
        for start in starts:
            start.future.set_exception(error)
        if ends and isinstance(error, StoreUnavailableError):
            self._spool_results(ends, error)
        elif ends and isinstance(error, Exception):
            self._settle_reduced(ends[0], error)
        else:
            for end in ends:
                end.future.set_exception(error)

    def _settle_reduced(self, end: _SettleEntry, refused: Exception) -> None:
        """Put on record what can be of an end that was refused; what cannot is kept."""
        try:
            if not settle_reduced(self._database, end.result, refused) and self._spool:
                self._spool.quarantine.write([end.result])
        except (StoreUnavailableError, OSError) as error:
            self._spool_results([end], error)
        except Exception as error:  # noqa: BLE001  (whoever waits must hear of it)
            # Not of the end alone: it is taken in when the database takes any.
            with suppress(OSError):
                if self._spool:
                    self._spool.write([end.result])
            end.future.set_exception(error)
        else:
            end.future.set_result(None)

    def _spool_results(self, ends: list[_SettleEntry], away: Exception) -> None:
        """Put the ends into the spool, or wait until there is any place for them."""
        spool = self._spool
        if spool is None:
            for end in ends:
                end.future.set_exception(away)
            return
        while True:
            try:
                spool.write([end.result for end in ends])
            except OSError as error:
                _log.error("spool_failed", ends=len(ends), why=str(error))
            else:
                _log.warning("results_spooled", ends=len(ends), folder=str(spool.folder))
                break
            try:
                retry_while_unavailable(
                    partial(self._commit_and_count, [], [end.result for end in ends], again=True)
                )
                break
            except StoreUnavailableError as error:
                if self._closing:
                    for end in ends:
                        end.future.set_exception(error)
                    return
                self._never_set.wait(_RETRY_INTERVAL)
        for end in ends:
            end.future.set_result(None)

    def _commit_and_count(
        self, starts: list[AttemptRequest], ends: list[AttemptResult], *, again: bool
    ) -> tuple[list[Admission], list[AttemptResult]]:
        """Commit all, and have the witness count what has begun."""
        if self._high_water_mark is None:
            return self._commit_transaction(starts, ends)
        with self._high_water_mark.commit_lock:
            self._check_high_water_mark()
            verdicts, strays = self._commit_transaction(starts, ends)
            # Again, only the confirmation may have been lost, and what is on record been counted.
            if not again:
                begun = zip(starts, verdicts, strict=True)
                self._high_water_mark.count_attempts(
                    s for s, verdict in begun if isinstance(verdict, Admitted)
                )
            # It may have been another connection, made without a word since the one before was cut.
            self._check_high_water_mark()
        return verdicts, strays

    def _commit_transaction(
        self, starts: list[AttemptRequest], ends: list[AttemptResult]
    ) -> tuple[list[Admission], list[AttemptResult]]:
        """The verdicts, and the ends of no attempt on record.

        Both are safe to do again, also when only the confirmation of a commit was lost.
        """
        jobs = {work.call.job_id for work in starts} | {work.request.call.job_id for work in ends}
        with self._database.write_transaction() as connection:
            lock_jobs(connection, jobs)
            # Ends first: the money that they free may let a beginning through.
            strays = settle(connection, ends) if ends else []
            return admit(connection, starts) if starts else [], strays

    def _check_high_water_mark(self) -> None:
        if self._high_water_mark and self._high_water_mark.needs_check:
            self._high_water_mark.check()
