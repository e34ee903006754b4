"""Starts isolated Python processes by bubblewrap, which reach only the pipes they are given."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from archon_batch.errors import SettingsError
from archon_batch.sandbox.launch import MOUNT_POINT
from archon_batch.sandbox.seccomp import seccomp_filter

#: User id of a sandbox when we are root: root's process count has no limit.
_NOBODY = 65534
#: Bytes and files of its /tmp, the only writable folder.
_TMP_BYTES, _TMP_FILES = 16 << 20, 256
#: Seconds for the first sandbox process to start.
_START_SECONDS = 30.0
#: Files whose source is sent: the guest, the module that it imports, and what runs before bubblewrap.
_GUEST_FILE, _RPC_MODULE, _LAUNCH_FILE = "guest.py", "archon_batch.sandbox.rpc", "launch.py"
_INSTALL_HINT = "install bubblewrap 0.8 or newer (apt-get install bubblewrap)"


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """The command that starts a sandbox process on this machine; each process is a fresh sandbox."""

    command: tuple[str, ...]
    bwrap: str

    @contextmanager
    def start(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        *,
        pipes: Sequence[int] = (),
        stdin_data: bytes = b"",
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a guest process; it is killed on exit from the context.

        Args:
            kind: ``program``, ``tests`` or ``script``: see ``guest.main``.
            arguments: of the guest function of that kind.
            pipes: file descriptors that stay open in the guest.
            stdin_data: content of its standard input and of /dev/stdin.
            stdout: a file descriptor, or ``PIPE``.
            stderr: likewise.
        """
        is_root = os.geteuid() == 0
        job = _anonymous_file(json.dumps({"kind": kind, **arguments}).encode("ascii"))
        stdin, dev_stdin = _anonymous_file(stdin_data), _anonymous_file(stdin_data)
        seccomp = _anonymous_file(seccomp_filter() or b"")
        options = ("--seccomp", seccomp, "--ro-bind-data", dev_stdin, "/dev/stdin")
        try:
            process = subprocess.Popen(  # noqa: S603  (our own command, no shell)
                [*self._with_options(*options), str(job)],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(job, dev_stdin, seccomp, *pipes),
                # bubblewrap's memory, which the guest may see, would contain our environment.
                env={},
                cwd="/",
                start_new_session=True,
                user=_NOBODY if is_root else None,
                group=_NOBODY if is_root else None,
                extra_groups=() if is_root else None,
            )
        finally:
            for file in (job, stdin, dev_stdin, seccomp):
                os.close(file)
        with process:
            try:
                yield process
            finally:
                # The first guest process dies with bubblewrap (seccomp forbids it to change that),
                # and all other guest processes die with the first.
                process.send_signal(signal.SIGKILL)

    def _with_options(self, *options: str | int) -> list[str]:
        """The command with additional bubblewrap options."""
        bwrap = self.command.index(self.bwrap) + 1
        return [*self.command[:bwrap], *map(str, options), *self.command[bwrap:]]


@cache
def detect_bubblewrap() -> Bubblewrap:
    """The command that works on this machine, found by trial.

    Raises:
        SettingsError: no sandbox is possible here; the message says what would help.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SettingsError("sandbox", f"there is no bwrap; {_INSTALL_HINT}")
    if seccomp_filter() is None:
        raise SettingsError("sandbox", "the system calls of this processor type are unknown")
    why = "no Python is readable for all users; install python3"
    for python, has_tmp in product(_pythons(), (True, False)):
        bubblewrap = Bubblewrap(_command(bwrap, python, has_tmp=has_tmp), bwrap)
        failure = _startup_failure(bubblewrap)
        if failure is None:
            return bubblewrap
        why = failure or why
    raise SettingsError("sandbox", f"no sandbox can be started: {why}; see docs/sandbox.md")


def _startup_failure(bubblewrap: Bubblewrap) -> str | None:
    """None if a guest runs a program; else bubblewrap's message, which may be empty."""
    pipe = subprocess.PIPE
    with open(os.devnull, "wb") as started:  # noqa: PTH123
        program = {"programs": ["print(6 * 7)"], "started": started.fileno()}
        try:
            with bubblewrap.start(
                "script", program, pipes=(started.fileno(),), stdout=pipe, stderr=pipe
            ) as process:
                out, err = process.communicate(timeout=_START_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
    if out == b"42\n":
        return None
    return err.decode("utf-8", "replace").strip().partition("\n")[0][:200]


def _pythons() -> Iterator[Path]:
    """Interpreters to try: the one that runs this process, and the system's."""
    own = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    for python in (own, Path("/usr/bin/python3")):
        if python.is_file():
            yield python.resolve()


def _command(bwrap: str, python: Path, *, has_tmp: bool) -> tuple[str, ...]:
    """The command of a guest; without ``has_tmp`` it has no writable folder."""
    lib = python.parent.parent / "lib"
    options = f"size={_TMP_BYTES},nr_inodes={_TMP_FILES},mode=0700"
    return (
        *((str(python), "-ISBc", _source(_LAUNCH_FILE), options) if has_tmp else ()),
        bwrap,
        *("--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-net"),
        *("--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session"),
        # The guest is process 1 and sets its own limits before it reads its job, so every process
        # has them. There is no /proc, by which one process could write into another.
        "--as-pid-1",
        *("--clearenv", "--cap-drop", "ALL", "--uid", str(_NOBODY), "--gid", str(_NOBODY)),
        *("--hostname", "sandbox"),
        # Libraries and Python; neither a shell nor any file of /etc, /home or /root.
        *(word for folder in ("lib", "lib64") for word in _library_options(folder)),
        *("--ro-bind", str(lib), str(lib), "--ro-bind", str(python), str(python)),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        # No /dev/zero, which maps memory that no limit counts; and no terminals.
        *(word for name in ("null", "random", "urandom") for word in _device_options(name)),
        *(("--bind", MOUNT_POINT, "/tmp") if has_tmp else ("--dir", "/tmp")),  # noqa: S108  (the guest's own)
        *("--chdir", "/tmp", "--remount-ro", "/"),  # noqa: S108
        *("--setenv", "PYTHONHASHSEED", "0", "--"),
        *(str(python), "-sSB", "-c", _guest_program()),
    )


def _guest_program() -> str:
    return (
        f"import sys, types\nrpc = sys.modules[{_RPC_MODULE!r}] = types.ModuleType({_RPC_MODULE!r})\n"
        f"exec({_source('rpc.py')!r}, rpc.__dict__)\n" + _source(_GUEST_FILE)
    )


def _source(module: str) -> str:
    return Path(__file__).with_name(module).read_text(encoding="utf-8")


def _device_options(name: str) -> tuple[str, str, str]:
    return "--dev-bind", f"/dev/{name}", f"/dev/{name}"


def _library_options(folder: str) -> Iterator[str]:
    yield from ("--ro-bind-try", f"/usr/{folder}", f"/usr/{folder}")
    top = Path("/", folder)
    if top.is_symlink():
        yield from ("--symlink", str(top.readlink()), str(top))
    else:
        yield from ("--ro-bind-try", str(top), str(top))


def _anonymous_file(content: bytes) -> int:
    """A read-only descriptor of an unnamed file."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)
