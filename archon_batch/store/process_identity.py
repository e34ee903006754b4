"""Process identities: which process owns an attempt, and whether that process is dead."""

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
#: Characters of the host name, so that the identity fits its column.
_MAX_HOST_NAME = 40
#: This bit marks an address that ``uuid.getnode`` made up because it found none.
_RANDOM_NODE = 1 << 40


@cache
def current_process_id() -> str:
    """A unique identity of this process: ``host:pid:start:kernel:random``.

    A later process with the same pid differs in its start; one with the same host name, pid and
    start in another container, or on another machine, differs in its kernel.
    """
    own = f"{_host_name()}:{os.getpid()}:{_process_stat('self')[1]}"
    return f"{own}:{_kernel_id()}:{secrets.token_hex(4)}"


os.register_at_fork(after_in_child=current_process_id.cache_clear)


def is_dead(owner: str) -> bool:
    """Whether the process has certainly ended; only its own kernel can tell.

    For a process of another machine or container, and for identities of earlier versions
    (``host:pid:start``), the answer is False: the lease decides.
    """
    if not is_local(owner):
        return False
    _, pid, start, _, _ = owner.rsplit(":", 4)
    try:
        # Unlike /proc, this also works for processes that are hidden from this user.
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    state, actual_start = _process_stat(pid)
    return state == "Z" or ("" not in (actual_start, start) and actual_start != start)


def is_local(owner: str) -> bool:
    """Whether the process runs, or ran, under this kernel and in this pid namespace."""
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
    """A hash that identifies the kernel and the pid namespace; empty if unknown.

    Containers share a boot id, and two machines may use the same namespace number; the start of a
    process is relative to the boot time of its time namespace.
    """
    try:
        parts = [(_PROC / "sys/kernel/random/boot_id").read_text(), _namespace("pid")]
    except OSError:
        if sys.platform == "linux" or uuid.getnode() & _RANDOM_NODE:
            return ""
        # Other systems have no containers, and the network card identifies the machine.
        return f"{uuid.getnode():x}"
    with suppress(OSError):  # an older kernel has no time namespaces
        parts.append(_namespace("time"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _namespace(kind: str) -> str:
    return str((_PROC / "self/ns" / kind).readlink())


def _process_stat(pid: str) -> tuple[str, str]:
    """The state of a process and its start in kernel ticks; both empty if unknown."""
    try:
        # The /proc of another namespace shows other processes under our pids.
        if pid != "self" and (_PROC / "self").readlink() != Path(str(os.getpid())):
            return "", ""
        stat = (_PROC / pid / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    # The name, in brackets, may contain anything; the start is the twentieth field after it.
    state, *fields = stat.rpartition(")")[2].split()
    return state, fields[18]
