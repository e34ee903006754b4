"""RPC over pipes between two sandbox processes; only plain values are copied.

The source of this file is sent into the sandbox, so it imports nothing of this package. A program's
process is untrusted and may send any message, not only those of this file: to decode a message must
be harmless.
"""

import builtins
import json
import operator
import os
from collections.abc import Callable, Iterator
from typing import Any

#: Bytes of one message, and characters of a failure reason.
_MAX_MESSAGE, MAX_REASON = 8 << 20, 200
#: Python's builtins, which a test may pass to a program by name.
_BUILTINS = {
    name: thing
    for name, thing in vars(builtins).items()
    if callable(thing) and not name.startswith("_")
}
BUILTIN_NAMES = frozenset(_BUILTINS)
_BUILTIN_NAMES_BY_ID = {id(thing): name for name, thing in _BUILTINS.items()}
#: What a program may pass to a test that uses the name: plain types, and exceptions.
_PLAIN_TYPES = frozenset(
    {"bool", "int", "float", "complex", "str", "bytes", "bytearray", "list", "tuple", "set"}
    | {"frozenset", "dict", "range"}
)
_ERROR_TYPES = {
    name: thing
    for name, thing in _BUILTINS.items()
    if isinstance(thing, type) and issubclass(thing, Exception)
}
#: Bound of the integers that every JSON parser keeps exact.
_MAX_EXACT_INT = 1 << 53
#: Special attributes that may be read from a remote object.
_READABLE_DUNDERS = frozenset({"__name__", "__doc__", "__annotations__"})


class RaisedError(Exception):
    """An exception of the program whose class the test does not name."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


class RpcPeer:
    """One of the two ends of the connection.

    Args:
        read: the descriptor that the other end writes to.
        write: the descriptor that the other end reads.
        allowed_operations: what the other end may request.
        allowed_names: the builtins that the other end may pass.
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
        #: Whether the other end has exited, or broke the protocol.
        self.is_lost = False
        #: Objects that the other end may refer to by name or number.
        self.exported: dict[int | str, Any] = {}

    def start_test(self, names: frozenset[str]) -> None:
        """Start a test that uses these global names; objects of earlier tests become unreachable."""
        self.exported.clear()
        self._allowed_names = names & (_PLAIN_TYPES | _ERROR_TYPES.keys())

    def request(self, operation: str, *values: object, **named: object) -> Any:  # noqa: ANN401
        """Request an operation on the first value, which belongs to the other end."""
        self.send([operation, [self._encode(v) for v in values], self._encode(named)])
        return self.wait_for_reply()

    def wait_for_reply(self) -> Any:  # noqa: ANN401
        """The result of a request; requests that the other end makes meanwhile are served.

        Raises:
            EOFError: the connection is lost.
            Exception: the operation failed, see ``_make_error``.
        """
        while True:
            match self.receive():
                case ["value", encoded]:
                    try:
                        return self._decode(encoded)
                    except Exception as error:  # noqa: BLE001  (the other end may send anything)
                        raise RaisedError(
                            "its value cannot be decoded", describe_error(error)
                        ) from None
                case ["raised", str(name), str(why)]:
                    raise self._make_error(name, why)
                case [str(operation), list(values), named]:
                    self.handle_request(operation, values, named)
                case _:
                    raise self._protocol_error()

    def handle_request(self, operation: str, values: list[Any], named: Any) -> None:  # noqa: ANN401
        try:
            if operation not in self._allowed_operations:
                raise TypeError(f"a program may not {operation} an object of a test")  # noqa: TRY301
            (target, *arguments) = values
            if not (isinstance(target, dict) and target.keys() == {"yours"}):
                # Reject builtins, which both ends have: one could be called on behalf of the other end.
                raise TypeError("the object is not of this end")  # noqa: TRY301
            decoded = [self._decode(value) for value in (target, *arguments)]
            result = OPERATIONS[operation](*decoded, **self._decode(named))
            self.send(["value", self._encode(result)])
        except BaseException as error:  # noqa: BLE001  (every error is sent to the other end)
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
        return EOFError("the program broke the protocol")

    def _make_error(self, name: str, why: str) -> Exception:
        """An exception of the named class, if the test names that class or one of its bases.

        Any other class could end a loop of the test (StopIteration), or look like its own failure.
        """
        error_type = _ERROR_TYPES.get(name)
        if error_type is not None and any(
            base.__name__ in self._allowed_names for base in error_type.__mro__[:-3]
        ):
            try:
                return error_type(why)
            except TypeError:
                pass  # some need more arguments
        return RaisedError(name, why)

    def _encode(self, value: Any) -> Any:  # noqa: ANN401, C901, PLR0912
        """The value as JSON; an object that is no plain value is exported under a number."""
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
        # A program may have replaced a function; a test uses its own.
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
            case {"int": str(content)}:
                return int(content, 16)
            case {"float": str(content)}:
                return float.fromhex(content)
            case {"complex": [str(real), str(imaginary)]}:
                return complex(float.fromhex(real), float.fromhex(imaginary))
            case {"bytes": str(content)}:
                return bytes.fromhex(content)
            case {"tuple": list(content)}:
                return tuple(self._decode(content))
            case {"set": list(content)}:
                return set(self._decode(content))
            case {"frozenset": list(content)}:
                return frozenset(self._decode(content))
            case {"dict": list(content)}:
                return {self._decode(key): self._decode(value) for key, value in content}
            case {"python": str(name)}:
                if name not in self._allowed_names:
                    raise TypeError(f"{name} is not allowed: the test does not name it")
                return _BUILTINS[name]
            case {"yours": int() | str() as name}:
                if name not in self.exported:
                    raise NameError(f"name {name!r} is not defined")
                return self.exported[name]
            case {"mine": int(name)}:
                return RemoteProxy(self, name)
        raise ValueError("no encoded value")


class RemoteProxy:
    """A proxy for an object in the other process; it equals nothing but itself."""

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
        error_type = {"AttributeError": AttributeError, "TypeError": TypeError}.get(error.name)
        if operation == "call" or error_type is None:
            raise
        # Python's protocols catch these two to test what an object supports.
        raise error_type(str(error)) from None


OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda target, /, *values, **named: target(*values, **named),
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
    except Exception:  # noqa: BLE001  (the error's own __str__ may fail)
        return name, ""
