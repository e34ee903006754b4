"""Which process an attempt belongs to, and whether that process is dead."""

import hashlib
import os
import secrets
import socket
import sys
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
#: Characters of a machine's name; the column has room for the rest.
_MAX_HOST_NAME = 40
#: Of an address that ``uuid.getnode`` made up, since it found none.
_RANDOM_NODE = 1 << 40


@cache
def current_process_id() -> str:
    """The name of this process, which no other has: ``host:pid:start:kernel:random``.

    One with the same pid, later, has another start; one with the same host name, pid and start in
    another container, or on another machine, has another kernel.
    """
    own = f"{_host_name()}:{os.getpid()}:{_process_stat('self')[1]}"
    return f"{own}:{_kernel_id()}:{secrets.token_hex(4)}"


os.register_at_fork(after_in_child=current_process_id.cache_clear)


def is_dead(owner: str) -> bool:
    """Whether the process is surely gone, as only the kernel that counts its pids can tell.

    Of a process of another machine or container, and of one that an earlier version of this program
    put on record (``host:pid:start``), nothing is known here: its lease decides.
    """
    if not is_local(owner):
        return False
    _, pid, start, _, _ = owner.rsplit(":", 4)
    try:
        # Unlike /proc, it answers for processes that are hidden from this user.
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    state, began = _process_stat(pid)
    return state == "Z" or ("" not in (began, start) and began != start)


def is_local(owner: str) -> bool:
    """Whether the process is, or was, one that this kernel counts beside this one."""
    parts = owner.rsplit(":", 4)
    return (
        len(parts) == 5  # noqa: PLR2004
        and _kernel_id() != ""
        and (parts[0], parts[3]) == (_host_name(), _kernel_id())
    )


def _host_name() -> str:
    return socket.gethostname()[:_MAX_HOST_NAME]


@cache
def _kernel_id() -> str:
    """A hash of what counts the pids that are seen here; empty where nothing tells.

    Two containers have one boot id, and two machines may have one namespace's number; the start of
    a process is counted from the boot that its time namespace has.
    """
    try:
        told = [(_PROC / "sys/kernel/random/boot_id").read_text(), _namespace("pid")]
    except OSError:
        if sys.platform == "linux" or uuid.getnode() & _RANDOM_NODE:
            return ""
        # Elsewhere a machine has no containers, and its network card tells it from others.
        return f"{uuid.getnode():x}"
    with suppress(OSError):  # a kernel older than these
        told.append(_namespace("time"))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _namespace(kind: str) -> str:
    return str((_PROC / "self/ns" / kind).readlink())


def _process_stat(pid: str) -> tuple[str, str]:
    """The state of a process, and its start in the kernel's ticks; empty where nothing tells."""
    try:
        # A /proc of another namespace shows other processes under our numbers.
        if pid != "self" and (_PROC / "self").readlink() != Path(str(os.getpid())):
            return "", ""
        stat = (_PROC / pid / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    # The name, in brackets, may hold anything; the start is the twentieth field after it.
    state, *fields = stat.rpartition(")")[2].split()
    return state, fields[18]
