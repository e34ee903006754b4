"""What Python runs inside a box: its text is sent there with that of rpc.py, and nothing else.

One box holds a program, another its tests, which call the program over a pipe: so a test compares
values, and never an object that the program has made. A third kind of box runs a program as a
script, and the host reads what it prints.
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
#: What one process may have, and with it each that it starts. Of the processor it is the most that
#: all tests of a program may take of the clock, which the host watches.
_LIMITS = {
    resource.RLIMIT_AS: 512 * _MEGA,
    resource.RLIMIT_CPU: 120,
    resource.RLIMIT_FSIZE: 16 * _MEGA,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_NPROC: 8,
    # 0 does not keep a kernel from handing a core to a program of the machine; 1 does.
    resource.RLIMIT_CORE: 1,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 64,
    resource.RLIMIT_NICE: 0,
    resource.RLIMIT_RTPRIO: 0,
}


def serve_program(programs: list[str], read: int, write: int) -> None:
    """Be the program: load the first text that is Python, and do what the tests ask."""
    peer = RpcPeer(
        read, write, allowed_operations=frozenset(OPERATIONS), allowed_names=BUILTIN_NAMES
    )
    peer.send(["value", []])
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        exec(_load_program(programs), module.__dict__)  # noqa: S102  (it is what a box is for)
        names = {str(name): value for name, value in vars(module).items()}
        peer.exported.update(names)
        peer.send(["value", list(names)])
    except BaseException as error:  # noqa: BLE001
        peer.send(["raised", *error_name_and_message(error)])
        return
    while True:
        peer.handle_request(*peer.receive())


def run_tests(tests: list[dict[str, Any]], first: int, read: int, write: int) -> None:
    """Be the tests, from number ``first`` on: a line of JSON tells of each, and one goes before."""
    report = os.fdopen(os.dup(1), "w", encoding="ascii")
    _silence_stdio()
    peer = RpcPeer(read, write, allowed_operations=frozenset({"call"}), allowed_names=frozenset())
    failed, defined = "", set[str]()
    for word in ("begun", "loaded"):
        if not failed:
            try:
                defined = set(map(str, peer.wait_for_reply()))
            except Exception as error:  # noqa: BLE001  (whatever a program may have sent)
                failed = describe_error(error)
        print(json.dumps([word, ""]), file=report, flush=True)
    for each in tests[first:]:
        outcome = ("failed", failed[:MAX_REASON]) if failed else _run_test(peer, each, defined)
        if outcome[0] == "passed" and peer.is_lost:
            # A test that forgives every error does not forgive that nobody answers.
            outcome = ("failed", "the program has ended")
        print(json.dumps(outcome), file=report, flush=True)
        if peer.is_lost and not failed:
            # The host makes another pair of boxes for the tests that are left.
            return


def _run_test(peer: RpcPeer, test: dict[str, Any], program_names: set[str]) -> tuple[str, str]:
    try:
        codes = [compile(test[part], "test", "exec") for part in ("setup", "code")]
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return "broken", describe_error(error)
    space: dict[str, Any] = {"__name__": "test"}
    loaded, stored = _global_names(codes)
    if test["names"] is None:
        ours = set(dir(builtins)) | sys.stdlib_module_names
        wanted = loaded - stored - ours
        if not wanted:
            # What Python has is the program's only in a test that names nothing else of it, and then
            # the innermost of them alone: a program must not pass by an abs() of its own.
            wanted = _innermost(test["code"], (loaded - stored) & program_names)
        far = {name: RemoteProxy(peer, name) for name in wanted}
    else:
        far = {here: RemoteProxy(peer, there) for here, there in test["names"]}
    peer.start_test(frozenset(loaded - stored - set(far)))
    try:
        for name in (loaded & sys.stdlib_module_names) - stored - set(far):
            space[name] = __import__(name)
        space.update(far)
        exec(codes[0], space)  # noqa: S102
        # A prompt has the head of the very function that is tested.
        space.update(far)
        exec(codes[1], space)  # noqa: S102
    except BaseException as error:  # noqa: BLE001
        return "failed", describe_error(error)
    return "passed", ""


def _innermost(code: str, names: set[str]) -> set[str]:
    """Of these names the one that is called first, if any is; else all."""
    if len(names) < 2:  # noqa: PLR2004
        return names
    called = [
        call.func.id
        for call in ast.walk(ast.parse(code))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names
    ]
    # The walk goes from the outside in.
    return {called[-1]} if called else names


def _global_names(codes: list[types.CodeType]) -> tuple[set[str], set[str]]:
    """The names that code looks up outside its functions, and those that it binds there."""
    loaded, stored, left = set(), set(), list(codes)
    while left:
        code = left.pop()
        left += [part for part in code.co_consts if isinstance(part, types.CodeType)]
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
                loaded.add(str(step.argval))
            elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
                stored.add(str(step.argval))
    return loaded, stored


def run_script(programs: list[str], begun: int) -> None:
    """Be a program that reads what it is given and prints; the host is told when it begins."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.write(begun, b"\n")
    os.close(begun)
    exec(_load_program(programs), {"__name__": "__main__"})  # noqa: S102


def _load_program(programs: list[str]) -> types.CodeType:
    """The code of the first text that is Python, with what a box lacks for it."""
    if any("asyncio" in program for program in programs):
        _replace_socketpair()
    return _compile_program(programs)


def _replace_socketpair() -> None:
    """Wake the loop of asyncio, which takes a pair of sockets for it, by a pipe: there are none."""
    import socket  # noqa: PLC0415  (few programs want it)

    class End:
        def __init__(self, file: int) -> None:
            self._file = file

        def fileno(self) -> int:
            return self._file

        def setblocking(self, blocks: bool) -> None:
            os.set_blocking(self._file, blocks)

        def recv(self, most: int) -> bytes:
            return os.read(self._file, most)

        def send(self, data: bytes) -> int:
            return os.write(self._file, data)

        def close(self) -> None:
            os.close(self._file)

    socket.__dict__["socketpair"] = lambda: tuple(map(End, os.pipe()))


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
    for limit, wanted in _LIMITS.items():
        _, most = resource.getrlimit(limit)
        bound = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(limit, (bound, bound))
    with os.fdopen(job_fd, "rb") as file:
        told = json.loads(file.read())
    match told.pop("kind"):
        case "hold":
            serve_program(**told)
        case "test":
            run_tests(**told)
        case "script":
            run_script(**told)


if __name__ == "__main__":
    main(int(sys.argv[1]))
