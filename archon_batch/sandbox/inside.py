"""What Python runs inside a box: its text is sent there with that of peer.py, and nothing else.

One box holds a program, another its tests, which call the program over a pipe: so a test compares
values, and never an object that the program has made. A third kind of box runs a program as a
script, and the host reads what it prints.
"""

import builtins
import dis
import json
import os
import resource
import sys
import types
from typing import Any

from archon_batch.sandbox.peer import DEEDS, WHY, Far, Peer, said, told

_MEGA = 1 << 20
#: What one process may have. Seconds of the processor say the same on a busy machine; those of the
#: clock, which a program that sleeps would use up, are the host's to watch.
_LIMITS = {
    resource.RLIMIT_AS: 512 * _MEGA,
    resource.RLIMIT_CPU: 20,
    resource.RLIMIT_FSIZE: 16 * _MEGA,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_NPROC: 8,
    resource.RLIMIT_CORE: 0,
}


def hold(programs: list[str], read: int, write: int) -> None:
    """Be the program: load the first text that is Python, and do what the tests ask."""
    peer = Peer(read, write, serves=frozenset(DEEDS))
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        exec(_compiled(programs), module.__dict__)  # noqa: S102  (it is what a box is for)
        names = {str(name): value for name, value in vars(module).items()}
        peer.lent.update(names)
        peer.send(["value", list(names)])
    except BaseException as error:  # noqa: BLE001
        peer.send(["raised", *told(error)])
        return
    while True:
        peer.serve(*peer.receive())


def test(tests: list[dict[str, Any]], first: int, read: int, write: int) -> None:
    """Be the tests, from number ``first`` on: a line of JSON tells of each, and one goes before."""
    report = os.fdopen(os.dup(1), "w", encoding="ascii")
    _quiet()
    peer = Peer(read, write, serves=frozenset({"call"}))
    failed, defined = "", set()
    try:
        kind, *rest = peer.receive()
        if kind == "value":
            defined = set(map(str, rest[0]))
        else:
            failed = f"{rest[0]}: {rest[1]}"
    except Exception as error:  # noqa: BLE001  (whatever a program may have sent)
        failed = said(error)
    print(json.dumps(["loaded", ""]), file=report, flush=True)
    for each in tests[first:]:
        outcome = ("failed", failed[:WHY]) if failed else _tried(peer, each, defined)
        print(json.dumps(outcome), file=report, flush=True)
        if peer.lost and not failed:
            # The host makes another pair of boxes for the tests that are left.
            return


def _tried(peer: Peer, each: dict[str, Any], defined: set[str]) -> tuple[str, str]:
    try:
        codes = [compile(each[part], "test", "exec") for part in ("setup", "code")]
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return "broken", said(error)
    space: dict[str, Any] = {"__name__": "test"}
    loaded, stored = _names(codes)
    if each["names"] is None:
        ours = set(dir(builtins)) | sys.stdlib_module_names
        # What Python has is the program's only in a test that names nothing else of it: a program
        # must not pass by an abs() of its own.
        wanted = (loaded - stored - ours) or (loaded - stored) & defined
        far = {name: Far(peer, name) for name in wanted}
    else:
        far = {here: Far(peer, there) for here, there in each["names"]}
    try:
        for name in (loaded & sys.stdlib_module_names) - stored - set(far):
            space[name] = __import__(name)
        space.update(far)
        exec(codes[0], space)  # noqa: S102
        # A prompt has the head of the very function that is tested.
        space.update(far)
        exec(codes[1], space)  # noqa: S102
    except BaseException as error:  # noqa: BLE001
        return "failed", said(error)
    return "passed", ""


def _names(codes: list[types.CodeType]) -> tuple[set[str], set[str]]:
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


def script(programs: list[str]) -> None:
    """Be a program that reads what it is given and prints."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    exec(_compiled(programs), {"__name__": "__main__"})  # noqa: S102


def _compiled(programs: list[str]) -> types.CodeType:
    for program in programs[:-1]:
        try:
            return compile(program, "program", "exec")
        except (SyntaxError, ValueError):
            pass
    return compile(programs[-1], "program", "exec")


def _quiet() -> None:
    for number in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)


def main(job: int) -> None:
    with os.fdopen(job, "rb") as file:
        wanted = json.loads(file.read())
    for limit, most in _LIMITS.items():
        resource.setrlimit(limit, (most, most))
    match wanted.pop("kind"):
        case "hold":
            hold(**wanted)
        case "test":
            test(**wanted)
        case "script":
            script(**wanted)


if __name__ == "__main__":
    main(int(sys.argv[1]))
