"""System calls that nobody inside has any use for, as a filter that the kernel runs."""

import platform
import struct
from collections.abc import Iterator, Mapping

#: By machine: what the kernel calls it, and the column of its numbers.
_MACHINES: Mapping[str, tuple[int, int]] = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
    "riscv64": (0xC00000F3, 1),
}
#: Numbers on x86_64, and on machines that have the kernel's common ones; 0 where there is none.
_DENIED: Mapping[str, tuple[int, int]] = {
    # Sockets of every family: not all of them belong to a network namespace.
    "socket": (41, 198),
    # Keys of the user's session, which no namespace hides.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Memory that no limit of a process counts.
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    # Mounts and namespaces.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    # Large parts of the kernel, with many faults so far.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "modify_ldt": (154, 0),
    "iopl": (172, 0),
    "ioperm": (173, 0),
    "personality": (135, 92),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "fanotify_init": (300, 262),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "acct": (163, 89),
    "swapon": (167, 224),
    "reboot": (169, 142),
}
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
#: Where the filter finds the number of the call, and the machine it is for.
_NUMBER, _MACHINE = 0, 4
#: Numbers of x86_64 from here on are the same calls once more.
_TWICE = 0x40000000


def seccomp_filter() -> bytes | None:
    """The filter for this machine, as the kernel reads it; None for one that is not known."""
    known = _MACHINES.get(platform.machine())
    if known is None:
        return None
    return b"".join(struct.pack("HBBI", *line) for line in _lines(*known))


def _lines(machine: int, column: int) -> Iterator[tuple[int, int, int, int]]:
    yield _LOAD, 0, 0, _MACHINE
    yield _EQUAL, 1, 0, machine
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, _TWICE
    yield _RETURN, 0, 0, _REFUSE
    for numbers in _DENIED.values():
        if number := numbers[column]:
            yield _EQUAL, 0, 1, number
            yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _ALLOW
