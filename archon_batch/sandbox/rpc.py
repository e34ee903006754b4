"""The one end of the pipe between two boxes, on which only plain values go.

Its text is sent into the boxes, so it imports nothing of ours. What a program's box sends may be
anything, whatever this file would have sent in its place: what is read of it must be harmless.
"""

import builtins
import json
import operator
import os
from collections.abc import Callable, Iterator
from typing import Any

#: Bytes of one message, and characters of a reason.
_LONGEST, WHY = 8 << 20, 200
#: What Python itself names, by which a test may hand it to a program.
_BUILT_IN = {
    name: thing
    for name, thing in vars(builtins).items()
    if callable(thing) and not name.startswith("_")
}
BUILT_IN = frozenset(_BUILT_IN)
_NAMES = {id(thing): name for name, thing in _BUILT_IN.items()}
#: What a program may hand to a test that names it: classes of plain values, and errors.
_PLAIN = frozenset(
    {"bool", "int", "float", "complex", "str", "bytes", "bytearray", "list", "tuple", "set"}
    | {"frozenset", "dict", "range"}
)
_ERRORS = {
    name: thing
    for name, thing in _BUILT_IN.items()
    if isinstance(thing, type) and issubclass(thing, Exception)
}
#: Whole numbers that are exact in any reader of JSON.
_EXACT = 1 << 53
#: What Python reads of an object besides what is asked of it; the others are never asked for.
_TOLD = frozenset({"__name__", "__doc__", "__annotations__"})


class RaisedError(Exception):
    """What a program has raised, where the test does not name its class."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


class Peer:
    """One end of the pipe between the boxes.

    Args:
        read: the file that the other end writes to.
        write: the file that the other end reads.
        serves: what the other end may have done here.
        takes: of what Python names, all that it may hand over.
    """

    def __init__(
        self, read: int, write: int, *, serves: frozenset[str], takes: frozenset[str]
    ) -> None:
        self._in = os.fdopen(read, "rb")
        self._out = os.fdopen(write, "wb")
        self._serves, self._takes = serves, takes
        self._count = 0
        #: Whether the other end has ended, or says what cannot be followed.
        self.lost = False
        #: What the other end may name; it never has it.
        self.lent: dict[int | str, Any] = {}

    def begin(self, names: frozenset[str]) -> None:
        """Begin a test that looks up these names: what an earlier one has lent is out of reach."""
        self.lent.clear()
        self._takes = names & (_PLAIN | _ERRORS.keys())

    def ask(self, what: str, *values: object, **named: object) -> Any:  # noqa: ANN401
        """Have the other end do something with the first value, which is its own."""
        self.send([what, [self._packed(v) for v in values], self._packed(named)])
        return self.answer()

    def answer(self) -> Any:  # noqa: ANN401
        """What the other end answers; it is served meanwhile, since it may call back.

        Raises:
            EOFError: it is lost.
            Exception: what it has raised, see ``_error``.
        """
        while True:
            match self.receive():
                case ["value", packed]:
                    try:
                        return self._unpacked(packed)
                    except Exception as error:  # noqa: BLE001  (whatever was sent)
                        raise RaisedError("its value cannot be read", said(error)) from None
                case ["raised", str(name), str(why)]:
                    raise self._error(name, why)
                case [str(what), list(values), named]:
                    self.serve(what, values, named)
                case _:
                    raise self._unreadable()

    def serve(self, what: str, values: list[Any], named: Any) -> None:  # noqa: ANN401
        try:
            if what not in self._serves:
                raise TypeError(f"a program may not {what} what a test hands to it")  # noqa: TRY301
            (of, *given) = values
            if not (isinstance(of, dict) and of.keys() == {"yours"}):
                # Nothing that both ends have: it would be called for whoever asks.
                raise TypeError("it is not of this end")  # noqa: TRY301
            given = [self._unpacked(value) for value in (of, *given)]
            done = DEEDS[what](*given, **self._unpacked(named))
            self.send(["value", self._packed(done)])
        except BaseException as error:  # noqa: BLE001  (whatever it throws, the other end is told)
            self.send(["raised", *told(error)])

    def send(self, message: object) -> None:
        self._out.write(json.dumps(message).encode("ascii") + b"\n")
        self._out.flush()

    def receive(self) -> Any:  # noqa: ANN401
        line = self._in.readline(_LONGEST)
        self.lost = not line.endswith(b"\n")
        if self.lost:
            raise EOFError("the program's value is too long" if line else "the program has ended")
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise self._unreadable() from None

    def _unreadable(self) -> EOFError:
        self.lost = True
        return EOFError("what the program says cannot be read")

    def _error(self, name: str, why: str) -> Exception:
        """An error of that class where it, or one that it is a kind of, may come: a test wants it.

        Any other class could end a loop of the test (StopIteration), or be taken for its own.
        """
        kind = _ERRORS.get(name)
        if kind is not None and any(base.__name__ in self._takes for base in kind.__mro__[:-3]):
            try:
                return kind(why)
            except TypeError:
                pass  # some want more than a text
        return RaisedError(name, why)

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
        name = _NAMES.get(id(value))
        # A program's own box has a function that a test must not have.
        if name is not None and (isinstance(value, type) or "get" not in self._serves):
            return {"python": name}
        self._count += 1
        self.lent[self._count] = value
        return {"mine": self._count}

    def _unpacked(self, packed: Any) -> Any:  # noqa: ANN401, C901, PLR0912
        if isinstance(packed, list):
            return [self._unpacked(value) for value in packed]
        if not isinstance(packed, dict):
            return packed
        match packed:
            case {"int": str(held)}:
                return int(held, 16)
            case {"float": str(held)}:
                return float.fromhex(held)
            case {"complex": [str(real), str(imaginary)]}:
                return complex(float.fromhex(real), float.fromhex(imaginary))
            case {"bytes": str(held)}:
                return bytes.fromhex(held)
            case {"tuple": list(held)}:
                return tuple(self._unpacked(held))
            case {"set": list(held)}:
                return set(self._unpacked(held))
            case {"frozenset": list(held)}:
                return frozenset(self._unpacked(held))
            case {"dict": list(held)}:
                return {self._unpacked(key): self._unpacked(value) for key, value in held}
            case {"python": str(name)}:
                if name not in self._takes:
                    raise TypeError(f"{name} is not handed over: the test does not name it")
                return _BUILT_IN[name]
            case {"yours": int() | str() as name}:
                if name not in self.lent:
                    raise NameError(f"name {name!r} is not defined")
                return self.lent[name]
            case {"mine": int(name)}:
                return Far(self, name)
        raise ValueError("no value")


class Far:
    """What stays in the other box: it can be used from here, and equals nothing here."""

    def __init__(self, peer: Peer, name: int | str) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_name", name)

    def __call__(self, *values: object, **named: object) -> Any:  # noqa: ANN401
        return _asked(self, "call", *values, **named)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("__") and name.endswith("__") and name not in _TOLD:
            raise AttributeError(name)
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
    try:
        return peer.ask(what, far, *values, **named)
    except RaisedError as error:
        kind = {"AttributeError": AttributeError, "TypeError": TypeError}.get(error.name)
        if what == "call" or kind is None:
            raise
        # Python looks whether an object has what it needs.
        raise kind(str(error)) from None


DEEDS: dict[str, Callable[..., Any]] = {
    "call": lambda of, /, *values, **named: of(*values, **named),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "measure": len,
    "list": list,
}


def said(error: BaseException) -> str:
    return ": ".join(part for part in told(error) if part)[:WHY]


def told(error: BaseException) -> tuple[str, str]:
    name = error.name if isinstance(error, RaisedError) else str(type(error).__name__)
    try:
        return name, str(error)[:WHY]
    except Exception:  # noqa: BLE001  (a program's own error may break when it is told)
        return name, ""
