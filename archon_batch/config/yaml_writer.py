"""An architecture as the YAML that a person would write: short, and read back as the same."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal

from archon_batch.archon import Architecture, Component, ModelComponent

#: Text that stands without quotes, between braces too.
_PLAIN = re.compile(r"[A-Za-z_][\w./@+-]*(?::[\w./@+-]+)*", re.ASCII)
#: Words that would be read as something else.
_WORDS = frozenset({"yes", "no", "true", "false", "on", "off", "null"})
#: Whole numbers below this are read as such; longer ones could be text.
_WHOLE = 10**15
#: Characters beyond which YAML has a key announced.
_LONG = 1000


def yaml_text(architecture: Architecture, source: str = "") -> str:
    """The text of an architecture file; ``source`` is what its first line says it comes from."""
    lines = [f"# From {source if source.isprintable() else ascii(source)}."] if source else []
    lines.append(f"name: {_text(architecture.name)}")
    if architecture.models:
        lines.append("models:")
        for alias, model in architecture.models.items():
            lines.append(f"  {_key(alias)}: {_flow(model.model_dump(exclude_defaults=True))}")
    defaults = _shared([component for _, _, component in architecture])
    if defaults:
        lines.append(f"defaults: {_flow(defaults)}")
    lines.append("layers:")
    for layer in architecture.layers:
        written = [_flow(_own(component, defaults)) for component in layer]
        if len(written) == 1:
            # One component may stand for the layer it is alone in.
            lines.append(f"  - {written[0]}")
        else:
            lines.append(f"  - - {written[0]}")
            lines += [f"    - {more}" for more in written[1:]]
    return "\n".join(lines) + "\n"


def _own(component: Component, defaults: Mapping[str, object]) -> dict[str, object]:
    """What has to be written of a component."""
    data = component.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in data.items() if key not in defaults}


def _shared(components: list[Component]) -> dict[str, object]:
    """The values that all components have which can have them, where there are several."""
    shared: dict[str, object] = {}
    for key in (key for key in ModelComponent.model_fields if key != "type"):
        having = [c for c in components if key in type(c).model_fields]
        values = [c.model_dump(mode="json", include={key})[key] for c in having]
        own = any(key in _own(c, {}) for c in having)
        if own and len(having) > 1 and all(value == values[0] for value in values):
            shared[key] = values[0]
    return shared


def _flow(value: object) -> str:
    """The value in one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_key(k)}: {_flow(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < _WHOLE:
            return str(int(value))
        case int() | float():
            return repr(value)
        case Decimal():
            written = f"{value:f}"
            # Digits that a float would lose are kept as text, from which prices are read too.
            return written if Decimal(repr(float(value))) == value else json.dumps(written)
    return _text(str(value))


def _key(name: str) -> str:
    text = _text(name)
    return text if len(text) < _LONG else f"? {text}\n  "


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # JSON's quotes and escapes are YAML's too; but YAML takes no control character as it is.
    return json.dumps(text, ensure_ascii=not text.isprintable())
