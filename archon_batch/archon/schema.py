"""From the plain data of an architecture file to an Architecture, or to the first thing wrong."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import Component
from archon_batch.archon.components import KINDS
from archon_batch.archon.model import Model
from archon_batch.errors import ArchitectureError

M = TypeVar("M", bound=BaseModel)

_TOP = ("name", "models", "defaults", "layers")

_SECRET = re.compile(r"(api_?key|token|secret|password|authorization)$", re.IGNORECASE)
#: A key; an address with a name and a password; an address with a key among its parameters.
_KEYS = re.compile(
    r"\bsk-[A-Za-z0-9_-]{12,}|^\w+://[^/?#]*@|^\w+://.*[?&](?:\w*key|\w*token|sig|code)=",
    re.IGNORECASE,
)
#: Characters that an error shows of what it found.
_SHOWN = 60


def read_architecture(
    data: object, kinds: Mapping[str, type[Component]] = KINDS, name: str = ""
) -> Architecture:
    """The architecture that ``data`` describes; ``name`` stands in for one it does not give.

    Raises:
        ArchitectureError: something in it is wrong; ``place`` says where, ``file`` is empty.
    """
    top = _mapping(data, "", "a mapping with layers")
    refuse_secrets(top, "")
    _known(top, _TOP, "")
    if "layers" not in top:
        raise ArchitectureError("", "layers", "missing; an architecture is a list of layers")
    models = {
        _alias(alias): checked(Model, spec, f"models.{alias}")
        for alias, spec in _mapping(_or_none(top, "models"), "models").items()
    }
    defaults = _mapping(_or_none(top, "defaults"), "defaults")
    _known(
        defaults, sorted({f for k in kinds.values() for f in k.model_fields} - {"type"}), "defaults"
    )
    layers = _layers(top["layers"], defaults, kinds)
    called = top.get("name", name)
    if not isinstance(called, str) or not called:
        raise ArchitectureError("", "name", f"expected text, found {_said(called)}")
    windows = {n: m.context for n, m in models.items() if m.context is not None}
    return Architecture(called, models, layers, windows)


def checked(kind: type[M], data: object, place: str) -> M:
    """The model of that kind that ``data`` describes, or the first thing wrong with it.

    Raises:
        ArchitectureError: ``place`` says where, beginning with the one that is given.
    """
    entry = _mapping(data, place)
    _known(entry, list(kind.model_fields), place)
    try:
        return kind.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = place
        for part in first["loc"]:
            at += f"[{part}]" if isinstance(part, int) else f".{part}" if at else part
        if first["type"] == "missing":
            raise ArchitectureError("", at, "missing") from None
        if not first["loc"]:
            # Keys that do not go together: there is no one value to show.
            raise ArchitectureError("", at, _wanted(first["msg"])) from None
        raise ArchitectureError("", at, _expected(first["msg"], first["input"])) from None


def refuse_secrets(value: object, place: str) -> None:
    """Keys live in the environment: a file that holds one is refused, and its value not repeated.

    Raises:
        ArchitectureError: a key of the data is the name of a secret.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            at = f"{place}.{key}" if place else str(key)
            if isinstance(key, str) and _SECRET.search(key) and inner is not None:
                raise ArchitectureError(
                    "", at, "keys do not belong in files; set the provider's variable, "
                    "such as OPENAI_API_KEY, in the environment or in .env"
                )  # fmt: skip
            refuse_secrets(inner, at)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            refuse_secrets(inner, f"{place}[{index}]")
    elif isinstance(value, str) and _KEYS.search(value):
        raise ArchitectureError("", place, "this looks like a key; keys do not belong in files")


def nearest(word: object, known: Iterable[str]) -> str:
    """A hint at the known word that is closest, or at all of them."""
    words = list(known)
    close = difflib.get_close_matches(str(word), words, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(words)}"


def _layers(
    data: object, defaults: Mapping[str, Any], kinds: Mapping[str, type[Component]]
) -> tuple[Layer, ...]:
    if not isinstance(data, list):
        raise ArchitectureError("", "layers", f"expected a list of layers, found {_said(data)}")
    layers = []
    for depth, layer in enumerate(data):
        place = f"layers[{depth}]"
        # One component may stand for the layer it is alone in.
        entries = [layer] if isinstance(layer, dict) else layer
        if not isinstance(entries, list):
            raise ArchitectureError("", place, f"expected components, found {_said(layer)}")
        layers.append(
            tuple(
                _component(entry, defaults, kinds, f"{place}[{index}]")
                for index, entry in enumerate(entries)
            )
        )
    return tuple(layers)


def _component(
    data: object, defaults: Mapping[str, Any], kinds: Mapping[str, type[Component]], place: str
) -> Component:
    entry = _mapping(data, place)
    if "type" not in entry:
        raise ArchitectureError("", f"{place}.type", f"missing; known are {', '.join(kinds)}")
    kind = kinds.get(entry["type"]) if isinstance(entry["type"], str) else None
    if kind is None:
        hint = nearest(entry["type"], kinds)
        raise ArchitectureError("", f"{place}.type", f"no component {entry['type']!r:.60}; {hint}")
    fitting = {k: v for k, v in defaults.items() if k in kind.model_fields}
    try:
        component = checked(kind, {**fitting, **entry}, place)
    except ArchitectureError as error:
        key = error.place.removeprefix(f"{place}.")
        if key in fitting and key not in entry:
            raise ArchitectureError("", f"defaults.{key}", error.why) from None
        raise
    asked = getattr(component, "model", None)
    if "model" in entry and asked != entry["model"]:
        why = f"as it is written it asks {asked}; leave this out"
        raise ArchitectureError("", f"{place}.model", why)
    return component


def _alias(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ArchitectureError("", "models", f"an alias is text, found {_said(name)}")
    return name


def _mapping(data: object, place: str, wanted: str = "a mapping") -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ArchitectureError("", place, f"expected {wanted}, found {_said(data)}")
    return data


def _or_none(top: Mapping[str, Any], key: str) -> object:
    """What stands there; nothing written behind the key is none of it."""
    return {} if top.get(key) is None else top[key]


def _known(data: Mapping[str, object], known: Iterable[str], place: str) -> None:
    for key in data:
        if key not in known:
            at = f"{place}.{_shown(key)}" if place else _shown(key)
            raise ArchitectureError("", at, f"unknown key; {nearest(key, known)}")


def _shown(key: str) -> str:
    """A key as an error may print it: control characters could write on the terminal."""
    short = str(key)[:_SHOWN]
    return short if short.isprintable() else ascii(short)


def _expected(message: str, found: object) -> str:
    """What pydantic says of a value, in our words."""
    wanted = _wanted(message)
    quote = "; put it in quotes" if "string" in wanted and found is not None else ""
    return f"{wanted}, found {_said(found)}{quote}"


def _wanted(message: str) -> str:
    for beginning in ("Input should be ", "Value error, "):
        if message.startswith(beginning):
            return f"expected {message.removeprefix(beginning)}"
    return f"expected something else: {message[0].lower()}{message[1:]}"


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes (true)" if value else "no (false)"
    if isinstance(value, str | int | float):
        return repr(value)[:_SHOWN]
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return f"a {type(value).__name__}"
