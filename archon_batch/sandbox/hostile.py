"""Programs that try what a sandbox must not let them.

The first kind defines ``attack``, or ``use``, and returns ``"through"`` where it reached what it must
not. The second is wrong, and tries to pass the test of a right program all the same.
"""

from collections.abc import Mapping
from types import MappingProxyType

_LIBC = """\
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
here = platform.machine() == "x86_64"
"""

#: By what each tries.
REACHES: Mapping[str, str] = MappingProxyType(
    {
        "opens a socket": """\
import socket
def attack():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    return "through"
""",
        "sends a datagram, past Python": _LIBC
        + """\
def attack():
    return "through" if libc.socket(2, 2, 0) >= 0 else "held"
""",
        "reads the users of this machine": """\
def attack():
    return "through" if open("/etc/passwd").read() else "held"
""",
        "lists the folders of users": """\
import os
def attack():
    return "through" if any(os.path.exists(p) for p in ("/root", "/home", "/var", "/srv")) else "held"
""",
        "goes out by the root of its first process": """\
import os
def attack():
    return "through" if {"home", "root", "var"} & set(os.listdir("/proc/1/root")) else "held"
""",
        "starts a shell": """\
import os
def attack():
    return "through" if any(os.access(p, os.X_OK) for p in ("/bin/sh", "/usr/bin/sh")) else "held"
""",
        "writes outside of its /tmp": """\
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
        "reads the environment of every process": """\
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
        "looks for the processes of others": """\
import os
def attack():
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return "through" if len(pids) > 4 or max(pids) > 40 else "held"
""",
        "kills whatever it can": """\
import os
def attack():
    os.kill(-1, 9)
    os.kill(1, 9)
    return "held"
""",
        "traces its first process": _LIBC
        + """\
def attack():
    return "through" if libc.ptrace(16, 1, 0, 0) == 0 else "held"
""",
        "mounts a file system": _LIBC
        + """\
def attack():
    return "through" if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 else "held"
""",
        "makes a user of its own": _LIBC
        + """\
def attack():
    return "through" if libc.unshare(0x10000000) == 0 else "held"
""",
        "makes a process with a user of its own": _LIBC
        + """\
def attack():
    made = libc.syscall(56 if here else 220, 0x10000000 | 17, 0, 0, 0, 0)
    if made == 0:
        os._exit(0)
    return "through" if made > 0 else "held"
""",
        "reads the keys of the session": _LIBC
        + """\
def attack():
    return "through" if libc.syscall(250 if here else 219, 0, -3, 1) >= 0 else "held"
""",
        "takes memory between processes": _LIBC
        + """\
def attack():
    return "through" if libc.shmget(0, 1 << 20, 0o1600) >= 0 else "held"
""",
        "takes memory as a file": _LIBC
        + """\
def attack():
    return "through" if libc.syscall(319 if here else 279, b"x", 0) >= 0 else "held"
""",
        "takes a gigabyte": """\
def attack():
    return "through" if len(bytearray(1 << 30)) else "held"
""",
        "lifts its own limits": """\
import resource
def attack():
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE):
        try:
            resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return "through"
        except (OSError, ValueError):
            pass
    return "held"
""",
        "forks without end": """\
import os, time
def attack():
    for made in range(1000):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        if made > 32:
            return "through"
""",
        "starts threads without end": """\
import threading, time
def attack():
    for _ in range(64):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return "through"
""",
        "fills the disk": """\
def attack():
    for n in range(64):
        with open(f"/tmp/{n}", "wb") as file:
            file.write(bytes(1 << 20))
    return "through"
""",
        "reaches into what a test hands to it": """\
def use(given):
    return "through" if given.__globals__ else "held"
""",
    }
)

#: Programs that are to add two numbers, by how they would pass without.
FORGERIES: Mapping[str, str] = MappingProxyType(
    {
        "ends with success": """\
import os
def add(a, b):
    os._exit(0)
""",
        "reports success itself": """\
import os
def add(a, b):
    for number in range(64):
        for line in (b'["passed", ""]', b'["loaded", ""]', b'OK', b'["value", true]'):
            try:
                os.write(number, line + bytes([10]))
            except OSError:
                pass
    os._exit(0)
""",
        "equals everything": """\
class Anything(int):
    __eq__ = __le__ = __ge__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = int.__hash__
def add(a, b):
    return Anything(7)
""",
        "is nothing but equal": """\
class Anything:
    __eq__ = lambda self, other: True
    __class__ = property(lambda self: int)
def add(a, b):
    return Anything()
""",
        "patches what tests stand on": """\
import builtins, json, operator, sys
def abs(x):
    return 0
builtins.AssertionError = type("Quiet", (Exception,), {})
operator.eq = lambda a, b: True
json.loads = lambda text: 5
sys.settrace(None)
def add(a, b):
    return 7
""",
        "looks for the answer": """\
import gc, sys
def add(a, b):
    # Put together here, so that it does not find itself.
    wanted = " ".join(("assert", "add(2,", "3)"))
    frame, found = sys._getframe().f_back, gc.get_objects()
    while frame:
        found += frame.f_locals.values()
        frame = frame.f_back
    return 5 if any(wanted in x for x in map(repr, found[:20_000])) else 7
""",
        "returns what cannot be read": """\
def add(a, b):
    value = []
    for _ in range(100_000):
        value = [value]
    return value
""",
    }
)
