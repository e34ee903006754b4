"""The attempt writer: one thread per process that writes all attempts, with group commit."""

import os
import queue
import threading
from collections.abc import Sequence
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
    unsent_result,
)
from archon_batch.store.database import Database, retry_while_unavailable
from archon_batch.store.fallback_settlement import settle_reduced
from archon_batch.store.high_water_mark import HighWaterMark
from archon_batch.store.settlement import settle
from archon_batch.store.spool import Spool
from archon_batch.store.spool_replay import quarantine_orphans

_log = structlog.get_logger()

#: Entries per commit at most: a crash before the commit loses them.
_MAX_BATCH = 256
#: Seconds to wait for more entries before a commit, if the last batch had more than a few. A call
#: waits twice for it, and the disk and the database do a tenth of the commits.
_GATHER_SECONDS, _FEW_ENTRIES = 0.01, 4
#: Seconds before the next try to store results that neither the database nor the spool accepts.
_RETRY_INTERVAL = 1.0


class FutureLike(Protocol):
    """What receives the outcome of a commit."""

    def set_running_or_notify_cancel(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...  # noqa: ANN401
    def set_exception(self, error: BaseException, /) -> None: ...


@dataclass(slots=True)
class _AdmitEntry:
    request: AttemptRequest
    #: A ``FutureLike``.
    future: Any = field(default_factory=Future)


@dataclass(slots=True)
class _SettleEntry:
    result: AttemptResult
    #: A ``FutureLike``.
    future: Any = field(default_factory=Future)


_QueueEntry = _AdmitEntry | _SettleEntry


class AttemptWriter:
    """Accepts requests and results from any thread and completes their futures after the commit.

    An admitted request is on disk, so it may be sent; a settled result is stored for good. Entries
    that arrive during a commit share the next one. Results go to the spool while the database is
    unavailable; if the database rejects a result, as much of it as possible is stored.
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
        #: What the last transaction admitted, in the order of its requests, committed or not.
        self._admissions: list[Admission] = []
        #: Never set; waiting on it is a sleep.
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
        """Queue the request; its ``Admission`` completes the future."""
        self._entries.put(_AdmitEntry(request, future))

    def enqueue_result(self, future: FutureLike, result: AttemptResult) -> None:
        """Queue the result, which is stored even if the waiting task is cancelled."""
        future.set_running_or_notify_cancel()
        self._entries.put(_SettleEntry(result, future))

    def close(self) -> None:
        """Commit the queued entries and stop the thread."""
        self._closing = True
        self._entries.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                batch, is_last = self._next_batch()
                if batch:
                    self._commit(batch)
                if is_last:
                    return
        except BaseException as error:  # noqa: BLE001
            # Exit: without the writer every call would hang, and recovery handles a dead process.
            _log.critical("attempt_writer_died", error=type(error).__name__)
            os._exit(1)

    def _next_batch(self) -> tuple[list[_QueueEntry], bool]:
        """Wait for an entry and take all queued ones; say whether the writer stops after them."""
        batch: list[_QueueEntry] = []
        entry = self._entries.get()
        if self._is_loaded and not self._closing:
            self._never_set.wait(_GATHER_SECONDS)
        while entry is not None:
            # Skip a request whose caller has been cancelled.
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
        """Commit the batch, with retries, and complete its futures."""
        to_admit = [entry for entry in batch if isinstance(entry, _AdmitEntry)]
        to_settle = [entry for entry in batch if isinstance(entry, _SettleEntry)]
        tries = count()
        self._admissions = []
        try:
            admissions, orphans = retry_while_unavailable(
                lambda: self._commit_and_count(
                    [entry.request for entry in to_admit],
                    [entry.result for entry in to_settle],
                    is_retry=next(tries) > 0,
                )
            )
        except BaseException as error:  # noqa: BLE001  (the waiting callers must get it)
            self._handle_failure(to_admit, to_settle, error)
            return
        quarantine_orphans(self._spool, orphans)
        for entry, admission in zip(to_admit, admissions, strict=True):
            entry.future.set_result(admission)
        _complete(to_settle)

    def _handle_failure(
        self,
        to_admit: Sequence[_AdmitEntry],
        to_settle: Sequence[_SettleEntry],
        error: BaseException,
    ) -> None:
        batch: list[_QueueEntry] = [*to_admit, *to_settle]
        if len(batch) > 1 and not isinstance(error, StoreUnavailableError):
            # One entry is rejected; the other ones can be committed.
            for entry in batch:
                self._commit([entry])
            return
        self._spool_unsent([entry.request for entry in to_admit], error)
        _fail(to_admit, error)
        if to_settle and isinstance(error, StoreUnavailableError):
            self._spool_results(to_settle, error)
        elif to_settle and isinstance(error, Exception):
            self._settle_reduced(to_settle[0], error)
        else:
            _fail(to_settle, error)

    def _spool_unsent(self, requests: Sequence[AttemptRequest], error: BaseException) -> None:
        """Spool that the requests are not sent: the failed commit may have recorded them."""
        if self._spool is None or not isinstance(error, StoreUnavailableError):
            return
        unsent = [
            unsent_result(request, admission.attempt_number, str(error))
            for request, admission in zip(requests, self._admissions, strict=False)
            if isinstance(admission, Admitted)
        ]
        if unsent:
            # Without the file, recovery marks the recorded ones in doubt.
            _write_to_spool(self._spool.unsent, unsent)

    def _settle_reduced(self, entry: _SettleEntry, rejection: Exception) -> None:
        """Store as much as possible of a rejected result, and quarantine it if its text is lost."""
        try:
            is_complete = settle_reduced(self._database, entry.result, rejection)
            if not is_complete and self._spool:
                self._spool.quarantine.write([entry.result])
        except (StoreUnavailableError, OSError) as error:
            self._spool_results([entry], error)
        except Exception as error:  # noqa: BLE001  (the waiting caller must get it)
            # The database rejects every form of it: spool it until the database works again.
            with suppress(OSError):
                if self._spool:
                    self._spool.write([entry.result])
            entry.future.set_exception(error)
        else:
            entry.future.set_result(None)

    def _spool_results(self, entries: Sequence[_SettleEntry], unavailable: Exception) -> None:
        """Write the results to the spool; if that fails, try database and spool in turn."""
        spool = self._spool
        if spool is None:
            _fail(entries, unavailable)
            return
        results = [entry.result for entry in entries]
        while True:
            if _write_to_spool(spool, results):
                _log.warning("results_spooled", results=len(results), folder=str(spool.folder))
                break
            try:
                retry_while_unavailable(partial(self._commit_and_count, [], results, is_retry=True))
                break
            except StoreUnavailableError as error:
                if self._closing:
                    _fail(entries, error)
                    return
                self._never_set.wait(_RETRY_INTERVAL)
        _complete(entries)

    def _commit_and_count(
        self,
        requests: Sequence[AttemptRequest],
        results: Sequence[AttemptResult],
        *,
        is_retry: bool,
    ) -> tuple[list[Admission], list[AttemptResult]]:
        """Commit, and count the admitted attempts in the high-water mark."""
        if self._high_water_mark is None:
            return self._commit_transaction(requests, results)
        with self._high_water_mark.commit_lock:
            self._check_high_water_mark()
            admissions, orphans = self._commit_transaction(requests, results)
            # Before a retry, the commit may have succeeded and been counted.
            if not is_retry:
                decided = zip(requests, admissions, strict=True)
                self._high_water_mark.count_attempts(
                    request for request, admission in decided if isinstance(admission, Admitted)
                )
            # The commit may have used a new connection, to a database that was replaced.
            self._check_high_water_mark()
        return admissions, orphans

    def _commit_transaction(
        self, requests: Sequence[AttemptRequest], results: Sequence[AttemptResult]
    ) -> tuple[list[Admission], list[AttemptResult]]:
        """Return the admissions, and the results without a recorded attempt.

        It can be repeated, even if only the confirmation of the commit was lost.
        """
        job_ids = {request.call.job_id for request in requests}
        job_ids |= {result.request.call.job_id for result in results}
        with self._database.write_transaction() as connection:
            lock_jobs(connection, job_ids)
            # Results first: the money that they release may admit a request.
            orphans = settle(connection, results) if results else []
            self._admissions = admit(connection, requests) if requests else []
        return self._admissions, orphans

    def _check_high_water_mark(self) -> None:
        if self._high_water_mark and self._high_water_mark.needs_check:
            self._high_water_mark.check()


def _write_to_spool(spool: Spool, results: Sequence[AttemptResult]) -> bool:
    """Return whether the results are on disk; log the error if they are not."""
    try:
        spool.write(results)
    except OSError as error:
        _log.error("spool_failed", results=len(results), why=str(error))
        return False
    return True


def _complete(entries: Sequence[_SettleEntry]) -> None:
    for entry in entries:
        entry.future.set_result(None)


def _fail(entries: Sequence[_QueueEntry], error: BaseException) -> None:
    for entry in entries:
        entry.future.set_exception(error)
