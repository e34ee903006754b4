"""Celery's beat with a folder of job files as its schedule."""

import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler, Service
from celery.schedules import crontab

from archon_batch.config import file_kind, read_job_file
from archon_batch.engine import stop_signals
from archon_batch.engine.app import app, settings
from archon_batch.engine.scheduled_runs import ScheduledRunProcesses
from archon_batch.errors import InputError
from archon_batch.store import Store, now

#: Suffixes of job files.
_SUFFIXES = (".yaml", ".yml", ".json")
#: How far back the latest due time is searched: shortest first; eight years for February 29.
_LOOKBACKS = tuple(timedelta(days=days) for days in (1 / 24, 1, 8, 32, 367, 8 * 366))

_log = structlog.get_logger()


class JobFileScheduler(Scheduler):
    """Starts each run as a child process; without messages, a lost broker loses no run."""

    #: Seconds between checks of the folder and of the runs.
    max_interval = 5
    #: Celery's property would connect to the broker.
    producer = None  # type: ignore[assignment]

    def __init__(self, *args: Any, schedule_filename: str, **options: Any) -> None:  # noqa: ANN401
        # Celery passes a schedule file; ours is a folder.
        self._folder = Path(schedule_filename).absolute()
        self._store = Store.open(settings.database_url)
        self._runs = ScheduledRunProcesses(self._store)
        #: Modification time and size of each file when it was last read.
        self._seen: dict[str, tuple[int, int]] = {}
        super().__init__(*args, **options)

    def setup_schedule(self) -> None:
        """Read every job file.

        Raises:
            InputError: files are wrong; the message lists all of them.
        """
        self.schedule = {}
        wrong = list(self._reload())
        if wrong:
            raise InputError("\nerror: ".join(map(str, wrong)))
        _log.info("scheduler_started", folder=str(self._folder), files=len(self.schedule))
        if not self.schedule:
            _log.warning("nothing_scheduled", why="no job file with when", folder=str(self._folder))

    def tick(self, *args: Any, **options: Any) -> float:  # noqa: ANN401
        for error in self._reload():
            # The file keeps its schedule; its next run fails with the same message.
            _log.error("job_file_refused", why=str(error))
        self._runs.check(set(self.schedule))
        seconds: float = super().tick(*args, **options)
        return seconds

    def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:
        del producer
        due = last_due(entry.schedule, now()) if isinstance(entry.schedule, crontab) else None
        self._runs.start(str(entry.name), (due or now()).date())

    def close(self) -> None:
        self._runs.stop()
        self._store.close()

    def _reload(self) -> Iterator[InputError]:
        """Read changed files; yield an error for each wrong one."""
        try:
            paths = {
                str(path): path
                for path in sorted(self._folder.iterdir())
                if path.suffix in _SUFFIXES and path.is_file()
            }
        except OSError as error:
            yield InputError(f"{self._folder}: cannot be read: {(error.strerror or '').lower()}")
            return
        for name in set(self._seen) - set(paths):
            del self._seen[name]
            if self.schedule.pop(name, None):
                _log.info("job_file_removed", file=name)
        for name, path in paths.items():
            with suppress(FileNotFoundError):
                stat = path.stat()
                version = (stat.st_mtime_ns, stat.st_size)
                if self._seen.get(name) == version:
                    continue
                self._seen[name] = version
                try:
                    when = (
                        read_job_file(path, now().date()).when if file_kind(path) == "job" else None
                    )
                except InputError as error:
                    yield error
                else:
                    self._schedule(name, when)

    def _schedule(self, name: str, when: str | None) -> None:
        if when is None:
            self.schedule.pop(name, None)
            return
        cron = to_crontab(when)
        known = self.schedule.get(name)
        if known is None or known.schedule != cron:
            self.schedule[name] = self.Entry(
                name=name,
                task="scheduled-run",
                schedule=cron,
                last_run_at=self._last_run_at(name, cron),
                app=app,
            )
            _log.info("job_file_scheduled", file=name, when=when)

    def _last_run_at(self, name: str, cron: crontab) -> datetime:
        """The last run for Celery's beat: a second before the latest due time if that was missed.

        A file without any stored run is new, and has missed none.
        """
        at, run = now(), self._store.scheduled_runs.latest(name)
        due = last_due(cron, at)
        missed = run is not None and due is not None and run.day < due.date()
        return due - timedelta(seconds=1) if due is not None and missed else at


def to_crontab(when: str) -> crontab:
    """A job file's ``when`` as Celery's schedule."""
    minute, hour, day, month, weekday = when.split()
    return crontab(minute, hour, weekday, day, month, app=app)


def last_due(cron: crontab, at: datetime) -> datetime | None:
    """The latest due time up to ``at``; None if paths is none within eight years."""
    for span in _LOOKBACKS:
        due, following = None, _next(cron, at - span)
        while following <= at:
            due, following = following, _next(cron, following)
        if due is not None:
            return due
    return None


def _next(cron: crontab, after: datetime) -> datetime:
    start, delta, _ = cron.remaining_delta(after)
    following: datetime = start + delta
    return following.astimezone(UTC)


def run_scheduler(folder: Path) -> int:
    """Run the folder's job files on their schedules until SIGTERM, SIGINT or SIGHUP.

    Raises:
        InputError: a file in the folder is wrong.
    """
    stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        # A second signal kills the runs; a closing terminal sends SIGHUP several times.
        nonlocal stopping
        again, stopping = stopping, True
        if not (again and number == signal.SIGHUP):
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    stop_signals.handle_sighup(stop)
    Service(app, scheduler_cls=JobFileScheduler, schedule_filename=str(folder)).start()
    return 0
