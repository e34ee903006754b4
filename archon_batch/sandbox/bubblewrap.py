"""A box: one process of Python that reaches nothing but the pipes it is given, by bubblewrap."""

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

#: Who a box runs as when we are root: the number of processes of root cannot be bounded.
_NOBODY = 65534
#: Bytes and files of its /tmp, the only place where it can write.
_TMP_BYTES, _TMP_FILES = 16 << 20, 256
#: Seconds that the first box may take to start.
_START_SECONDS = 30.0
#: What runs in a box, the module that it imports, whose text goes along, and what runs before.
_GUEST_FILE, _RPC_MODULE, _LAUNCH_FILE = "guest.py", "archon_batch.sandbox.rpc", "launch.py"
_INSTALL_HINT = "install bubblewrap 0.8 or newer (apt-get install bubblewrap)"


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """How a box is made here; each one that is started is a fresh one."""

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
        """A box that is told what to be; nothing of it is left afterwards.

        Args:
            kind: a function of ``guest.py``, and ``arguments`` what it is called with.
            arguments: see there.
            pipes: files that stay open in it.
            stdin_data: what it reads from its standard input, or from /dev/stdin.
            stdout: a file, or ``PIPE``.
            stderr: likewise.
        """
        root = os.geteuid() == 0
        job = _anonymous_file(json.dumps({"kind": kind, **arguments}).encode("ascii"))
        stdin, again, rules = (
            _anonymous_file(stdin_data),
            _anonymous_file(stdin_data),
            _anonymous_file(seccomp_filter() or b""),
        )
        try:
            process = subprocess.Popen(  # noqa: S603  (our own command, and no shell)
                [
                    *self._with_options("--seccomp", rules, "--ro-bind-data", again, "/dev/stdin"),
                    str(job),
                ],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(job, again, rules, *pipes),
                # Whatever is in our environment is in the memory of the box's first process.
                env={},
                cwd="/",
                start_new_session=True,
                user=_NOBODY if root else None,
                group=_NOBODY if root else None,
                extra_groups=() if root else None,
            )
        finally:
            for file in (job, stdin, again, rules):
                os.close(file)
        with process:
            try:
                yield process
            finally:
                # The box's first process dies with bubblewrap, since seccomp does not let it out of
                # that, and everyone in the box with that one.
                process.send_signal(signal.SIGKILL)

    def _with_options(self, *options: str | int) -> list[str]:
        """The command with more options for bubblewrap."""
        bwrap = self.command.index(self.bwrap) + 1
        return [*self.command[:bwrap], *map(str, options), *self.command[bwrap:]]


@cache
def detect_bubblewrap() -> Bubblewrap:
    """How boxes are made on this machine, after one has been tried.

    Raises:
        SettingsError: none can be made here; it says what would help.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SettingsError("sandbox", f"there is no bwrap; {_INSTALL_HINT}")
    if seccomp_filter() is None:
        raise SettingsError("sandbox", "no system calls are known for this kind of machine")
    why = "no Python that it could run is readable for everyone; install python3"
    for python, has_tmp in product(_pythons(), (True, False)):
        box = Bubblewrap(_command(bwrap, python, has_tmp=has_tmp), bwrap)
        failed = _startup_failure(box)
        if failed is None:
            return box
        why = failed or why
    raise SettingsError("sandbox", f"no box can be made: {why}; see docs/sandbox.md")


def _startup_failure(bubblewrap: Bubblewrap) -> str | None:
    """None when a box runs a program; else what bubblewrap said, which may be nothing."""
    pipe = subprocess.PIPE
    with open(os.devnull, "wb") as begun:  # noqa: PTH123
        program = {"programs": ["print(6 * 7)"], "begun": begun.fileno()}
        try:
            with bubblewrap.start(
                "script", program, pipes=(begun.fileno(),), stdout=pipe, stderr=pipe
            ) as process:
                out, err = process.communicate(timeout=_START_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
    if out == b"42\n":
        return None
    return err.decode("utf-8", "replace").strip().partition("\n")[0][:200]


def _pythons() -> Iterator[Path]:
    """Interpreters that may be used: the one that runs this, and the system's."""
    own = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    for python in (own, Path("/usr/bin/python3")):
        if python.is_file():
            yield python.resolve()


def _command(bwrap: str, python: Path, *, has_tmp: bool) -> tuple[str, ...]:
    """What starts a box. Where a file system cannot be made for it, it has nothing to write to."""
    lib = python.parent.parent / "lib"
    options = f"size={_TMP_BYTES},nr_inodes={_TMP_FILES},mode=0700"
    return (
        *((str(python), "-ISBc", _source(_LAUNCH_FILE), options) if has_tmp else ()),
        bwrap,
        *("--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-net"),
        *("--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session"),
        # Its first process is the one that sets limits for itself: so nobody is without. It is told
        # what to do once it has, and there is no /proc by which one could write into another.
        "--as-pid-1",
        *("--clearenv", "--cap-drop", "ALL", "--uid", str(_NOBODY), "--gid", str(_NOBODY)),
        *("--hostname", "box"),
        # Libraries and the one program; neither a shell nor anything in /etc, /home or /root.
        *(word for folder in ("lib", "lib64") for word in _library_options(folder)),
        *("--ro-bind", str(lib), str(lib), "--ro-bind", str(python), str(python)),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        # Of /dev/zero one could map memory that no limit counts; nor are there terminals.
        *(word for name in ("null", "random", "urandom") for word in _device_options(name)),
        *(("--bind", MOUNT_POINT, "/tmp") if has_tmp else ("--dir", "/tmp")),  # noqa: S108  (its own)
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
    """A file without a name that can only be read."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)
