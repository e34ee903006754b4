"""One server for each local model, shared by all processes of this user.

The processes coordinate by three files in a private directory. Their locks decide, since the kernel
releases a lock however its process ends:

    NAME.users    every user process holds a shared lock while it lives. The server tries the
                  exclusive lock every second; when it gets the lock, no user is left and it exits.
    NAME.server   the server holds an exclusive lock from its start until its exit. A process that
                  gets the lock knows that no server runs, and starts one that inherits the lock.
                  While the lock is held, the file has the address of the server.
    NAME.log      the log of the newest server.

So the address of a dead server is never used, even if another process has its port, and no two
servers start at once. A busy server does not count as dead, although its health check would wait
for seconds.
"""

import fcntl
import json
import os
import secrets
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from archon_batch.errors import ProviderDownError

#: Concurrent calls of a server. Requests a second of 60 + 56 tokens, on two cores with 8 callers:
#: 1.14 with one slot, 1.20 with two, 1.38 with four, 1.49 with eight; each slot takes 95 MB. A
#: second thread gave 1.6 on an idle machine, but 1.1 beside one busy process.
SLOTS, _THREADS = 4, 1
#: Tokens of prompt and reply together; the model was trained up to 8192.
CONTEXT_WINDOW = 4096
#: Seconds until a server must listen (it takes one), between polls, and between checks for users.
_START_SECONDS, _POLL_SECONDS, _WATCH_SECONDS = 60.0, 0.02, 1.0
#: The variables that a server inherits; the rest may hold keys.
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    url: str
    #: The server's random name, which its replies have as their model.
    alias: str


class SharedModelServer:
    """One process's use of the shared server of a model."""

    def __init__(self, model: str, weights: Path, directory: Path | None = None) -> None:
        self._model, self._weights = model, weights
        self._directory = directory or Path(tempfile.gettempdir(), f"archon-batch-{os.getuid()}")
        self._users_fd: int | None = None
        #: A cancelled asyncio task leaves its thread running inside ``acquire``.
        self._lock = threading.Lock()

    def acquire(self) -> ServerAddress:
        """Find or start the server, and keep it running; blocks for about a second.

        Raises:
            ProviderDownError: it cannot be started; the message has the end of its log.
        """
        try:
            with self._lock:
                _ensure_private_dir(self._directory)
                # Lock first: a server that was about to exit has now exited, or will not.
                users = os.open(self._path("users"), os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(users, fcntl.LOCK_SH)
                self._users_fd, previous = users, self._users_fd
                if previous is not None:
                    os.close(previous)
                return self._find_or_start()
        except OSError as error:
            raise ProviderDownError(
                self._model, f"its server cannot be started: {error}"
            ) from error

    def release(self) -> None:
        """Stop using the server; it exits within about a second unless other processes use it."""
        with self._lock:
            if self._users_fd is not None:
                os.close(self._users_fd)
                self._users_fd = None

    def _find_or_start(self) -> ServerAddress:
        started, deadline = False, time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with self._path("server").open("a+b") as file:
                if not _try_lock(file):
                    address = _read_address(file)
                    if address is not None:
                        return address
                elif started:
                    break
                else:
                    file.truncate(0)
                    self._start(file)
                    started = True
            time.sleep(_POLL_SECONDS)
        last = " | ".join(self._path("log").read_text(errors="replace").splitlines()[-5:])
        raise ProviderDownError(self._model, f"its server did not start: {last[-500:] or 'no log'}")

    def _start(self, file: BinaryIO) -> None:
        """Start a server that inherits the lock on ``file``; returns before it has loaded."""
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        # The same import path, but another working directory.
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        # Threads that busy-wait for each other stall beside other processes.
        threads = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
        lock_fd = file.fileno()
        with self._path("log").open("wb") as log:
            subprocess.run(  # noqa: S603  # no part comes from outside
                [
                    *(sys.executable, "-m", __name__),
                    *(self._weights, self._path("users"), str(lock_fd)),
                ],
                check=False,
                cwd=self._directory,
                env=environment | threads | {"PYTHONPATH": path},
                pass_fds=[lock_fd],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Keep the terminal's Ctrl-C away: other processes may still need the server.
                start_new_session=True,
            )

    def _path(self, kind: str) -> Path:
        return self._directory / f"{self._model.replace('/', '-')}.{kind}"


def _ensure_private_dir(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not is_ours or status.st_mode & 0o077:
        raise PermissionError(f"{directory} must be a directory of this user, with mode 0700")


def _try_lock(file: BinaryIO) -> bool:
    """Try the exclusive lock, which lasts until every copy of ``file`` is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_address(file: BinaryIO) -> ServerAddress | None:
    """The address of the running server; None until it has written one."""
    file.seek(0)
    try:
        state = json.loads(file.read())
    except ValueError:
        return None
    return ServerAddress(state["url"], state["alias"])


def _serve(weights: str, users: str, lock_fd: str) -> None:
    """Run the server while it has users."""
    # Fork, so that the starting process has no child to wait for later.
    if os.fork():
        os._exit(0)
    lock = int(lock_fd)

    def end(why: str) -> NoReturn:
        os.write(sys.stderr.fileno(), f"ended: {why}\n".encode())
        # Erase the address first, so that no process uses it any more. An ordinary exit would wait
        # for calls in flight, up to 20 s.
        os.ftruncate(lock, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, lambda *_: end("SIGTERM"))
    with Path(users).open("ab") as file:
        alias = secrets.token_hex(8)
        server = _start_server(weights, alias)
        state = {
            "pid": os.getpid(),
            "url": server.listening_address,
            "alias": alias,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.write(lock, json.dumps(state).encode())
        while not _try_lock(file):
            time.sleep(_WATCH_SECONDS)
        end("it has no users")


def _start_server(weights: str, alias: str) -> Any:  # noqa: ANN401  # xllamacpp has no types
    """Load the weights and listen on a free loopback port."""
    xllamacpp = import_module("xllamacpp")  # an extra, which only this process needs
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {alias}
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * CONTEXT_WINDOW
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _THREADS
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.cache_ram_mib = 0  # the default keeps up to 8 GiB of prompts
    params.verbosity = 2  # warnings; more writes ten lines a call
    # Give neither pages in the user's browser nor other users access to prompts.
    params.ui = params.endpoint_slots = False
    params.cors_origins = ""
    return xllamacpp.Server(params)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
