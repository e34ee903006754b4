"""Runs inside a sandbox process, which gets the source of this file and of rpc.py, and no more.

One process runs a program, and another its tests, which call the program by RPC over pipes: so a
test compares plain values, and never an object of the program. A third kind of process runs a
program as a script, and the host reads its output.
"""

import ast
import builtins
import dis
import json
import os
import resource
import sys
import types
from typing import Any

from archon_batch.sandbox.rpc import (
    BUILTIN_NAMES,
    MAX_REASON,
    OPERATIONS,
    RemoteProxy,
    RpcPeer,
    describe_error,
    error_name_and_message,
)

_MEGA = 1 << 20
#: Limits of a process and its children. The CPU limit equals the total wall-clock limit of all tests
#: of a program, which the host enforces.
_LIMITS = {
    resource.RLIMIT_AS: 512 * _MEGA,
    resource.RLIMIT_CPU: 120,
    resource.RLIMIT_FSIZE: 16 * _MEGA,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_NPROC: 8,
    # With 0 the kernel may still pipe a core dump to a program of the host; not with 1.
    resource.RLIMIT_CORE: 1,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 64,
    resource.RLIMIT_NICE: 0,
    resource.RLIMIT_RTPRIO: 0,
}


def serve_program(programs: list[str], read: int, write: int) -> None:
    """Load the program, the first valid source, and serve requests of the tests."""
    peer = RpcPeer(
        read, write, allowed_operations=frozenset(OPERATIONS), allowed_names=BUILTIN_NAMES
    )
    peer.send(["value", []])
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        exec(_load_program(programs), module.__dict__)  # noqa: S102  (the purpose of a sandbox)
        names = {str(name): value for name, value in vars(module).items()}
        peer.exported.update(names)
        peer.send(["value", list(names)])
    except BaseException as error:  # noqa: BLE001
        peer.send(["raised", *error_name_and_message(error)])
        return
    while True:
        peer.handle_request(*peer.receive())


def run_tests(tests: list[dict[str, Any]], first: int, read: int, write: int) -> None:
    """Run the tests from number ``first`` on, with a JSON line for each, after two start lines."""
    report = os.fdopen(os.dup(1), "w", encoding="ascii")
    _silence_stdio()
    peer = RpcPeer(read, write, allowed_operations=frozenset({"call"}), allowed_names=frozenset())
    failure, program_names = "", set[str]()
    for stage in ("started", "loaded"):
        if not failure:
            try:
                program_names = set(map(str, peer.wait_for_reply()))
            except Exception as error:  # noqa: BLE001  (the program may send anything)
                failure = describe_error(error)
        print(json.dumps([stage, ""]), file=report, flush=True)
    for test in tests[first:]:
        if failure:
            result = ("failed", failure[:MAX_REASON])
        else:
            result = _run_test(peer, test, program_names)
        if result[0] == "passed" and peer.is_lost:
            # The test swallows all errors, but the program has exited.
            result = ("failed", "the program has ended")
        print(json.dumps(result), file=report, flush=True)
        if peer.is_lost and not failure:
            # The host starts another pair of processes for the remaining tests.
            return


def _run_test(peer: RpcPeer, test: dict[str, Any], program_names: set[str]) -> tuple[str, str]:
    try:
        codes = [compile(test[part], "test", "exec") for part in ("setup", "code")]
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return "broken", describe_error(error)
    namespace: dict[str, Any] = {"__name__": "test"}
    loaded, stored = _global_names(codes)
    if test["names"] is None:
        python_names = set(dir(builtins)) | sys.stdlib_module_names
        tested = loaded - stored - python_names
        if not tested:
            # Only if the test names nothing else of the program, take one name that Python defines
            # too, the innermost: a program must not pass by an abs() of its own.
            tested = _innermost(test["code"], (loaded - stored) & program_names)
        proxies = {name: RemoteProxy(peer, name) for name in tested}
    else:
        proxies = {name: RemoteProxy(peer, remote) for name, remote in test["names"]}
    peer.start_test(frozenset(loaded - stored - set(proxies)))
    try:
        for name in (loaded & sys.stdlib_module_names) - stored - set(proxies):
            namespace[name] = __import__(name)
        namespace.update(proxies)
        exec(codes[0], namespace)  # noqa: S102
        # Again, since the setup may define the tested function: a prompt has its head.
        namespace.update(proxies)
        exec(codes[1], namespace)  # noqa: S102
    except BaseException as error:  # noqa: BLE001
        return "failed", describe_error(error)
    return "passed", ""


def _innermost(code: str, names: set[str]) -> set[str]:
    """The name that is called first, if any is; else all names."""
    if len(names) < 2:  # noqa: PLR2004
        return names
    called = [
        call.func.id
        for call in ast.walk(ast.parse(code))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names
    ]
    # ast.walk goes from the outside in.
    return {called[-1]} if called else names


def _global_names(codes: list[types.CodeType]) -> tuple[set[str], set[str]]:
    """The global names that the code loads, and those that it stores."""
    loaded, stored, pending = set(), set(), list(codes)
    while pending:
        code = pending.pop()
        pending += [part for part in code.co_consts if isinstance(part, types.CodeType)]
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
                loaded.add(str(instruction.argval))
            elif instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
                stored.add(str(instruction.argval))
    return loaded, stored


def run_script(programs: list[str], started: int) -> None:
    """Run a program as a script; a byte on the descriptor ``started`` signals the start to the host."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.write(started, b"\n")
    os.close(started)
    exec(_load_program(programs), {"__name__": "__main__"})  # noqa: S102


def _load_program(programs: list[str]) -> types.CodeType:
    """Compile the first valid source; replace what asyncio lacks in a sandbox."""
    if any("asyncio" in program for program in programs):
        _replace_socketpair()
    return _compile_program(programs)


def _replace_socketpair() -> None:
    """Give asyncio a pipe in place of the socket pair that wakes its loop: sockets are denied."""
    import socket  # noqa: PLC0415  (few programs need it)

    class PipeEnd:
        def __init__(self, file: int) -> None:
            self._file = file

        def fileno(self) -> int:
            return self._file

        def setblocking(self, blocks: bool) -> None:
            os.set_blocking(self._file, blocks)

        def recv(self, size: int) -> bytes:
            return os.read(self._file, size)

        def send(self, data: bytes) -> int:
            return os.write(self._file, data)

        def close(self) -> None:
            os.close(self._file)

    socket.__dict__["socketpair"] = lambda: tuple(map(PipeEnd, os.pipe()))


def _compile_program(programs: list[str]) -> types.CodeType:
    for program in programs[:-1]:
        try:
            return compile(program, "program", "exec")
        except (SyntaxError, ValueError):
            pass
    return compile(programs[-1], "program", "exec")


def _silence_stdio() -> None:
    for number in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)


def main(job_fd: int) -> None:
    for limit, value in _LIMITS.items():
        _, maximum = resource.getrlimit(limit)
        bound = value if maximum == resource.RLIM_INFINITY else min(value, maximum)
        resource.setrlimit(limit, (bound, bound))
    with os.fdopen(job_fd, "rb") as file:
        job = json.loads(file.read())
    match job.pop("kind"):
        case "program":
            serve_program(**job)
        case "tests":
            run_tests(**job)
        case "script":
            run_script(**job)


if __name__ == "__main__":
    main(int(sys.argv[1]))
