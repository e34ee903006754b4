"""Programs that try to take resources which no process limit counts, or which outlive them."""

from collections.abc import Mapping
from types import MappingProxyType

#: Start of the programs that call the C library.
LIBC_PREAMBLE = """\
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
is_x86 = platform.machine() == "x86_64"
"""

#: By the name of the attack. Each defines ``attack``, which returns ``"through"`` if it succeeds.
RESOURCE_ATTACKS: Mapping[str, str] = MappingProxyType(
    {
        "allocates shared memory": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.shmget(0, 1 << 20, 0o1600) >= 0 else "held"
""",
        "allocates memory as a file": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.syscall(319 if is_x86 else 279, b"x", 0) >= 0 else "held"
""",
        "allocates a gigabyte": """\
def attack():
    return "through" if len(bytearray(1 << 30)) else "held"
""",
        "keeps unmapped shared memory": LIBC_PREAMBLE
        + """\
libc.mmap.restype = ctypes.c_void_p
PART, PAGE = 64 << 20, 4096
def attack():
    # Shared memory stays whole until its last page goes: nine parts are more than it may have.
    files = [-1] + [os.open(f, os.O_RDWR) for f in ("/dev/zero",) if os.path.exists(f)]
    for n in range(9):
        file = files[n % len(files)]
        flags = 0x21 if file < 0 else 1
        at = libc.mmap(None, ctypes.c_size_t(PART), 3, flags, file, ctypes.c_long(0))
        if at in (None, ctypes.c_void_p(-1).value):
            return "held"
        for page in range(0, PART, PAGE):
            ctypes.c_char.from_address(at + page).value = b"x"
        libc.munmap(ctypes.c_void_p(at + PAGE), ctypes.c_size_t(PART - PAGE))
    return "through"
""",
        "keeps pages in a pipe": LIBC_PREAMBLE
        + """\
class Part(ctypes.Structure):
    _fields_ = [("at", ctypes.c_char_p), ("size", ctypes.c_size_t)]
def attack():
    read, write = os.pipe()
    count = libc.vmsplice(write, ctypes.byref(Part(b"x" * 4096, 4096)), 1, 0)
    return "through" if count > 0 else "held"
""",
        "enlarges its pipes": """\
import fcntl, os
def attack():
    fcntl.fcntl(os.pipe()[1], 1031, 1 << 20)
    return "through"
""",
        "stores data in file attributes": """\
import os
def attack():
    open("/tmp/x", "w").close()
    for n in range(64):
        os.setxattr("/tmp/x", f"user.{n}", bytes(60_000))
    return "through"
""",
        "creates files without end": """\
import os
def attack():
    for n in range(10_000):
        os.close(os.open(f"/tmp/{n}", os.O_CREAT | os.O_WRONLY))
    return "through"
""",
        "creates links without end": """\
import os
def attack():
    for n in range(10_000):
        os.symlink("x" * 4000, f"/tmp/{n}")
    return "through"
""",
        "locks a file of the host": """\
import fcntl, os
def attack():
    with open(os.__file__, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    return "through"
""",
        "watches files of the host": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.inotify_init1(0) >= 0 else "held"
""",
        "creates a message queue": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.syscall(240 if is_x86 else 180, b"x", 0o102, 0o600, None) >= 0 else "held"
""",
        "queues signals without end": LIBC_PREAMBLE
        + """\
import signal
def attack():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 5])
    for n in range(10_000):
        if libc.sigqueue(os.getpid(), signal.SIGRTMIN + 5, None):
            return "held"
    return "through"
""",
        "allocates asynchronous I/O": LIBC_PREAMBLE
        + """\
def attack():
    context = ctypes.c_ulong(0)
    status = libc.syscall(206 if is_x86 else 0, 64, ctypes.byref(context))
    return "through" if status == 0 else "held"
""",
        "creates landlock rules": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.syscall(444, None, 0, 1) >= 0 else "held"
""",
        "opens terminals": """\
import os
def attack():
    return "through" if os.openpty() else "held"
""",
        "fills the disk": """\
def attack():
    for n in range(64):
        with open(f"/tmp/{n}", "wb") as file:
            file.write(bytes(1 << 20))
    return "through"
""",
        "raises its own limits": """\
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
        "finds a process without limits": """\
import resource
def attack():
    for process in range(1, 100):
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU):
            try:
                if resource.prlimit(process, limit)[1] in (resource.RLIM_INFINITY, 1 << 40):
                    return "through"
            except OSError:
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
        "survives its parent": LIBC_PREAMBLE
        + """\
def attack():
    return "through" if libc.prctl(1, 0, 0, 0, 0) == 0 else "held"
""",
    }
)
