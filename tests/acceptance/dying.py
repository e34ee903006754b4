"""The program, and every point at which it may end.

    python -m tests.acceptance.dying

imports the program once and forks a process for each order that it reads, a line of JSON; so a run
takes a fraction of a second. The points are put around the program's own functions from outside:
the program knows nothing of them. Its calls go to a provider that enters each request into a file,
and on to the disk, before it answers: that file is the bill.
"""

import asyncio
import faulthandler
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_CEILING, Decimal
from functools import wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple, Self

from sqlalchemy.engine import Connection

from archon_batch import store
from archon_batch.application import run
from archon_batch.archon import Call, Reply
from archon_batch.cli import main
from archon_batch.dataset import Dataset
from archon_batch.engine import in_process, runtime, start_job, tasks
from archon_batch.jobs import export, submit
from archon_batch.providers import ScriptedProvider
from archon_batch.settings import Settings, Timing
from archon_batch.store import Items, attempt_writer, database
from archon_batch.store.installation import Installation
from archon_batch.store.jobs import Jobs
from archon_batch.store.leases import Leases
from archon_batch.store.shard_cursors import ShardCursors
from tests.fork_server import warm_up

#: What a command imports when it needs it, and a child is to find here.
_NEEDED = (
    "alembic.command",
    "alembic.config",
    "alembic.migration",
    "archon_batch.cli.cache",
    "archon_batch.cli.db",
    "archon_batch.cli.dotenv_file",
    "archon_batch.cli.export",
    "archon_batch.cli.limits",
    "archon_batch.cli.plan",
    "archon_batch.cli.try_prompt",
    "archon_batch.cli.resume",
    "archon_batch.cli.score",
    "archon_batch.cli.search",
    "archon_batch.cli.submit",
    "archon_batch.engine.child_processes",
    "archon_batch.engine.chord_backend",
    "archon_batch.engine.consumer",
    "archon_batch.engine.message_schema",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.backends.cache",
    "celery.concurrency.thread",
    "celery.events.dispatcher",
    "celery.events.event",
    "celery.events.receiver",
    "celery.loaders.app",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "dotenv.main",
    "encodings.idna",
    "encodings.utf_8_sig",
    "kombu.mixins",
    "kombu.pidbox",
    "kombu.transport.memory",
    "kombu.transport.pyamqp",
    "kombu.utils.amq_manager",
    "rich._emoji_codes",
)
#: Seconds after which a run says where each of its threads stands, and ends.
_TOO_LONG = 40.0

#: Files that a run writes beside the program's own: the bill, the points, all that was printed.
BILL, REACHED, SAID = "bill.jsonl", "reached.txt", "said.txt"

_ROOT = Path(__file__).parents[2]


class Point(NamedTuple):
    """A moment of a run: the so-manyth time that it came there, counted from 1."""

    name: str
    nth: int

    def __str__(self) -> str:
        return f"{self.name} #{self.nth}"

    @classmethod
    def read(cls, text: str) -> Self:
        name, _, nth = text.rpartition(" #")
        return cls(name, int(nth))


@dataclass(frozen=True, slots=True)
class Order:
    """One command, and what befalls it where."""

    folder: str
    arguments: Sequence[str]
    at: Point | None = None
    #: What the process gets there; anything but SIGKILL it may answer.
    signal: int = signal.SIGKILL
    #: Calls in flight at most, and seconds that each takes.
    in_flight: int = 1
    latency: float = 0.0


class Runs:
    """Runs orders, one after the other, each in a process that is forked for it."""

    def __enter__(self) -> Self:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.dying"],
            cwd=_ROOT,
            # The caller's settings must not apply: these jobs use their own database.
            env={k: v for k, v in os.environ.items() if not k.startswith("ARCHON_BATCH_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate()

    def __call__(self, order: Order) -> int:
        """The exit status; that of a process which a signal ended is the signal's, negative."""
        assert self._parent.stdin
        assert self._parent.stdout
        self._parent.stdin.write(json.dumps(asdict(order)) + "\n")
        self._parent.stdin.flush()
        status = self._parent.stdout.readline()
        assert status, "the process that forks has ended"
        return int(status)


class _Points:
    """Logs what is reached, and at one of the points has the process get its signal."""

    def __init__(self, at: Point | None, number: int) -> None:
        self._at, self._signal = at, number
        self._log = os.open(REACHED, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1
            point = Point(name, self._counts[name])
            os.write(self._log, f"{point}\n".encode())
        if point == self._at:
            os.kill(os.getpid(), self._signal)

    def around(self, owner: Any, name: str, what: str) -> None:
        """Put a point before the function and one after it."""
        function = getattr(owner, name)

        @wraps(function)
        def wrapped(*given: Any, **more: Any) -> Any:
            self.reach(f"before {what}")
            result = function(*given, **more)
            self.reach(f"after {what}")
            return result

        setattr(owner, name, wrapped)


class _Commits:
    """Puts a point before and after each commit, which has the names of what is in it."""

    def __init__(self, reach: Callable[[str], None]) -> None:
        self._of_thread = threading.local()
        commit = Connection.commit

        def committed(connection: Connection) -> None:
            what = " and ".join(self._names) or "what has no name"
            self._names = []
            reach(f"before the commit of {what}")
            commit(connection)
            reach(f"after the commit of {what}")

        setattr(Connection, commit.__name__, committed)

    @property
    def _names(self) -> list[str]:
        return list(getattr(self._of_thread, "names", ()))

    @_names.setter
    def _names(self, names: list[str]) -> None:
        self._of_thread.names = names

    def within(self, owner: Any, name: str, what: str | Callable[..., str]) -> None:
        """Name the commit that the function makes."""
        function = getattr(owner, name)

        @wraps(function)
        def wrapped(*given: Any, **more: Any) -> Any:
            self._names = [what if isinstance(what, str) else what(*given)]
            try:
                return function(*given, **more)
            finally:
                self._names = []

        setattr(owner, name, wrapped)

    def after(self, owner: Any, name: str, what: str) -> None:
        """Name the commit that the function's caller makes."""
        function = getattr(owner, name)

        @wraps(function)
        def wrapped(*given: Any, **more: Any) -> Any:
            self._names = [*self._names, what]
            return function(*given, **more)

        setattr(owner, name, wrapped)


class _Provider:
    """Answers and bills: a logged request costs money, even if its process dies before the answer."""

    _fsync = staticmethod(os.fsync)

    def __init__(self, reach: Callable[[str], None], latency: float) -> None:
        self._reach, self._latency = reach, latency
        self._scripted = ScriptedProvider()
        self._bill = os.open(BILL, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        self._reach("before a request")
        reply = await self._scripted.complete(call, attempt_id)
        price, prompt, completion = (
            call.model.price,
            reply.usage.prompt_tokens,
            reply.usage.completion_tokens,
        )
        assert price
        assert prompt
        assert completion
        usd = prompt * Decimal(price.input) + completion * Decimal(price.output)
        nano = int((usd * 1000).to_integral_value(ROUND_CEILING))
        entry = {"attempt": attempt_id, "nano_usd": nano}
        os.write(self._bill, f"{json.dumps(entry)}\n".encode())
        self._fsync(self._bill)
        self._reach("between a request and its answer")
        await asyncio.sleep(self._latency)
        self._reach("after an answer")
        return reply

    async def close(self) -> None:
        """The bill stays open to the end."""


def _install(points: _Points, latency: float) -> None:
    """Put the points around the program's own functions."""
    reach, around = points.reach, points.around
    _replace(runtime, ProviderRouter=lambda _timeout: _Provider(reach, latency))

    commits = _Commits(reach)
    commits.within(database, "upgrade", "the tables")
    commits.within(Installation, "_create_id", "the installation's id")
    commits.within(Jobs, "get_or_create", "the job and its rows")
    commits.within(Jobs, "change_state", lambda _jobs, _id, state: f"the job's move to {state}")
    commits.within(Jobs, "mark_done_if_complete", "the job's move to done")
    commits.within(Items, "finish", "a row's end")
    commits.within(ShardCursors, "start", "the shard cursors")
    for name in ("start_round", "batch_done", "next_shard", "heartbeat"):
        commits.within(ShardCursors, name, "a cursor's step")
    for name in ("acquire", "release", "delete_expired"):
        commits.within(Leases, name, "a lease")
    commits.after(store, "_recover", "a recovery")
    commits.after(attempt_writer, "admit", "an admission")
    commits.after(attempt_writer, "settle", "a settlement")

    around(Dataset, "check", "the dataset is read")
    around(runtime.Runtime, "__init__", "the process is made")
    around(runtime.Runtime, "close", "the process is closed")
    around(in_process, "_start_worker", "a worker is started")
    around(start_job, "send_shard_step", "a shard's message")
    around(tasks, "send_shard_step", "the next shard's message")
    around(tasks, "send_round", "a round's messages")
    # What a join has planned is taken here; it is planned again only where another has planned it.
    around(runtime.Runtime, "take_pending_calls", "a batch is planned")
    around(os, "fsync", "the export's fsync")
    around(Path, "replace", "the export's rename")
    _install_between(reach)


def _install_between(reach: Callable[[str], None]) -> None:
    """The points inside of what is not one function: between rows, and around a file."""
    made, lined, whole = submit._new_items, export._json_line, export.atomic_file

    def items(dataset: Dataset) -> Iterator[Any]:
        for item in made(dataset):
            reach("before a row is added")
            yield item

    def line(record: export.ExportRecord) -> bytes:
        reach("before a line of the export")
        return lined(record)

    @contextmanager
    def opened(target: Path) -> Iterator[BinaryIO]:
        reach("before the export's file is opened")
        with whole(target) as file:
            reach("after the export's file is opened")
            yield file
            reach("after the export's last line")

    _replace(submit, _new_items=items)
    _replace(export, _json_line=line, atomic_file=opened)


def _replace(owner: ModuleType | type, **values: object) -> None:
    for name, value in values.items():
        assert hasattr(owner, name), f"{owner.__name__} has no {name}"
        setattr(owner, name, value)


def _live(order: Order) -> None:
    """Run the command in this process, which ends with it."""
    os.chdir(order.folder)
    said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(said, number)
    faulthandler.dump_traceback_later(_TOO_LONG, exit=True)
    # Inside the folder, so that a copy of the folder includes the high-water mark.
    os.environ["ARCHON_BATCH_SPOOL"] = "spool"
    os.environ["ARCHON_BATCH_MAX_IN_FLIGHT"] = str(order.in_flight)
    # Nobody watches, so nobody needs a quarter of a second between two looks.
    _replace(run, _POLL_SECONDS=0.05, _PAUSE_FACTOR=0)
    # A slow run must reach the same points as a fast one.
    timing, read = Timing(watchdog_interval=2 * _TOO_LONG), Settings.from_environment
    _replace(Settings, from_environment=lambda: replace(read(), timing=timing))
    # One line of shards: then the end of one asks for the next.
    _replace(submit, _MAX_CONCURRENT_SHARDS=1)
    if order.in_flight == 1:
        # The end of a call and the beginning of the next share a commit or not, as it happens.
        _replace(attempt_writer, _MAX_BATCH=1)
    points = _Points(order.at, order.signal)
    _install(points, order.latency)
    try:
        main(order.arguments)
    except SystemExit as end:
        points.reach("before the exit")
        if order.signal == signal.SIGKILL and isinstance(end.code, int):
            # Python's own end takes a fifth of a run; who is interrupted has to come through it.
            sys.stdout.flush()
            os._exit(end.code)
        raise


def _serve() -> None:
    for name in _NEEDED:
        import_module(name)
    warm_up()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        given = json.loads(line)
        order = Order(**{**given, "at": given["at"] and Point(*given["at"])})
        assert threading.active_count() == 1, "a fork has one thread, and these would be missing"
        pid = os.fork()
        if not pid:
            _live(order)
            return
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
