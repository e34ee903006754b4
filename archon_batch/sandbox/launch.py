"""What Python runs before bubblewrap: it makes a file system for the box's /tmp, and becomes bubblewrap.

bubblewrap bounds the bytes of a tmpfs, and not its inodes, each of which is a kilobyte of the
kernel's memory. Its text is sent, as that of guest.py is. It runs with no more rights than the
command that starts it, in a namespace of its own, where no program has been yet.
"""

import ctypes
import os
import sys

_NEWNS, _NEWUSER = 0x0002_0000, 0x1000_0000
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
#: Where the file system is until bubblewrap binds it: a folder that every machine has, in which
#: neither a Python nor bubblewrap lies.
MOUNT_POINT = "/sys"


def main(options: str, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    _check("unshare", libc.unshare(_NEWUSER | _NEWNS))
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as told:  # noqa: PTH123
            told.write(text)
    flags = _NOSUID | _NODEV | _NOEXEC
    made = libc.mount(b"tmpfs", MOUNT_POINT.encode(), b"tmpfs", flags, options.encode())
    _check("mount", made)
    os.execv(command[0], command)  # noqa: S606  (no shell)


def _check(what: str, result: int) -> None:
    if result:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
