"""Writes an architecture as short YAML that reads back as the same architecture."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal

from archon_batch.archon import Architecture, Component, ModelComponent

#: Text that needs no quotes, not even in a flow mapping.
_UNQUOTED = re.compile(r"[A-Za-z_][\w./@+-]*(?::[\w./@+-]+)*", re.ASCII)
#: Words that YAML reads as another type.
_RESERVED_WORDS = frozenset({"yes", "no", "true", "false", "on", "off", "null"})
#: Larger integers may be read as text.
_MAX_PLAIN_INTEGER = 10**15
#: YAML requires an explicit "?" before longer keys.
_MAX_KEY_CHARS = 1000


def architecture_yaml(architecture: Architecture, source: str = "") -> str:
    """The text of an architecture file; its first line names ``source``."""
    lines = [f"# From {source if source.isprintable() else ascii(source)}."] if source else []
    lines.append(f"name: {_scalar(architecture.name)}")
    if architecture.models:
        lines.append("models:")
        for alias, model in architecture.models.items():
            lines.append(f"  {_key(alias)}: {_inline(model.model_dump(exclude_defaults=True))}")
    defaults = _common_values([component for _, _, component in architecture])
    if defaults:
        lines.append(f"defaults: {_inline(defaults)}")
    lines.append("layers:")
    for layer in architecture.layers:
        written = [_inline(_component_keys(component, defaults)) for component in layer]
        if len(written) == 1:
            # A layer with one component is written without its list.
            lines.append(f"  - {written[0]}")
        else:
            lines.append(f"  - - {written[0]}")
            lines += [f"    - {more}" for more in written[1:]]
    return "\n".join(lines) + "\n"


def _component_keys(component: Component, defaults: Mapping[str, object]) -> dict[str, object]:
    """The keys of a component that must be written."""
    data = component.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in data.items() if key not in defaults}


def _common_values(components: list[Component]) -> dict[str, object]:
    """Values that are equal in all components with that key, if at least two have it."""
    shared: dict[str, object] = {}
    for key in (key for key in ModelComponent.model_fields if key != "type"):
        having = [c for c in components if key in type(c).model_fields]
        values = [c.model_dump(mode="json", include={key})[key] for c in having]
        own = any(key in _component_keys(c, {}) for c in having)
        if own and len(having) > 1 and all(value == values[0] for value in values):
            shared[key] = values[0]
    return shared


def _inline(value: object) -> str:
    """The value in YAML's flow style, on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_key(k)}: {_inline(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < _MAX_PLAIN_INTEGER:
            return str(int(value))
        case int() | float():
            return repr(value)
        case Decimal():
            written = f"{value:f}"
            # A float would lose digits, so a long number is written as text; prices accept text.
            return written if Decimal(repr(float(value))) == value else json.dumps(written)
    return _scalar(str(value))


def _key(name: str) -> str:
    text = _scalar(name)
    return text if len(text) < _MAX_KEY_CHARS else f"? {text}\n  "


def _scalar(text: str) -> str:
    if _UNQUOTED.fullmatch(text) and text.lower() not in _RESERVED_WORDS:
        return text
    # YAML accepts JSON's quotes and escapes, but no unescaped control characters.
    return json.dumps(text, ensure_ascii=not text.isprintable())
