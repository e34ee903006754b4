"""Python processes without the time for their imports: each is forked from one that has made them.

``Popen`` is ``subprocess.Popen``. A Python command that it starts is forked from a server, which has
imported the libraries and those packages of the program that read no settings; so a process starts
within a twentieth of a second and not within one to four. It has the arguments, environment, folder,
files and session that it was given, imports everything from the engine upwards by itself, and starts
its own Python processes in the same way. What cannot be served so is started as it stands: another
program, another user, and a variable that is read before a process can be given others.
"""

import atexit
import gc
import json
import os
import pkgutil
import re
import runpy
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Any, AnyStr

#: Packages below the engine, in which nothing reads a setting when it is imported.
_PACKAGES = (
    "archon", "calls", "config", "dataset", "evaluation", "jobs", "money", "providers",
    "rate_limits", "sandbox", "search", "store",
)  # fmt: skip
#: Modules of these packages that only some commands import, since they take seconds.
_EXPENSIVE = re.compile(r"bayes|benchmark|child|guest|litellm|migrations|server|trial_jobs|results")
#: Modules of other libraries that the engine and the command line import.
_LIBRARIES = (
    "aiohttp", "alembic.command", "alembic.migration", "celery.app.amqp", "celery.app.control", "celery.app.events",
    "celery.apps.worker", "celery.backends.base", "celery.bin.celery", "celery.bin.worker",
    "celery.concurrency.thread", "celery.events.dispatcher", "celery.events.receiver",
    "celery.events.state", "celery.loaders.app",
    "celery.worker.components", "celery.worker.consumer.delayed_delivery",
    "celery.worker.autoscale", "celery.worker.strategy", "click", "dotenv.main", "encodings.idna", "encodings.utf_8_sig",
    "kombu.mixins", "kombu.pidbox", "kombu.transport.memory", "kombu.transport.pyamqp", "kombu.transport.redis",
    "psycopg", "redis.sentinel", "rich._emoji_codes", "rich.console", "rich.live", "rich.progress", "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite",
)  # fmt: skip
#: Programs that are forked; a ``-c`` is as well.
_MODULES = ("archon_batch", "archon_batch.engine.child_processes", "celery")
#: Variables that the interpreter, the loader and the libraries read as they start.
_READ_AT_START = re.compile(r"^(PYTHON|LD_|LC_|MALLOC_|LITELLM_)|^(LANG|TZ|FAKETIME)$")

_ROOT = Path(__file__).parents[1]
_address: str | None = None
_lock = threading.Lock()


class Popen(subprocess.Popen[AnyStr]):
    """A process that is forked by the server, or a common one where it cannot be."""

    #: From the server: the process's id, and how it has ended.
    _server: socket.socket | None = None

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *more: Any) -> None:
        kept_open: tuple[int, ...] = more[1]
        folder, environment, shell, rest = more[2], more[3], more[6], more[7:]
        stdin, ours_in, ours_out, stdout, ours_err, stderr, _restore, *identity, session, group = (
            rest
        )
        plain = (executable, preexec_fn, *kept_open, *identity) == (
            None,
            None,
            None,
            None,
            None,
            -1,
        )
        given = dict(os.environ if environment is None else environment)
        if shell or group != -1 or not plain or not _can_be_forked(args, given):
            super()._execute_child(args, executable, preexec_fn, *more)  # type: ignore[misc]
            return
        request = {
            "command": [os.fspath(word) for word in args[1:]],
            "folder": os.fspath(folder or Path.cwd()),
            "environment": given,
            "session": session,
        }
        body = json.dumps(request).encode()
        files = [own if file == -1 else file for own, file in enumerate((stdin, stdout, stderr))]
        self._server = socket.socket(socket.AF_UNIX)
        # Kombu sets a default timeout while it connects.
        self._server.setblocking(True)
        self._server.connect(_started())
        socket.send_fds(self._server, [len(body).to_bytes(4, "big")], files)
        self._server.sendall(body)
        self.pid = int.from_bytes(_received(self._server, 4), "big")
        self._child_created = True
        self._close_pipe_fds(stdin, ours_in, ours_out, stdout, ours_err, stderr)  # type: ignore[attr-defined]

    def _internal_poll(self, *given: Any, **more: Any) -> int | None:
        if self._server is None:
            return super()._internal_poll(*given, **more)  # type: ignore[misc,no-any-return]
        if self.returncode is None and (status := self._status(socket.MSG_DONTWAIT)) is not None:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._server is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        status = self._status(socket.MSG_DONTWAIT if wait_flags & os.WNOHANG else 0)
        return (0, 0) if status is None else (self.pid, status)

    def _status(self, flags: int) -> int | None:
        assert self._server is not None
        # It stays to be read, as several threads may ask for it.
        with suppress(BlockingIOError):
            status = self._server.recv(4, socket.MSG_PEEK | flags)
            assert status, "the fork server has ended"
            return int.from_bytes(status, "big")
        return None

    def __del__(self, *_: Any) -> None:
        if self._server is not None:
            self._server.close()
            return
        super().__del__()


def _can_be_forked(command: Any, environment: Mapping[str, str]) -> bool:
    if isinstance(command, str | bytes) or len(command) < 3 or command[0] != sys.executable:
        return False
    known = command[1] == "-c" or (command[1] == "-m" and command[2] in _MODULES)
    return known and _at_start(environment) == _at_start(os.environ)


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if _READ_AT_START.search(name)}


def _received(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        assert part, "the other side has gone"
        data += part
    return data


def _started() -> str:
    """The server's address; it is started when it is first asked for, and ends with this process."""
    global _address  # noqa: PLW0603  (a process has one)
    with _lock:
        if _address is None:
            folder = tempfile.mkdtemp(prefix="fork-")
            address = f"{folder}/socket"
            server = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from tests import fork_server; fork_server.serve()",
                    address,
                ],
                cwd=_ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith("ARCHON_BATCH_")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            assert server.stdout
            assert server.stdout.readline(), "the fork server does not start"
            atexit.register(_end, server, folder)
            _address = address
    return _address


def _end(server: "subprocess.Popen[bytes]", folder: str) -> None:
    server.communicate()
    shutil.rmtree(folder, ignore_errors=True)


def serve() -> None:
    """Fork a process for each request, until standard input ends; return in none of them."""
    global _address  # noqa: PLW0603
    _address = sys.argv[1]
    _import_all()
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as events:
        listening.bind(_address)
        listening.listen(64)
        events.register(sys.stdin, selectors.EVENT_READ)
        events.register(listening, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        # Forked processes without a stdout of their own inherit /dev/null.
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        gc.collect()
        gc.freeze()
        while True:
            for key, _ in events.select():
                if key.fileobj is sys.stdin:
                    return
                if key.data is not None:
                    events.unregister(key.fileobj)
                    key.data()
                elif process := _forked(listening, events):
                    break
            else:
                continue
            break
    process()


def _forked(listening: socket.socket, events: selectors.BaseSelector) -> Callable[[], None] | None:
    """What the new process does; None in the server."""
    connection, _ = listening.accept()
    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    request = json.loads(_received(connection, int.from_bytes(size, "big")))
    assert threading.active_count() == 1, "a fork has one thread, and these would be missing"
    pid = os.fork()
    if not pid:
        return lambda: _become(request, files)
    for file in files:
        os.close(file)
    connection.sendall(pid.to_bytes(4, "big"))
    end = os.pidfd_open(pid)

    def reap() -> None:
        _, status = os.waitpid(pid, 0)
        os.close(end)
        with suppress(OSError):  # who asked has gone
            connection.sendall(status.to_bytes(4, "big"))
        connection.close()

    events.register(end, selectors.EVENT_READ, reap)
    return None


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Be the process that was asked for."""
    for own, file in enumerate(files):
        os.dup2(file, own)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if request["session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    _open_standard_streams()
    subprocess.Popen = Popen  # type: ignore[misc]
    kind, what, *arguments = request["command"]
    sys.argv = ["-c" if kind == "-c" else what, *arguments]
    sys.path[0] = "" if kind == "-c" else request["folder"]
    invalidate_caches()
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(what, "<string>", "exec"), vars(main))  # noqa: S102  (the test's own)


def _open_standard_streams() -> None:
    for name, mode, file in (("stdin", "r", 0), ("stdout", "w", 1), ("stderr", "w", 2)):
        by_line = file == 2 or os.isatty(file)
        errors = "backslashreplace" if file == 2 else "strict"
        opened = open(  # noqa: SIM115
            file, mode, buffering=1 if by_line else -1, errors=errors, closefd=False
        )
        setattr(sys, name, opened)
        setattr(sys, f"__{name}__", opened)


def _import_all() -> None:
    for name in _LIBRARIES:
        with suppress(ModuleNotFoundError):
            import_module(name)
    for name in _PACKAGES:
        module = import_module(f"archon_batch.{name}")
        for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}."):
            if not _EXPENSIVE.search(found.name):
                import_module(found.name)
    warm_up()
    early = [name for name in sys.modules if name.startswith("archon_batch.engine")]
    assert not early, f"these read settings, and are imported too early: {early}"


def warm_up() -> None:
    """Read the list of prices, and create tables once: what each process would do again."""
    import_module("archon_batch.providers.price_list").known_providers()
    with tempfile.TemporaryDirectory() as folder:
        import_module("archon_batch.store").Store.open(f"sqlite:///{folder}/store.db").close()
