"""What Python runs inside a box: its text is sent there, and it imports nothing of ours.

One box holds a program, another its tests. The tests call the program over a pipe on which only
plain values go: so a test compares values, and never an object that the program has made. A third
kind of box runs a program as a script, and the host reads what it prints.
"""

import builtins
import dis
import json
import operator
import os
import resource
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

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
#: Bytes of one message, and characters of a reason.
_LONGEST, _WHY = 8 * _MEGA, 200
#: The classes that Python itself names.
_TYPES = {kind.__name__: kind for kind in vars(builtins).values() if isinstance(kind, type)}
_NAMES = {id(kind): name for name, kind in _TYPES.items()}
#: Whole numbers that are exact in any reader of JSON.
_EXACT = 1 << 53


class Peer:
    """One end of the pipe between the boxes."""

    def __init__(self, read: int, write: int, *, serves: frozenset[str]) -> None:
        self._in = os.fdopen(read, "rb")
        self._out = os.fdopen(write, "wb")
        #: What the other end may have done here.
        self._serves = serves
        #: Whether the other end has ended, or says what cannot be followed.
        self.lost = False
        #: What the other end may name; it never has it.
        self.lent: dict[int | str, Any] = {}

    def ask(self, what: str, *values: object, **named: object) -> Any:  # noqa: ANN401
        """Have the other end do something; serve it meanwhile, since it may call back."""
        self.send([what, [self._packed(v) for v in values], self._packed(named)])
        while True:
            kind, *rest = self.receive()
            if kind == "value":
                return self._unpacked(rest[0])
            if kind == "raised":
                raise _error(str(rest[0]))(str(rest[1]))
            self.serve(kind, *rest)

    def serve(self, what: str, values: Any, named: Any) -> None:  # noqa: ANN401
        try:
            if what not in self._serves:
                raise TypeError(f"a program may not {what} what a test hands to it")  # noqa: TRY301
            given = [self._unpacked(value) for value in values]
            done = _DEEDS[what](*given, **self._unpacked(named))
            self.send(["value", self._packed(done)])
        except BaseException as error:  # noqa: BLE001  (whatever it throws, the other end is told)
            self.send(["raised", *_told(error)])

    def send(self, message: object) -> None:
        self._out.write(json.dumps(message).encode("ascii") + b"\n")
        self._out.flush()

    def receive(self) -> Any:  # noqa: ANN401
        line = self._in.readline(_LONGEST)
        self.lost = not line.endswith(b"\n")
        if self.lost:
            raise EOFError("the program's value is too long" if line else "the program has ended")
        return json.loads(line)

    def _packed(self, value: Any) -> Any:  # noqa: ANN401, C901, PLR0912
        """The value as JSON; what is no plain value stays here and is named."""
        if isinstance(value, Far):
            return {"yours": object.__getattribute__(value, "_name")}
        match value:
            case None | bool():
                return value
            case str():
                return str.__str__(value)
            case int():
                exact = int(value)
                return exact if -_EXACT < exact < _EXACT else {"int": hex(exact)}
            case float():
                return {"float": float.hex(value)}
            case complex():
                return {"complex": [value.real.hex(), value.imag.hex()]}
            case bytes() | bytearray():
                return {"bytes": bytes(value).hex()}
            case list():
                return [self._packed(v) for v in list.__iter__(value)]
            case tuple():
                return {"tuple": [self._packed(v) for v in tuple.__iter__(value)]}
            case set():
                return {"set": [self._packed(v) for v in set.__iter__(value)]}
            case frozenset():
                return {"frozenset": [self._packed(v) for v in frozenset.__iter__(value)]}
            case dict():
                return {"dict": [[self._packed(k), self._packed(v)] for k, v in dict.items(value)]}
            case type() if (name := _NAMES.get(id(value))) is not None:
                return {"type": name}
        self.lent[len(self.lent)] = value
        return {"mine": len(self.lent) - 1}

    def _unpacked(self, packed: Any) -> Any:  # noqa: ANN401, C901, PLR0912
        if isinstance(packed, list):
            return [self._unpacked(value) for value in packed]
        if not isinstance(packed, dict):
            return packed
        ((kind, held),) = packed.items()
        match kind:
            case "int":
                return int(held, 16)
            case "float":
                return float.fromhex(held)
            case "complex":
                return complex(*map(float.fromhex, held))
            case "bytes":
                return bytes.fromhex(held)
            case "tuple":
                return tuple(self._unpacked(held))
            case "set":
                return set(self._unpacked(held))
            case "frozenset":
                return frozenset(self._unpacked(held))
            case "dict":
                return {self._unpacked(key): self._unpacked(value) for key, value in held}
            case "type":
                return _TYPES[held]
            case "yours":
                if held not in self.lent:
                    raise NameError(f"name {held!r} is not defined")
                return self.lent[held]
        return Far(self, int(held))


class Far:
    """What stays in the other box: it can be used from here, and equals nothing here."""

    def __init__(self, peer: Peer, name: int | str) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_name", name)

    def __call__(self, *values: object, **named: object) -> Any:  # noqa: ANN401
        return _asked(self, "call", *values, **named)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return _asked(self, "get", name)

    def __setattr__(self, name: str, value: object) -> None:
        _asked(self, "set", name, value)

    def __getitem__(self, key: object) -> Any:  # noqa: ANN401
        return _asked(self, "item", key)

    def __len__(self) -> int:
        return int(_asked(self, "measure"))

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(_asked(self, "list"))


def _asked(far: Far, what: str, *values: object, **named: object) -> Any:  # noqa: ANN401
    peer: Peer = object.__getattribute__(far, "_peer")
    return peer.ask(what, far, *values, **named)


_DEEDS: dict[str, Callable[..., Any]] = {
    "call": lambda of, /, *values, **named: of(*values, **named),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "measure": len,
    "list": list,
}


def hold(programs: list[str], read: int, write: int) -> None:
    """Be the program: load the first text that is Python, and do what the tests ask."""
    peer = Peer(read, write, serves=frozenset(_DEEDS))
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        exec(_compiled(programs), module.__dict__)  # noqa: S102  (it is what a box is for)
        names = {str(name): value for name, value in vars(module).items()}
        peer.lent.update(names)
        peer.send(["value", list(names)])
    except BaseException as error:  # noqa: BLE001
        peer.send(["raised", *_told(error)])
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
        failed = _said(error)
    print(json.dumps(["loaded", ""]), file=report, flush=True)
    for each in tests[first:]:
        told = ("failed", failed[:_WHY]) if failed else _tried(peer, each, defined)
        print(json.dumps(told), file=report, flush=True)
        if peer.lost and not failed:
            # The host makes another pair of boxes for the tests that are left.
            return


def _tried(peer: Peer, each: dict[str, Any], defined: set[str]) -> tuple[str, str]:
    try:
        codes = [compile(each[part], "test", "exec") for part in ("setup", "code")]
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return "broken", _said(error)
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
        return "failed", _said(error)
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


def _error(name: str) -> type[Exception]:
    """The class of that name, if Python has it: a test may want just that error."""
    kind = _TYPES.get(name)
    return kind if kind is not None and issubclass(kind, Exception) else RuntimeError


def _said(error: BaseException) -> str:
    return ": ".join(part for part in _told(error) if part)[:_WHY]


def _told(error: BaseException) -> tuple[str, str]:
    name = str(type(error).__name__)
    try:
        return name, str(error)[:_WHY]
    except Exception:  # noqa: BLE001  (a program's own error may break when it is told)
        return name, ""


def _quiet() -> None:
    for number in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)


def main(job: int) -> None:
    with os.fdopen(job, "rb") as file:
        told = json.loads(file.read())
    for limit, most in _LIMITS.items():
        resource.setrlimit(limit, (most, most))
    kinds: dict[str, Callable[..., None]] = {"hold": hold, "test": test, "script": script}
    kinds[told.pop("kind")](**told)


if __name__ == "__main__":
    main(int(sys.argv[1]))
