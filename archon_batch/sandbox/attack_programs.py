"""Programs that try what a sandbox must prevent.

Each defines ``attack``, or ``use``, and returns ``"through"`` if it succeeds.
"""

from collections.abc import Mapping
from types import MappingProxyType

from archon_batch.sandbox.resource_attacks import LIBC_PREAMBLE, RESOURCE_ATTACKS

#: By the name of the attack.
ATTACK_PROGRAMS: Mapping[str, str] = MappingProxyType(
    {
        "opens a socket": """\
import socket
def attack():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    return "through"
""",
        "opens a socket by the C library": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.socket(2, 2, 0) >= 0 else "held"
""",
        "reads /etc/passwd": """\
def attack():
    return "through" if open("/etc/passwd").read() else "held"
""",
        "lists home folders": """\
import os
def attack():
    return "through" if any(os.path.exists(p) for p in ("/root", "/home", "/var", "/srv")) else "held"
""",
        "reads files through /proc/1/root": """\
import os
def attack():
    return "through" if {"home", "root", "var"} & set(os.listdir("/proc/1/root")) else "held"
""",
        "starts a shell": """\
import os
def attack():
    return "through" if any(os.access(p, os.X_OK) for p in ("/bin/sh", "/usr/bin/sh")) else "held"
""",
        "writes outside /tmp": """\
import os
def attack():
    for folder in ("/", "/usr/lib", "/dev", "/dev/shm", "/proc/1", "/etc", "/run"):
        try:
            open(os.path.join(folder, "x"), "w").close()
            return "through"
        except OSError:
            pass
    return "held"
""",
        "reads the environment of other processes": """\
import glob, os
def attack():
    names = set(os.environ)
    for file in glob.glob("/proc/*/environ"):
        try:
            text = open(file, "rb").read()
        except OSError:
            continue
        names |= {v.partition(b"=")[0].decode() for v in text.split(bytes(1)) if v}
    return "through" if names - {"PYTHONHASHSEED", "PWD", "LC_CTYPE"} else "held"
""",
        "lists the processes of other users": """\
import os
def attack():
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return "through" if len(pids) > 4 or max(pids) > 40 else "held"
""",
        "kills every process that it can": """\
import os
def attack():
    os.kill(-1, 9)
    os.kill(1, 9)
    return "held"
""",
        "traces process 1": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.ptrace(16, 1, 0, 0) == 0 else "held"
""",
        "mounts a file system": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 else "held"
""",
        "creates a user namespace": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.unshare(0x10000000) == 0 else "held"
""",
        "creates a process in a user namespace": LIBC_PREAMBLE
        + """\
def attack():
    pid = libc.syscall(56 if is_x86 else 220, 0x10000000 | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return "through" if pid > 0 else "held"
""",
        "reads the session keyring": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.syscall(250 if is_x86 else 219, 0, -3, 1) >= 0 else "held"
""",
        "writes into process 1": """\
def attack():
    with open("/proc/1/mem", "r+b"):
        return "through"
""",
        "reads /proc/meminfo": """\
import os
def attack():
    return "through" if os.path.exists("/proc/meminfo") else "held"
""",
        "opens a socket pair": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.socketpair(1, 1, 0, (ctypes.c_int * 2)()) == 0 else "held"
""",
        "creates a process outside the sandbox": LIBC_PREAMBLE
        + """\
def attack():
    arguments = (ctypes.c_uint64 * 8)(0x20000000, 0, 0, 0, 17, 0, 0, 0)
    pid = libc.syscall(435, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        os._exit(0)
    return "through" if pid > 0 or ctypes.get_errno() != 38 else "held"
""",
        "reads attributes of an object of the test": """\
def use(given):
    return "through" if given.__globals__ else "held"
""",
        **RESOURCE_ATTACKS,
    }
)
