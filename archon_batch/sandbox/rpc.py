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
_MAX_MESSAGE, MAX_REASON = 8 << 20, 200
#: What Python itself names, by which a test may hand it to a program.
_BUILTINS = {
    name: thing
    for name, thing in vars(builtins).items()
    if callable(thing) and not name.startswith("_")
}
BUILTIN_NAMES = frozenset(_BUILTINS)
_BUILTIN_NAMES_BY_ID = {id(thing): name for name, thing in _BUILTINS.items()}
#: What a program may hand to a test that names it: classes of plain values, and errors.
_PLAIN_TYPES = frozenset(
    {"bool", "int", "float", "complex", "str", "bytes", "bytearray", "list", "tuple", "set"}
    | {"frozenset", "dict", "range"}
)
_ERROR_TYPES = {
    name: thing
    for name, thing in _BUILTINS.items()
    if isinstance(thing, type) and issubclass(thing, Exception)
}
#: Whole numbers that are exact in any reader of JSON.
_MAX_EXACT_INT = 1 << 53
#: What Python reads of an object besides what is asked of it; the others are never asked for.
_READABLE_DUNDERS = frozenset({"__name__", "__doc__", "__annotations__"})


class RaisedError(Exception):
    """What a program has raised, where the test does not name its class."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


class RpcPeer:
    """One end of the pipe between the boxes.

    Args:
        read: the file that the other end writes to.
        write: the file that the other end reads.
        serves: what the other end may have done here.
        takes: of what Python names, all that it may hand over.
    """

    def __init__(
        self,
        read: int,
        write: int,
        *,
        allowed_operations: frozenset[str],
        allowed_names: frozenset[str],
    ) -> None:
        self._in = os.fdopen(read, "rb")
        self._out = os.fdopen(write, "wb")
        self._allowed_operations, self._allowed_names = allowed_operations, allowed_names
        self._count = 0
        #: Whether the other end has ended, or says what cannot be followed.
        self.is_lost = False
        #: What the other end may name; it never has it.
        self.exported: dict[int | str, Any] = {}

    def start_test(self, names: frozenset[str]) -> None:
        """Begin a test that looks up these names: what an earlier one has lent is out of reach."""
        self.exported.clear()
        self._allowed_names = names & (_PLAIN_TYPES | _ERROR_TYPES.keys())

    def request(self, operation: str, *values: object, **named: object) -> Any:  # noqa: ANN401
        """Have the other end do something with the first value, which is its own."""
        self.send([operation, [self._encode(v) for v in values], self._encode(named)])
        return self.wait_for_reply()

    def wait_for_reply(self) -> Any:  # noqa: ANN401
        """What the other end answers; it is served meanwhile, since it may call back.

        Raises:
            EOFError: it is lost.
            Exception: what it has raised, see ``_error``.
        """
        while True:
            match self.receive():
                case ["value", packed]:
                    try:
                        return self._decode(packed)
                    except Exception as error:  # noqa: BLE001  (whatever was sent)
                        raise RaisedError(
                            "its value cannot be read", describe_error(error)
                        ) from None
                case ["raised", str(name), str(why)]:
                    raise self._make_error(name, why)
                case [str(what), list(values), named]:
                    self.handle_request(what, values, named)
                case _:
                    raise self._protocol_error()

    def handle_request(self, operation: str, values: list[Any], named: Any) -> None:  # noqa: ANN401
        try:
            if operation not in self._allowed_operations:
                raise TypeError(f"a program may not {operation} what a test hands to it")  # noqa: TRY301
            (of, *given) = values
            if not (isinstance(of, dict) and of.keys() == {"yours"}):
                # Nothing that both ends have: it would be called for whoever asks.
                raise TypeError("it is not of this end")  # noqa: TRY301
            given = [self._decode(value) for value in (of, *given)]
            done = OPERATIONS[operation](*given, **self._decode(named))
            self.send(["value", self._encode(done)])
        except BaseException as error:  # noqa: BLE001  (whatever it throws, the other end is told)
            self.send(["raised", *error_name_and_message(error)])

    def send(self, message: object) -> None:
        self._out.write(json.dumps(message).encode("ascii") + b"\n")
        self._out.flush()

    def receive(self) -> Any:  # noqa: ANN401
        line = self._in.readline(_MAX_MESSAGE)
        self.is_lost = not line.endswith(b"\n")
        if self.is_lost:
            raise EOFError("the program's value is too long" if line else "the program has ended")
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise self._protocol_error() from None

    def _protocol_error(self) -> EOFError:
        self.is_lost = True
        return EOFError("what the program says cannot be read")

    def _make_error(self, name: str, why: str) -> Exception:
        """An error of that class where it, or one that it is a kind of, may come: a test wants it.

        Any other class could end a loop of the test (StopIteration), or be taken for its own.
        """
        kind = _ERROR_TYPES.get(name)
        if kind is not None and any(
            base.__name__ in self._allowed_names for base in kind.__mro__[:-3]
        ):
            try:
                return kind(why)
            except TypeError:
                pass  # some want more than a text
        return RaisedError(name, why)

    def _encode(self, value: Any) -> Any:  # noqa: ANN401, C901, PLR0912
        """The value as JSON; what is no plain value stays here and is named."""
        if isinstance(value, RemoteProxy):
            return {"yours": object.__getattribute__(value, "_name")}
        match value:
            case None | bool():
                return value
            case str():
                return str.__str__(value)
            case int():
                exact = int(value)
                return exact if -_MAX_EXACT_INT < exact < _MAX_EXACT_INT else {"int": hex(exact)}
            case float():
                return {"float": float.hex(value)}
            case complex():
                return {"complex": [value.real.hex(), value.imag.hex()]}
            case bytes() | bytearray():
                return {"bytes": bytes(value).hex()}
            case list():
                return [self._encode(v) for v in list.__iter__(value)]
            case tuple():
                return {"tuple": [self._encode(v) for v in tuple.__iter__(value)]}
            case set():
                return {"set": [self._encode(v) for v in set.__iter__(value)]}
            case frozenset():
                return {"frozenset": [self._encode(v) for v in frozenset.__iter__(value)]}
            case dict():
                return {"dict": [[self._encode(k), self._encode(v)] for k, v in dict.items(value)]}
        name = _BUILTIN_NAMES_BY_ID.get(id(value))
        # A program's own box has a function that a test must not have.
        if name is not None and (isinstance(value, type) or "get" not in self._allowed_operations):
            return {"python": name}
        self._count += 1
        self.exported[self._count] = value
        return {"mine": self._count}

    def _decode(self, encoded: Any) -> Any:  # noqa: ANN401, C901, PLR0912
        if isinstance(encoded, list):
            return [self._decode(value) for value in encoded]
        if not isinstance(encoded, dict):
            return encoded
        match encoded:
            case {"int": str(held)}:
                return int(held, 16)
            case {"float": str(held)}:
                return float.fromhex(held)
            case {"complex": [str(real), str(imaginary)]}:
                return complex(float.fromhex(real), float.fromhex(imaginary))
            case {"bytes": str(held)}:
                return bytes.fromhex(held)
            case {"tuple": list(held)}:
                return tuple(self._decode(held))
            case {"set": list(held)}:
                return set(self._decode(held))
            case {"frozenset": list(held)}:
                return frozenset(self._decode(held))
            case {"dict": list(held)}:
                return {self._decode(key): self._decode(value) for key, value in held}
            case {"python": str(name)}:
                if name not in self._allowed_names:
                    raise TypeError(f"{name} is not handed over: the test does not name it")
                return _BUILTINS[name]
            case {"yours": int() | str() as name}:
                if name not in self.exported:
                    raise NameError(f"name {name!r} is not defined")
                return self.exported[name]
            case {"mine": int(name)}:
                return RemoteProxy(self, name)
        raise ValueError("no value")


class RemoteProxy:
    """What stays in the other box: it can be used from here, and equals nothing here."""

    def __init__(self, peer: RpcPeer, name: int | str) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_name", name)

    def __call__(self, *values: object, **named: object) -> Any:  # noqa: ANN401
        return _request(self, "call", *values, **named)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("__") and name.endswith("__") and name not in _READABLE_DUNDERS:
            raise AttributeError(name)
        return _request(self, "get", name)

    def __setattr__(self, name: str, value: object) -> None:
        _request(self, "set", name, value)

    def __getitem__(self, key: object) -> Any:  # noqa: ANN401
        return _request(self, "item", key)

    def __len__(self) -> int:
        return int(_request(self, "measure"))

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(_request(self, "list"))


def _request(proxy: RemoteProxy, operation: str, *values: object, **named: object) -> Any:  # noqa: ANN401
    peer: RpcPeer = object.__getattribute__(proxy, "_peer")
    try:
        return peer.request(operation, proxy, *values, **named)
    except RaisedError as error:
        kind = {"AttributeError": AttributeError, "TypeError": TypeError}.get(error.name)
        if operation == "call" or kind is None:
            raise
        # Python looks whether an object has what it needs.
        raise kind(str(error)) from None


OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda of, /, *values, **named: of(*values, **named),
    "get": getattr,
    "set": setattr,
    "item": operator.getitem,
    "measure": len,
    "list": list,
}


def describe_error(error: BaseException) -> str:
    return ": ".join(part for part in error_name_and_message(error) if part)[:MAX_REASON]


def error_name_and_message(error: BaseException) -> tuple[str, str]:
    name = error.name if isinstance(error, RaisedError) else str(type(error).__name__)
    try:
        return name, str(error)[:MAX_REASON]
    except Exception:  # noqa: BLE001  (a program's own error may break when it is told)
        return name, ""
