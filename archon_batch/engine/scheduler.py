"""Celery's beat, with the job files of a folder for its schedule."""

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
from archon_batch.engine import sighup
from archon_batch.engine.app import app, settings
from archon_batch.engine.scheduled_runs import ScheduledRunProcesses
from archon_batch.errors import InputError
from archon_batch.store import Store, now

#: What a job file's name ends with.
_SUFFIXES = (".yaml", ".yml", ".json")
#: How far back a missed hour is looked for: the nearest first, and leap days at last.
_LOOKBACKS = tuple(timedelta(days=days) for days in (1 / 24, 1, 8, 32, 367, 8 * 366))

_log = structlog.get_logger()


class JobFileScheduler(Scheduler):
    """Starts each night itself: no message is sent, so a broker that is lost loses no night."""

    #: Seconds between looks at the folder and at the nights that run.
    max_interval = 5
    #: To ask for Celery's would connect to the broker.
    producer = None  # type: ignore[assignment]

    def __init__(self, *args: Any, schedule_filename: str, **more: Any) -> None:  # noqa: ANN401
        # Celery's own schedule is a file; ours is a folder of them.
        self._folder = Path(schedule_filename).absolute()
        self._store = Store.open(settings.database_url)
        self._runs = ScheduledRunProcesses(self._store)
        #: How each file looked when it was last read.
        self._seen: dict[str, tuple[int, int]] = {}
        super().__init__(*args, **more)

    def setup_schedule(self) -> None:
        """Read every job file.

        Raises:
            InputError: one is wrong; all that are wrong are named.
        """
        self.schedule = {}
        wrong = list(self._reload())
        if wrong:
            raise InputError("\nerror: ".join(map(str, wrong)))
        _log.info("scheduler_started", folder=str(self._folder), files=len(self.schedule))
        if not self.schedule:
            _log.warning("nothing_scheduled", why="no job file with when", folder=str(self._folder))

    def tick(self, *args: Any, **more: Any) -> float:  # noqa: ANN401
        for error in self._reload():
            # Its hour stays what it was; the night will say the same, on record.
            _log.error("job_file_refused", why=str(error))
        self._runs.check(set(self.schedule))
        seconds: float = super().tick(*args, **more)
        return seconds

    def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:
        del producer
        due = last_due(entry.schedule, now()) if isinstance(entry.schedule, crontab) else None
        self._runs.start(str(entry.name), (due or now()).date())

    def close(self) -> None:
        self._runs.stop()
        self._store.close()

    def _reload(self) -> Iterator[InputError]:
        """Take in what has changed in the folder; yield what is wrong."""
        try:
            there = {
                str(path): path
                for path in sorted(self._folder.iterdir())
                if path.suffix in _SUFFIXES and path.is_file()
            }
        except OSError as error:
            yield InputError(f"{self._folder}: cannot be read: {(error.strerror or '').lower()}")
            return
        for name in set(self._seen) - set(there):
            del self._seen[name]
            if self.schedule.pop(name, None):
                _log.info("job_file_removed", file=name)
        for name, path in there.items():
            with suppress(FileNotFoundError):
                stat = path.stat()
                look = (stat.st_mtime_ns, stat.st_size)
                if self._seen.get(name) == look:
                    continue
                self._seen[name] = look
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
                task="night",
                schedule=cron,
                last_run_at=self._last_run_at(name, cron),
                app=app,
            )
            _log.info("job_file_scheduled", file=name, when=when)

    def _last_run_at(self, name: str, cron: crontab) -> datetime:
        """The moment after which an hour of the file's is still to come.

        It lies before the latest hour if that was missed. A file of which no night is on record is
        new, and has missed none.
        """
        moment, night = now(), self._store.scheduled_runs.latest(name)
        due = last_due(cron, moment)
        missed = night is not None and due is not None and night.day < due.date()
        return due - timedelta(seconds=1) if due is not None and missed else moment


def to_crontab(when: str) -> crontab:
    """A job file's ``when`` as Celery has it."""
    minute, hour, day, month, weekday = when.split()
    return crontab(minute, hour, weekday, day, month, app=app)


def last_due(cron: crontab, moment: datetime) -> datetime | None:
    """The latest moment that fits, up to the one given; None when there is none in eight years."""
    for span in _LOOKBACKS:
        due, following = None, _next(cron, moment - span)
        while following <= moment:
            due, following = following, _next(cron, following)
        if due is not None:
            return due
    return None


def _next(cron: crontab, moment: datetime) -> datetime:
    start, delta, _ = cron.remaining_delta(moment)
    following: datetime = start + delta
    return following.astimezone(UTC)


def run_scheduler(folder: Path) -> int:
    """Start the nights of the folder's job files at their hours, until SIGTERM, SIGINT or SIGHUP.

    Raises:
        InputError: a file in the folder is wrong.
    """
    leaving = False

    def leave(number: int, _frame: FrameType | None) -> None:
        # A second order kills the nights; a terminal that goes away gives one several times.
        nonlocal leaving
        again, leaving = leaving, True
        if not (again and number == signal.SIGHUP):
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    sighup.handle_sighup(leave)
    Service(app, scheduler_cls=JobFileScheduler, schedule_filename=str(folder)).start()
    return 0
