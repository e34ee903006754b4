"""From the plain data of an architecture file to an Architecture, or to all that is wrong."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import Component
from archon_batch.archon.components import KINDS
from archon_batch.archon.model import Model
from archon_batch.errors import ArchitectureError, together

M = TypeVar("M", bound=BaseModel)

_TOP = ("name", "models", "defaults", "layers")

_SECRET = re.compile(r"(api_?key|token|secret|password|authorization)$", re.IGNORECASE)
#: A key that counts tokens, as it is often misspelt.
_COUNT = re.compile(r"(max|min|new|num|n|completion|output|prompt|input)_?token$", re.IGNORECASE)
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
    wrong = _Wrong()
    models: dict[str, Model] = {}
    defaults: dict[str, Any] = {}
    layers: tuple[Layer, ...] = ()
    wrong.add(_unknown(top, _TOP, ""))
    with wrong.kept():
        for alias, spec in _mapping(_or_none(top, "models"), "models").items():
            with wrong.kept():
                models[_alias(alias)] = checked(Model, spec, f"models.{alias}")
    with wrong.kept():
        defaults = _mapping(_or_none(top, "defaults"), "defaults")
        known = sorted({f for k in kinds.values() for f in k.model_fields} - {"type"})
        wrong.add(_unknown(defaults, known, "defaults"))
    if "layers" in top:
        with wrong.kept():
            layers = _layers(top["layers"], defaults, kinds)
    elif not any(_meant(key, _TOP) == "layers" for key in top):
        why = "missing; an architecture is a list of layers"
        wrong.add([ArchitectureError("", "layers", why)])
    called = top.get("name", name)
    if not isinstance(called, str) or not called:
        wrong.add([ArchitectureError("", "name", f"expected text, found {_said(called)}")])
    wrong.refuse()
    windows = {n: m.context for n, m in models.items() if m.context is not None}
    return Architecture(called, models, layers, windows)


def checked(kind: type[M], data: object, place: str) -> M:
    """The model of that kind that ``data`` describes, or what is wrong with it.

    Raises:
        ArchitectureError: ``place`` says where, beginning with the one that is given.
    """
    entry = _mapping(data, place)
    known = list(kind.model_fields)
    found = list(_unknown(entry, known, place))
    meant = {_meant(key, known) for key in entry if key not in known}
    try:
        model = kind.model_validate({key: entry[key] for key in entry if key in known})
    except ValidationError as error:
        # A key that is misspelt is not missing besides.
        found += [
            _of_pydantic(one, place)
            for one in error.errors(include_url=False)
            if not (one["type"] == "missing" and one["loc"][0] in meant)
        ]
    else:
        if not found:
            return model
    # A value that may be of several kinds is wrong once.
    raise together(list({one.place: one for one in reversed(found)}.values())[::-1])


def _of_pydantic(found: ErrorDetails, place: str) -> ArchitectureError:
    at = place
    for part in found["loc"]:
        at += f"[{part}]" if isinstance(part, int) else f".{part}" if at else part
    if found["type"] == "missing":
        return ArchitectureError("", at, "missing")
    if not found["loc"]:
        # Keys that do not go together: there is no one value to show.
        return ArchitectureError("", at, _wanted(found["msg"]))
    return ArchitectureError("", at, _expected(found["msg"], found["input"]))


def _all(error: ArchitectureError) -> list[ArchitectureError]:
    return [one for one in (error, *error.others) if isinstance(one, ArchitectureError)]


class _Wrong:
    """What is wrong with a file, all of which is looked for before any of it is told."""

    def __init__(self) -> None:
        self._found: list[ArchitectureError] = []
        self._more = 0

    def add(self, errors: Iterable[ArchitectureError]) -> None:
        self._found += errors

    @contextmanager
    def kept(self) -> Iterator[None]:
        try:
            yield
        except ArchitectureError as error:
            self._found += _all(error)
            self._more += error.more

    def refuse(self) -> None:
        if self._found:
            raise together(self._found, self._more)


def refuse_secrets(value: object, place: str) -> None:
    """Keys live in the environment: a file that holds one is refused, and its value not repeated.

    Raises:
        ArchitectureError: a key of the data is the name of a secret.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            at = f"{place}.{key}" if place else str(key)
            if isinstance(key, str) and _is_secret(key, inner):
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


def _is_secret(key: str, value: object) -> bool:
    counts = _COUNT.search(key) or (key.lower().endswith("token") and isinstance(value, int))
    return value is not None and _SECRET.search(key) is not None and not counts


def nearest(word: object, known: Iterable[str]) -> str:
    """A hint at the known word that is closest, or at all of them."""
    words = list(known)
    meant = _meant(word, words)
    return f"did you mean {meant!r}?" if meant else f"known are {', '.join(words)}"


def _meant(word: object, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(str(word), known, n=1)), None)


def _layers(
    data: object, defaults: Mapping[str, Any], kinds: Mapping[str, type[Component]]
) -> tuple[Layer, ...]:
    if not isinstance(data, list):
        raise ArchitectureError("", "layers", f"expected a list of layers, found {_said(data)}")
    wrong = _Wrong()
    layers: list[Layer] = []
    for depth, layer in enumerate(data):
        place = f"layers[{depth}]"
        # One component may stand for the layer it is alone in.
        entries = [layer] if isinstance(layer, dict) else layer
        components: list[Component] = []
        with wrong.kept():
            if not isinstance(entries, list):
                raise ArchitectureError("", place, f"expected components, found {_said(layer)}")
            for index, entry in enumerate(entries):
                with wrong.kept():
                    components.append(_component(entry, defaults, kinds, f"{place}[{index}]"))
        layers.append(tuple(components))
    wrong.refuse()
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

        def placed(one: ArchitectureError) -> ArchitectureError:
            key = one.place.removeprefix(f"{place}.")
            of_default = key in fitting and key not in entry
            return ArchitectureError("", f"defaults.{key}" if of_default else one.place, one.why)

        raise together([placed(one) for one in _all(error)], error.more) from None
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


def _unknown(
    data: Mapping[str, object], known: Sequence[str], place: str
) -> Iterator[ArchitectureError]:
    for key in data:
        if key not in known:
            at = f"{place}.{_shown(key)}" if place else _shown(key)
            yield ArchitectureError("", at, f"unknown key; {nearest(key, known)}")


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
