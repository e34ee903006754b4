"""A seccomp filter that denies the system calls which no guest program needs."""

import platform
import struct
from collections.abc import Iterator, Mapping, Sequence

#: By processor type: the kernel's number for it, and the column of its system call numbers.
_MACHINES: Mapping[str, tuple[int, int]] = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
    "riscv64": (0xC00000F3, 1),
}
#: System call numbers on x86_64, and on processors with the kernel's generic ones; 0 for none.
_DENIED: Mapping[str, tuple[int, int]] = {
    # Sockets of every family: some ignore the network namespace, and no limit counts the memory of
    # their buffers.
    "socket": (41, 198),
    "socketpair": (53, 199),
    # The session's keys, which no namespace hides.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Memory that no limit of a process counts.
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
    # Shared by the whole machine: asynchronous I/O, and locks on readable files.
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
    # Large parts of the kernel, with many vulnerabilities so far.
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
#: Reported as missing, so that the C library falls back to clone, whose flags a filter can read.
_ABSENT: Mapping[str, tuple[int, int]] = {"clone3": (435, 435)}
_ALL_BITS = 0xFFFF_FFFF
#: Denied by argument: the call, the index of the argument, the bits that are compared, and the
#: denied values.
_DENIED_ARGUMENTS: Sequence[tuple[tuple[int, int], int, int, Sequence[int]]] = (
    # clone: each namespace.
    *(((56, 220), 0, bit, (bit,)) for bit in (1 << 17, *(1 << n for n in range(25, 31)))),
    # mmap: shared anonymous memory stays allocated until its last page is unmapped, so that no limit
    # of a process counts it.
    ((9, 222), 3, 0x21, (0x21,)),
    # prctl: surviving the parent; own filters; core scheduling.
    ((157, 167), 0, _ALL_BITS, (1, 22, 62)),
    # fcntl: leases on files, notices of their changes, and larger pipes.
    ((72, 25), 1, _ALL_BITS, (1024, 1026, 1031)),
)
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
#: Results: allow; EPERM; ENOSYS for a missing call; kill.
_ALLOW, _REFUSE, _NO_CALL, _KILL = 0x7FFF_0000, 0x0005_0001, 0x0005_0026, 0x8000_0000
#: Offsets of the call's number, its architecture, and the lower half of the first argument; all
#: these processors are little-endian.
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16
#: From this number on, x86_64 repeats its calls for the x32 ABI.
_X32_BIT = 0x40000000


def seccomp_filter() -> bytes | None:
    """The filter as BPF bytes for this machine; None for an unknown processor type."""
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
