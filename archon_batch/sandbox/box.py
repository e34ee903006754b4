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
from pathlib import Path
from typing import Any

from archon_batch.errors import SettingsError
from archon_batch.sandbox.seccomp import seccomp_filter

#: Who a box runs as when we are root: the number of processes of root cannot be bounded.
_NOBODY = 65534
#: Bytes of its /tmp, the only place where it can write.
_DISK = 16 << 20
#: Seconds that the first box may take to start.
_START = 30.0
#: What runs in a box, and the module that it imports, whose text goes along.
_INSIDE, _PEER = "inside.py", "archon_batch.sandbox.peer"
_INSTALL = "install bubblewrap 0.8 or newer (apt-get install bubblewrap)"


@dataclass(frozen=True, slots=True)
class Box:
    """How a box is made here; each one that is started is a fresh one."""

    command: tuple[str, ...]

    @contextmanager
    def running(
        self,
        kind: str,
        told: Mapping[str, Any],
        *,
        pipes: Sequence[int] = (),
        given: bytes = b"",
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """A box that is told what to be; nothing of it is left afterwards.

        Args:
            kind: a function of ``inside.py``, and ``told`` what it is called with.
            told: see there.
            pipes: files that stay open in it.
            given: what it reads from its standard input.
            stdout: a file, or ``PIPE``.
            stderr: likewise.
        """
        root = os.geteuid() == 0
        job = _file(json.dumps({"kind": kind, **told}).encode("ascii"))
        stdin, rules = _file(given), _file(seccomp_filter() or b"")
        try:
            process = subprocess.Popen(  # noqa: S603  (our own command, and no shell)
                [*self._wrapped(rules), str(job)],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(job, rules, *pipes),
                # Whatever is in our environment could be read in the box's /proc/1/environ.
                env={},
                cwd="/",
                start_new_session=True,
                user=_NOBODY if root else None,
                group=_NOBODY if root else None,
                extra_groups=() if root else None,
            )
        finally:
            for file in (job, stdin, rules):
                os.close(file)
        with process:
            try:
                yield process
            finally:
                # The box's first process dies with bubblewrap, and everyone in it with that one.
                process.send_signal(signal.SIGKILL)

    def _wrapped(self, rules: int) -> list[str]:
        return [self.command[0], "--seccomp", str(rules), *self.command[1:]]


@cache
def opened() -> Box:
    """How boxes are made on this machine, after one has been tried.

    Raises:
        SettingsError: none can be made here; it says what would help.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SettingsError("sandbox", f"there is no bwrap; {_INSTALL}")
    if seccomp_filter() is None:
        raise SettingsError("sandbox", "no system calls are known for this kind of machine")
    why = "no Python that it could run is readable for everyone; install python3"
    for python in _pythons():
        box = Box(_command(bwrap, python))
        failed = _failure(box)
        if failed is None:
            return box
        why = failed or why
    raise SettingsError("sandbox", f"no box can be made: {why}; see docs/sandbox.md")


def _failure(box: Box) -> str | None:
    """None when a box runs a program; else what bubblewrap said, which may be nothing."""
    program = {"programs": ["print(6 * 7)"]}
    pipe = subprocess.PIPE
    try:
        with box.running("script", program, stdout=pipe, stderr=pipe) as process:
            out, err = process.communicate(timeout=_START)
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


def _command(bwrap: str, python: Path) -> tuple[str, ...]:
    lib = python.parent.parent / "lib"
    return (
        bwrap,
        *("--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-net"),
        *("--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--new-session"),
        *("--clearenv", "--cap-drop", "ALL", "--uid", str(_NOBODY), "--gid", str(_NOBODY)),
        *("--hostname", "box"),
        # Libraries and the one program; neither a shell nor anything in /etc, /home or /root.
        *(word for folder in ("lib", "lib64") for word in _library(folder)),
        *("--ro-bind", str(lib), str(lib), "--ro-bind", str(python), str(python)),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--size", str(_DISK), "--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108  (its own)
        # Memory that no limit of a process counts.
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *("--setenv", "PYTHONHASHSEED", "0", "--"),
        *(str(python), "-sSB", "-c", _program()),
    )


def _program() -> str:
    here = Path(__file__).parent
    peer = here.joinpath("peer.py").read_text(encoding="utf-8")
    return (
        f"import sys, types\npeer = sys.modules[{_PEER!r}] = types.ModuleType({_PEER!r})\n"
        f"exec({peer!r}, peer.__dict__)\n" + here.joinpath(_INSIDE).read_text(encoding="utf-8")
    )


def _library(folder: str) -> Iterator[str]:
    yield from ("--ro-bind-try", f"/usr/{folder}", f"/usr/{folder}")
    top = Path("/", folder)
    if top.is_symlink():
        yield from ("--symlink", str(top.readlink()), str(top))
    else:
        yield from ("--ro-bind-try", str(top), str(top))


def _file(content: bytes) -> int:
    """A file without a name that can only be read."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)
