"""A job file's day, with its begin and its end on record, and told of when it fails."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import structlog

from archon_batch import logs
from archon_batch.cli import options
from archon_batch.config import JobFile, read_job_file
from archon_batch.errors import ArchonBatchError, EngineError, InputError, StoreError
from archon_batch.settings import Settings
from archon_batch.store import Job, Store

#: Does what the job file says, and returns the exit status; the night is None when none is kept.
Work = Callable[[JobFile, "ScheduledRunRecorder | None"], int]

_EXIT_INTERRUPTED = 130

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
        """Put on record which job it is."""
        store.scheduled_runs.set_job(*self.key, job.id)

    def find_job(self, store: Store) -> Job | None:
        """The job that it came to when it was begun before."""
        found = store.scheduled_runs.find(*self.key)
        return None if found is None or found.job_id is None else store.jobs.get(found.job_id)

    def run_recorded(self, file: JobFile, work: Work) -> int:
        """Do the work; what is interrupted, or goes on without us, stays open."""
        try:
            with options.open_store(self.settings) as store:
                store.scheduled_runs.start(*self.key, file.name)
            status = work(file, self)
        except Exception as error:
            self._record_end(file, error)
            raise
        if status != _EXIT_INTERRUPTED:
            self._record_end(file, None)
        return status

    def record_unreadable_file(self, error: InputError) -> None:
        """Put on record that a file could not be read, if its nights are kept."""
        if not Store.exists(self.settings.database_url):
            return
        with options.open_store(self.settings) as store:
            if store.scheduled_runs.latest(self.key[0]) is None:
                return
            store.scheduled_runs.start(*self.key, None)
            # It is told once the file can be read, if it fails then too.
            store.scheduled_runs.finish(*self.key, "failed", str(error), failed=False)
        _log.error("scheduled_run_failed", file=str(self.file), date=str(self.day), why=str(error))

    def _record_end(self, file: JobFile, error: Exception | None) -> None:
        job, told = None, True
        try:
            with options.open_store(self.settings) as store:
                job = self.find_job(store)
                state, why = _final_state(store, job, error)
                if why is None and state == "open":
                    return
                fails = why is not None and state != "cancelled"
                told = store.scheduled_runs.finish(*self.key, state, why, failed=fails)
        except StoreError as away:
            # Without a record it may be told more than once.
            state, why, fails = "open", _error_text(error or away), True
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
        if told and file.on_failure is not None:
            # It imports an HTTP client.
            from archon_batch.engine.failure_hook import notify  # noqa: PLC0415

            notify(file.on_failure, facts)


def run_job_file(settings: Settings, path: Path, day: date, work: Work) -> int:
    """Do the work of a job file's day and return the exit status.

    A file with neither an hour nor ``on_failure`` is a job like any other, and not on record.

    Raises:
        ArchonBatchError: it cannot be done; that is on record then.
    """
    night = ScheduledRunRecorder(settings, path, day)
    try:
        file = read_job_file(path, day)
    except InputError as error:
        night.record_unreadable_file(error)
        raise
    return night.run_recorded(file, work) if file.is_recorded else work(file, None)


def _final_state(store: Store, job: Job | None, error: Exception | None) -> tuple[str, str | None]:
    """How a night ended, by its job and what befell the command; and what is wrong with that."""
    why = None if error is None else _error_text(error)
    if isinstance(error, EngineError | StoreError) or (job and job.state == "running"):
        # Nobody has to mend the file, or the job goes on without us: it is worth another try.
        return "open", why
    if job is None:
        return "failed", why
    if job.state != "done":
        return job.state, why or job.reason or f"the job is {job.state}"
    if why is not None:
        return "export_failed", why
    given_up = store.usage.progress(job.id).failed
    return "done", f"{given_up} rows given up" if given_up else None


def _error_text(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, ArchonBatchError)
        else logs.traceback_without_messages(error)
    )
