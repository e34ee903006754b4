"""Runs before bubblewrap: mounts a file system for the guest's /tmp, then becomes bubblewrap.

bubblewrap limits the bytes of a tmpfs, but not its inodes, each of which takes a kilobyte of kernel
memory. The source of this file is sent, like guest.py. It runs with the rights of its caller, in a
new namespace before any guest program.
"""

import ctypes
import os
import sys

_NEWNS, _NEWUSER = 0x0002_0000, 0x1000_0000
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
#: Mount point until bubblewrap binds the file system to /tmp: a folder of every machine that holds
#: neither Python nor bubblewrap.
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
        with open(f"/proc/self/{file}", "w", encoding="ascii") as map_file:  # noqa: PTH123
            map_file.write(text)
    flags = _NOSUID | _NODEV | _NOEXEC
    result = libc.mount(b"tmpfs", MOUNT_POINT.encode(), b"tmpfs", flags, options.encode())
    _check("mount", result)
    os.execv(command[0], command)  # noqa: S606  (no shell)


def _check(operation: str, result: int) -> None:
    if result:
        sys.exit(f"{operation}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
