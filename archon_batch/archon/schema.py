"""Validates the plain data of an architecture file, and builds the Architecture."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import Component
from archon_batch.archon.components import COMPONENT_TYPES
from archon_batch.archon.model import Model
from archon_batch.errors import ArchitectureError, combine_errors

M = TypeVar("M", bound=BaseModel)

_TOP_KEYS = ("name", "models", "defaults", "layers")

_SECRET_NAME = re.compile(r"(api_?key|token|secret|password|authorization)$", re.IGNORECASE)
#: A common misspelling of a key that counts tokens, which is no secret.
_TOKEN_COUNT_NAME = re.compile(
    r"(max|min|new|num|n|completion|output|prompt|input)_?token$", re.IGNORECASE
)
#: An API key; a URL with a user name and a password; a URL with a key among its parameters.
_SECRET_VALUE = re.compile(
    r"\bsk-[A-Za-z0-9_-]{12,}|^\w+://[^/?#]*@|^\w+://.*[?&](?:\w*key|\w*token|sig|code)=",
    re.IGNORECASE,
)
#: Characters of a value that an error message shows.
_MAX_SHOWN = 60


def read_architecture(
    data: object, component_types: Mapping[str, type[Component]] = COMPONENT_TYPES, name: str = ""
) -> Architecture:
    """The architecture in ``data``; ``name`` is its default name.

    Raises:
        ArchitectureError: the data is wrong; ``path`` says where, ``file`` is empty.
    """
    top = _require_mapping(data, "", "a mapping with layers")
    validate_no_secrets(top, "")
    errors = _ErrorCollector()
    models: dict[str, Model] = {}
    defaults: dict[str, Any] = {}
    layers: tuple[Layer, ...] = ()
    errors.add(_unknown_key_errors(top, _TOP_KEYS, ""))
    with errors.collecting():
        for alias, spec in _require_mapping(_get_or_empty(top, "models"), "models").items():
            with errors.collecting():
                models[_validate_alias(alias)] = validate_data(
                    Model, _current_keys(spec), f"models.{alias}"
                )
    with errors.collecting():
        defaults = _require_mapping(_get_or_empty(top, "defaults"), "defaults")
        known = sorted({f for k in component_types.values() for f in k.model_fields} - {"type"})
        errors.add(_unknown_key_errors(defaults, known, "defaults"))
    if "layers" in top:
        with errors.collecting():
            layers = _read_layers(top["layers"], defaults, component_types)
    elif not any(_closest_match(key, _TOP_KEYS) == "layers" for key in top):
        why = "missing; an architecture is a list of layers"
        errors.add([ArchitectureError("", "layers", why)])
    given_name = top.get("name", name)
    if not isinstance(given_name, str) or not given_name:
        errors.add(
            [ArchitectureError("", "name", f"expected text, found {_describe_value(given_name)}")]
        )
    errors.raise_if_any()
    windows = {n: m.context for n, m in models.items() if m.context is not None}
    return Architecture(given_name, models, layers, windows)


def _current_keys(model: object) -> object:
    """The data of a model with ``transport`` in place of its former name ``lane``."""
    if not isinstance(model, Mapping) or "lane" not in model or "transport" in model:
        return model
    return {"transport" if key == "lane" else key: value for key, value in model.items()}


def validate_data(data_type: type[M], data: object, path: str) -> M:
    """Validate the data as ``data_type``.

    Raises:
        ArchitectureError: the data is wrong; its ``path`` starts with the given one.
    """
    entry = _require_mapping(data, path)
    known = list(data_type.model_fields)
    found = list(_unknown_key_errors(entry, known, path))
    meant = {_closest_match(key, known) for key in entry if key not in known}
    try:
        model = data_type.model_validate({key: entry[key] for key in entry if key in known})
    except ValidationError as error:
        # A misspelled key is reported as unknown, so do not report it as missing too.
        found += [
            _from_pydantic(details, path)
            for details in error.errors(include_url=False)
            if not (details["type"] == "missing" and details["loc"][0] in meant)
        ]
    else:
        if not found:
            return model
    # A value of a union type has one error for each of its types: report the first.
    by_path = {error.path: error for error in reversed(found)}
    raise combine_errors(list(by_path.values())[::-1])


def _from_pydantic(found: ErrorDetails, path: str) -> ArchitectureError:
    at = path
    for part in found["loc"]:
        at += f"[{part}]" if isinstance(part, int) else f".{part}" if at else part
    if found["type"] == "missing":
        return ArchitectureError("", at, "missing")
    if not found["loc"]:
        # A combination of keys is wrong, so there is no single value to show.
        return ArchitectureError("", at, _expectation_message(found["msg"]))
    return ArchitectureError("", at, _mismatch_message(found["msg"], found["input"]))


def _flatten_errors(error: ArchitectureError) -> list[ArchitectureError]:
    errors = (error, *error.other_errors)
    return [each for each in errors if isinstance(each, ArchitectureError)]


class _ErrorCollector:
    """Collects all errors of a file, to raise them together."""

    def __init__(self) -> None:
        self._found: list[ArchitectureError] = []
        self._more = 0

    def add(self, errors: Iterable[ArchitectureError]) -> None:
        self._found += errors

    @contextmanager
    def collecting(self) -> Iterator[None]:
        try:
            yield
        except ArchitectureError as error:
            self._found += _flatten_errors(error)
            self._more += error.omitted_count

    def raise_if_any(self) -> None:
        if self._found:
            raise combine_errors(self._found, self._more)


def validate_no_secrets(value: object, path: str) -> None:
    """Check that the data contains no API keys: they belong in the environment.

    Raises:
        ArchitectureError: a value looks like a secret, or has the name of one. The message does not
            quote it.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            at = f"{path}.{key}" if path else str(key)
            if isinstance(key, str) and _is_secret(key, inner):
                raise ArchitectureError(
                    "", at, "keys do not belong in files; set the provider's variable, "
                    "such as OPENAI_API_KEY, in the environment or in .env"
                )  # fmt: skip
            validate_no_secrets(inner, at)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            validate_no_secrets(inner, f"{path}[{index}]")
    elif isinstance(value, str) and _SECRET_VALUE.search(value):
        raise ArchitectureError("", path, "this looks like a key; keys do not belong in files")


def _is_secret(key: str, value: object) -> bool:
    counts = _TOKEN_COUNT_NAME.search(key) or (
        key.lower().endswith("token") and isinstance(value, int)
    )
    return value is not None and _SECRET_NAME.search(key) is not None and not counts


def suggestion(word: object, known: Iterable[str]) -> str:
    """A hint for an error message: the closest known word, or all of them."""
    words = list(known)
    meant = _closest_match(word, words)
    return f"did you mean {meant!r}?" if meant else f"known are {', '.join(words)}"


def _closest_match(word: object, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(str(word), known, n=1)), None)


def _read_layers(
    data: object, defaults: Mapping[str, Any], component_types: Mapping[str, type[Component]]
) -> tuple[Layer, ...]:
    if not isinstance(data, list):
        raise ArchitectureError(
            "", "layers", f"expected a list of layers, found {_describe_value(data)}"
        )
    errors = _ErrorCollector()
    layers: list[Layer] = []
    for layer_index, layer in enumerate(data):
        path = f"layers[{layer_index}]"
        # A single component may be written without a list.
        entries = [layer] if isinstance(layer, dict) else layer
        components: list[Component] = []
        with errors.collecting():
            if not isinstance(entries, list):
                raise ArchitectureError(
                    "", path, f"expected components, found {_describe_value(layer)}"
                )
            for index, entry in enumerate(entries):
                with errors.collecting():
                    components.append(
                        _read_component(entry, defaults, component_types, f"{path}[{index}]")
                    )
        layers.append(tuple(components))
    errors.raise_if_any()
    return tuple(layers)


def _read_component(
    data: object,
    defaults: Mapping[str, Any],
    component_types: Mapping[str, type[Component]],
    path: str,
) -> Component:
    entry = _require_mapping(data, path)
    if "type" not in entry:
        raise ArchitectureError(
            "", f"{path}.type", f"missing; known are {', '.join(component_types)}"
        )
    component_type = component_types.get(entry["type"]) if isinstance(entry["type"], str) else None
    if component_type is None:
        hint = suggestion(entry["type"], component_types)
        raise ArchitectureError("", f"{path}.type", f"no component {entry['type']!r:.60}; {hint}")
    applicable = {k: v for k, v in defaults.items() if k in component_type.model_fields}
    try:
        component = validate_data(component_type, {**applicable, **entry}, path)
    except ArchitectureError as error:

        def located(error: ArchitectureError) -> ArchitectureError:
            key = error.path.removeprefix(f"{path}.")
            is_default = key in applicable and key not in entry
            return ArchitectureError("", f"defaults.{key}" if is_default else error.path, error.why)

        errors = [located(each) for each in _flatten_errors(error)]
        raise combine_errors(errors, error.omitted_count) from None
    model = getattr(component, "model", None)
    if "model" in entry and model != entry["model"]:
        why = f"with the other keys the model is {model}; leave this out"
        raise ArchitectureError("", f"{path}.model", why)
    return component


def _validate_alias(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ArchitectureError("", "models", f"an alias is text, found {_describe_value(name)}")
    return name


def _require_mapping(data: object, path: str, wanted: str = "a mapping") -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ArchitectureError("", path, f"expected {wanted}, found {_describe_value(data)}")
    return data


def _get_or_empty(top: Mapping[str, Any], key: str) -> object:
    """The value of the key; an empty mapping if it is missing or empty."""
    return {} if top.get(key) is None else top[key]


def _unknown_key_errors(
    data: Mapping[str, object], known: Sequence[str], path: str
) -> Iterator[ArchitectureError]:
    for key in data:
        if key not in known:
            at = f"{path}.{_printable_key(key)}" if path else _printable_key(key)
            yield ArchitectureError("", at, f"unknown key; {suggestion(key, known)}")


def _printable_key(key: str) -> str:
    """The key with control characters escaped, since error messages go to the terminal."""
    short = str(key)[:_MAX_SHOWN]
    return short if short.isprintable() else ascii(short)


def _mismatch_message(message: str, found: object) -> str:
    """The message of pydantic for a wrong value, in our wording."""
    wanted = _expectation_message(message)
    quote = "; put it in quotes" if "string" in wanted and found is not None else ""
    return f"{wanted}, found {_describe_value(found)}{quote}"


def _expectation_message(message: str) -> str:
    for beginning in ("Input should be ", "Value error, "):
        if message.startswith(beginning):
            return f"expected {message.removeprefix(beginning)}"
    return f"expected something else: {message[0].lower()}{message[1:]}"


def _describe_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes (true)" if value else "no (false)"
    if isinstance(value, str | int | float):
        return repr(value)[:_MAX_SHOWN]
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return f"a {type(value).__name__}"
