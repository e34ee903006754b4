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
Work = Callable[[JobFile, "Night | None"], int]

_INTERRUPTED = 130

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Night:
    settings: Settings
    file: Path
    day: date

    @property
    def key(self) -> tuple[str, date]:
        return str(self.file.absolute()), self.day

    def submitted(self, store: Store, job: Job) -> None:
        """Put on record which job it is."""
        store.nights.submitted(*self.key, job.id)

    def job(self, store: Store) -> Job | None:
        """The job that it came to when it was begun before."""
        found = store.nights.find(*self.key)
        return None if found is None or found.job is None else store.jobs.get(found.job)

    def keep(self, file: JobFile, work: Work) -> int:
        """Do the work; what is interrupted, or goes on without us, stays open."""
        try:
            with options.store(self.settings) as store:
                store.nights.begin(*self.key, file.name)
            status = work(file, self)
        except Exception as error:
            self._end(file, error)
            raise
        if status != _INTERRUPTED:
            self._end(file, None)
        return status

    def unread(self, error: InputError) -> None:
        """Put on record that a file could not be read, if its nights are kept."""
        if not Store.is_there(self.settings.database_url):
            return
        with options.store(self.settings) as store:
            if store.nights.last(self.key[0]) is None:
                return
            store.nights.begin(*self.key, None)
            # It is told once the file can be read, if it fails then too.
            store.nights.end(*self.key, "failed", str(error), fails=False)
        _log.error("night_failed", file=str(self.file), date=str(self.day), why=str(error))

    def _end(self, file: JobFile, error: Exception | None) -> None:
        job, told = None, True
        try:
            with options.store(self.settings) as store:
                job = self.job(store)
                state, why = _verdict(store, job, error)
                if why is None and state == "open":
                    return
                fails = why is not None and state != "cancelled"
                told = store.nights.end(*self.key, state, why, fails=fails)
        except StoreError as away:
            # Without a record it may be told more than once.
            state, why, fails = "open", _said(error or away), True
        facts = {
            "file": str(self.file),
            "date": str(self.day),
            "job": "" if job is None else job.id,
            "name": file.name or "",
            "state": state,
            "reason": why or "",
        }
        if not fails:
            _log.info("night_ended", **facts)
            return
        _log.error("night_failed", **facts)
        if told and file.on_failure is not None:
            # It imports an HTTP client.
            from archon_batch.engine.failure_hook import tell  # noqa: PLC0415

            tell(file.on_failure, facts)


def kept(settings: Settings, path: Path, day: date, work: Work) -> int:
    """Do the work of a job file's day and return the exit status.

    A file with neither an hour nor ``on_failure`` is a job like any other, and not on record.

    Raises:
        ArchonBatchError: it cannot be done; that is on record then.
    """
    night = Night(settings, path, day)
    try:
        file = read_job_file(path, day)
    except InputError as error:
        night.unread(error)
        raise
    return night.keep(file, work) if file.is_kept else work(file, None)


def _verdict(store: Store, job: Job | None, error: Exception | None) -> tuple[str, str | None]:
    """How a night ended, by its job and what befell the command; and what is wrong with that."""
    why = None if error is None else _said(error)
    if isinstance(error, EngineError | StoreError) or (job and job.state == "running"):
        # Nobody has to mend the file, or the job goes on without us: it is worth another try.
        return "open", why
    if job is None:
        return "failed", why
    if job.state != "done":
        return job.state, why or job.reason or f"the job is {job.state}"
    if why is not None:
        return "unexported", why
    given_up = store.accounts.progress(job.id).given_up
    return "done", f"{given_up} rows given up" if given_up else None


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ArchonBatchError) else logs.trace(error)
