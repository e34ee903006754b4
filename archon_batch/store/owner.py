"""Which process an attempt belongs to, and whether that process is dead."""

import os
import socket
from functools import cache
from pathlib import Path


@cache
def me() -> str:
    """``host:pid:start`` of this process: a later one with the same pid is another."""
    pid = os.getpid()
    return f"{socket.gethostname()[:64]}:{pid}:{_start(pid)}"


os.register_at_fork(after_in_child=me.cache_clear)


def is_dead(owner: str) -> bool:
    """Whether the process is known to be gone. Of another host nothing is known."""
    host, pid, start = owner.rsplit(":", 2)
    return host == socket.gethostname() and _start(int(pid)) != start


def is_here(owner: str) -> bool:
    """Whether the process is, or was, one of this machine."""
    return owner.rsplit(":", 2)[0] == socket.gethostname()[:64]


def _start(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "" if Path("/proc/self").exists() else _alive(pid)
    # The name, in brackets, may hold anything; the start is the twentieth field after it.
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]


def _alive(pid: int) -> str:
    """Where there is no /proc: a pid that answers is taken for the same process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "0"
