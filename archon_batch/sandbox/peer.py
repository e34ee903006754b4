"""The one end of the pipe between two boxes, on which only plain values go.

Its text is sent into the boxes, so it imports nothing of ours.
"""

import builtins
import json
import operator
import os
from collections.abc import Callable, Iterator
from typing import Any

#: Bytes of one message, and characters of a reason.
_LONGEST, WHY = 8 << 20, 200
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


DEEDS: dict[str, Callable[..., Any]] = {
    "call": lambda of, /, *values, **named: of(*values, **named),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "measure": len,
    "list": list,
}


def _error(name: str) -> type[Exception]:
    """The class of that name, if Python has it: a test may want just that error."""
    kind = _TYPES.get(name)
    return kind if kind is not None and issubclass(kind, Exception) else RuntimeError


def said(error: BaseException) -> str:
    return ": ".join(part for part in told(error) if part)[:WHY]


def told(error: BaseException) -> tuple[str, str]:
    name = str(type(error).__name__)
    try:
        return name, str(error)[:WHY]
    except Exception:  # noqa: BLE001  (a program's own error may break when it is told)
        return name, ""
