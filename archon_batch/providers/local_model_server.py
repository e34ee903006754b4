"""One server for each local model, shared by all processes of this user and outliving none.

Between the processes there are three files in a private directory. The locks on them are the truth,
since the kernel takes a lock back however its holder ends:

    NAME.users    locked, shared, by every user for as long as it lives. A server tries the
                  exclusive lock every second; when it gets it, nobody is left and it ends.
    NAME.server   locked, exclusively, by the server from before it is started until it is gone.
                  Whoever gets the lock knows that there is none, and starts one that inherits it.
                  While somebody holds it, the text inside is where that server listens.
    NAME.log      what the newest server has to say.

So an address that a dead server left is never believed, whoever listens there by now, and no two
servers are started at once. Nor is a busy server taken for a dead one: under load it lets a health
check wait for seconds.
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

#: Calls that a server works on at once. Measured on two cores with 8 callers, in requests of 60 + 56
#: tokens a second: 1.14 with one slot, 1.20 with two, 1.38 with four, 1.49 with eight, of which
#: each takes 95 MB. A second thread gave 1.6 on an idle machine, but 1.1 beside one busy process.
SLOTS, _THREADS = 4, 1
#: Tokens of a prompt and its reply together; the model was trained up to 8192.
CONTEXT_WINDOW = 4096
#: Seconds until a server must listen (it takes one), between looks, and between looks for users.
_START_SECONDS, _POLL_SECONDS, _WATCH_SECONDS = 60.0, 0.02, 1.0
#: All that a server gets of the environment, which may hold keys.
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    url: str
    #: The random name that this one server gives as the model of its replies.
    alias: str


class SharedModelServer:
    """One process's share in the server of one model."""

    def __init__(self, model: str, weights: Path, directory: Path | None = None) -> None:
        self._model, self._weights = model, weights
        self._directory = directory or Path(tempfile.gettempdir(), f"archon-batch-{os.getuid()}")
        self._users_fd: int | None = None
        #: An asyncio task that is cancelled leaves its thread behind, inside ``join``.
        self._lock = threading.Lock()

    def acquire(self) -> ServerAddress:
        """Keep the server up from now on, whether it is found or started; blocks for a second.

        Raises:
            ProviderDownError: it cannot be started; says what its log says last.
        """
        try:
            with self._lock:
                _ensure_private_dir(self._directory)
                # Before the look: a server that was about to end has now ended, or will not.
                users = os.open(self._path("users"), os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(users, fcntl.LOCK_SH)
                self._users_fd, former = users, self._users_fd
                if former is not None:
                    os.close(former)
                return self._find_or_start()
        except OSError as error:
            raise ProviderDownError(
                self._model, f"its server cannot be started: {error}"
            ) from error

    def release(self) -> None:
        """Use the server no longer; it ends within about a second if nobody else does."""
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
        """Start a server that takes over the lock on ``file``, and return while it still loads."""
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        # It finds what this process finds, and works in a directory that nobody minds.
        path = os.pathsep.join(map(os.path.abspath, sys.path))
        # Two threads that spin while they wait for each other come to a standstill beside others.
        threads = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
        inherited = file.fileno()
        with self._path("log").open("wb") as log:
            subprocess.run(  # noqa: S603  # nothing of it comes from outside
                [
                    *(sys.executable, "-m", __name__),
                    *(self._weights, self._path("users"), str(inherited)),
                ],
                check=False,
                cwd=self._directory,
                env=kept | threads | {"PYTHONPATH": path},
                pass_fds=[inherited],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # The terminal's ctrl-C is meant for its user; others may still need it.
                start_new_session=True,
            )

    def _path(self, kind: str) -> Path:
        return self._directory / f"{self._model.replace('/', '-')}.{kind}"


def _ensure_private_dir(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not ours or found.st_mode & 0o077:
        raise PermissionError(f"{directory} must be a directory of this user, with mode 0700")


def _try_lock(file: BinaryIO) -> bool:
    """Whether the exclusive lock could be had, which lasts until every copy of ``file`` is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_address(file: BinaryIO) -> ServerAddress | None:
    """Where the holder of the lock listens; None as long as it does not say."""
    file.seek(0)
    try:
        said = json.loads(file.read())
    except ValueError:
        return None
    return ServerAddress(said["url"], said["alias"])


def _serve(weights: str, users: str, lock_fd: str) -> None:
    """Be the server, for as long as there are users."""
    # Whoever starts it waits for this first process only, and has no child to bury later.
    if os.fork():
        os._exit(0)
    lock = int(lock_fd)

    def end(why: str) -> NoReturn:
        os.write(sys.stderr.fileno(), f"ended: {why}\n".encode())
        # It says that it is gone before it is, so that nobody asks it in between. An ordinary exit
        # would wait for what is in flight, up to 20 s.
        os.ftruncate(lock, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, lambda *_: end("it was told to"))
    with Path(users).open("ab") as file:
        alias = secrets.token_hex(8)
        server = _start_server(weights, alias)
        said = {
            "pid": os.getpid(),
            "url": server.listening_address,
            "alias": alias,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.write(lock, json.dumps(said).encode())
        while not _try_lock(file):
            time.sleep(_WATCH_SECONDS)
        end("it has no users")


def _start_server(weights: str, alias: str) -> Any:  # noqa: ANN401  # xllamacpp has no types
    """Load the weights and listen on a free port of the loopback interface."""
    xllamacpp = import_module("xllamacpp")  # an extra that only this process needs
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {alias}
    params.n_parallel, params.n_ctx = SLOTS, SLOTS * CONTEXT_WINDOW
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _THREADS
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.cache_ram_mib = 0  # else it keeps up to 8 GiB of prompts
    params.verbosity = 2  # warnings; it would write ten lines a call
    # Pages in the user's browser have no business here, nor has anyone with other users' prompts.
    params.ui = params.endpoint_slots = False
    params.cors_origins = ""
    return xllamacpp.Server(params)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
