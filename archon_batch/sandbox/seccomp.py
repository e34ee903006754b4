"""System calls that nobody inside has any use for, as a filter that the kernel runs."""

import platform
import struct
from collections.abc import Iterator, Mapping, Sequence

#: By machine: what the kernel calls it, and the column of its numbers.
_MACHINES: Mapping[str, tuple[int, int]] = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
    "riscv64": (0xC00000F3, 1),
}
#: Numbers on x86_64, and on machines that have the kernel's common ones; 0 where there is none.
_DENIED: Mapping[str, tuple[int, int]] = {
    # Sockets of every family: not all of them belong to a network namespace, and what waits in them
    # is memory that no limit counts.
    "socket": (41, 198),
    "socketpair": (53, 199),
    # Keys of the user's session, which no namespace hides.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Memory of the kernel, or of nobody, that no limit of a process counts.
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "vmsplice": (278, 75),
    "inotify_init": (253, 0),
    "inotify_init1": (294, 26),
    "landlock_create_ruleset": (444, 444),
    # Shared by all of the machine: its asynchronous I/O, and whole locks on files that can be read.
    "io_setup": (206, 0),
    "flock": (73, 32),
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
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
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
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
    "seccomp": (317, 277),
    "modify_ldt": (154, 0),
    "iopl": (172, 0),
    "ioperm": (173, 0),
    "personality": (135, 92),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
#: What is not there at all, so that the C library takes the older call, whose flags can be read.
_ABSENT: Mapping[str, tuple[int, int]] = {"clone3": (435, 435)}
_ALL_BITS = 0xFFFF_FFFF
#: Refused for what they are asked: the call, which of its arguments, the bits of it that are looked
#: at, and what these may not be.
_DENIED_ARGUMENTS: Sequence[tuple[tuple[int, int], int, int, Sequence[int]]] = (
    # clone: each namespace.
    *(((56, 220), 0, bit, (bit,)) for bit in (1 << 17, *(1 << n for n in range(25, 31)))),
    # mmap: memory that is shared and of no file stays whole until its last page is unmapped, so that
    # no limit of a process counts it.
    ((9, 222), 3, 0x21, (0x21,)),
    # prctl: outliving the one who has started the box; filters of one's own; groups of processors.
    ((157, 167), 0, _ALL_BITS, (1, 22, 62)),
    # fcntl: leases on files of the machine, notices of their changes, and larger pipes.
    ((72, 25), 1, _ALL_BITS, (1024, 1026, 1031)),
)
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
#: Errors of a call are EPERM, and ENOSYS for one that is not there.
_ALLOW, _REFUSE, _NO_CALL, _KILL = 0x7FFF_0000, 0x0005_0001, 0x0005_0026, 0x8000_0000
#: Where the filter finds the number of the call, the machine it is for, and the lower half of the
#: first argument; all these machines have that half first.
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16
#: Numbers of x86_64 from here on are the same calls once more.
_X32_BIT = 0x40000000


def seccomp_filter() -> bytes | None:
    """The filter for this machine, as the kernel reads it; None for one that is not known."""
    known = _MACHINES.get(platform.machine())
    if known is None:
        return None
    return b"".join(struct.pack("HBBI", *line) for line in _instructions(*known))


def _instructions(machine: int, column: int) -> Iterator[tuple[int, int, int, int]]:
    yield _LOAD, 0, 0, _MACHINE
    yield _EQUAL, 1, 0, machine
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, _X32_BIT
    yield _RETURN, 0, 0, _REFUSE
    for calls, answer in ((_DENIED, _REFUSE), (_ABSENT, _NO_CALL)):
        for numbers in calls.values():
            if number := numbers[column]:
                yield _EQUAL, 0, 1, number
                yield _RETURN, 0, 0, answer
    for numbers, argument, bits, refused in _DENIED_ARGUMENTS:
        yield _EQUAL, 0, 3 + 2 * len(refused), numbers[column]
        yield _LOAD, 0, 0, _ARGUMENTS + 8 * argument
        yield _AND, 0, 0, bits
        for value in refused:
            yield _EQUAL, 0, 1, value
            yield _RETURN, 0, 0, _REFUSE
        yield _LOAD, 0, 0, _NUMBER
    yield _RETURN, 0, 0, _ALLOW
