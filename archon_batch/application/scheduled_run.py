"""Scheduled runs: a job file for one day, recorded, with a notification when the run fails."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import structlog

from archon_batch import logs
from archon_batch.application.open_store import open_store
from archon_batch.application.run import RunResult
from archon_batch.config import JobFile, read_job_file
from archon_batch.errors import ArchonBatchError, EngineError, InputError, StoreError
from archon_batch.settings import Settings
from archon_batch.store import Job, Store

#: Runs what the job file says; the recorder is None for a file that is not recorded.
Work = Callable[[JobFile, "ScheduledRunRecorder | None"], RunResult]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ScheduledRunRecorder:
    settings: Settings
    file: Path
    day: date

    @property
    def key(self) -> tuple[str, date]:
        return str(self.file.absolute()), self.day

    def record_job(self, store: Store, job: Job) -> None:
        """Record which job the run became."""
        store.scheduled_runs.set_job(*self.key, job.id)

    def find_job(self, store: Store) -> Job | None:
        """The job of an earlier start of this run."""
        run = store.scheduled_runs.find(*self.key)
        return None if run is None or run.job_id is None else store.jobs.get(run.job_id)

    def run_recorded(self, file: JobFile, work: Work) -> RunResult:
        """Do the work and record how it ended; an interrupted or running job leaves the run open."""
        try:
            with open_store(self.settings) as store:
                store.scheduled_runs.start(*self.key, file.name)
            result = work(file, self)
        except Exception as error:
            self._record_end(file, error)
            raise
        if result.state != "interrupted":
            self._record_end(file, None)
        return result

    def record_unreadable_file(self, error: InputError) -> None:
        """Record that the file could not be read, if its earlier runs are recorded."""
        if not Store.exists(self.settings.database_url):
            return
        with open_store(self.settings) as store:
            if store.scheduled_runs.latest(self.key[0]) is None:
                return
            store.scheduled_runs.start(*self.key, None)
            # Nobody is notified: a file that cannot be read names nobody.
            store.scheduled_runs.finish(*self.key, "failed", str(error), failed=False)
        _log.error("scheduled_run_failed", file=str(self.file), date=str(self.day), why=str(error))

    def _record_end(self, file: JobFile, error: Exception | None) -> None:
        job, notifies = None, True
        try:
            with open_store(self.settings) as store:
                job = self.find_job(store)
                state, why = _final_state(store, job, error)
                if why is None and state == "open":
                    return
                fails = why is not None and state != "cancelled"
                notifies = store.scheduled_runs.finish(*self.key, state, why, failed=fails)
        except StoreError as store_error:
            # Without a record, the same failure may be notified again.
            state, why, fails = "open", _error_text(error or store_error), True
        facts = {
            "file": str(self.file),
            "date": str(self.day),
            "job": "" if job is None else job.id,
            "name": file.name or "",
            "state": state,
            "reason": why or "",
        }
        if not fails:
            _log.info("scheduled_run_ended", **facts)
            return
        _log.error("scheduled_run_failed", **facts)
        if notifies and file.on_failure is not None:
            # It imports an HTTP client.
            from archon_batch.engine.failure_hook import notify  # noqa: PLC0415

            notify(file.on_failure, facts)


def run_job_file(settings: Settings, path: Path, day: date, work: Work) -> RunResult:
    """Do the work of a job file for one day.

    A file with neither ``when`` nor ``on_failure`` is a job like any other, and is not recorded.

    Raises:
        ArchonBatchError: the work failed; the failure is recorded.
    """
    recorder = ScheduledRunRecorder(settings, path, day)
    try:
        file = read_job_file(path, day)
    except InputError as error:
        recorder.record_unreadable_file(error)
        raise
    return recorder.run_recorded(file, work) if file.is_recorded else work(file, None)


def _final_state(store: Store, job: Job | None, error: Exception | None) -> tuple[str, str | None]:
    """The run's final state, and why it failed: by its job, and by the error that ended the work."""
    why = None if error is None else _error_text(error)
    if isinstance(error, EngineError | StoreError) or (job and job.state == "running"):
        # The job still runs, or another try may succeed without a change to the file.
        return "open", why
    if job is None:
        return "failed", why
    if job.state != "done":
        return job.state, why or job.reason or f"the job is {job.state}"
    if why is not None:
        return "export_failed", why
    failed = store.usage.progress(job.id).failed
    return "done", f"{failed} rows failed" if failed else None


def _error_text(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, ArchonBatchError)
        else logs.traceback_without_messages(error)
    )
