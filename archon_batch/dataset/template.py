"""A template: the text of a prompt with places for the keys of a row."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from archon_batch.archon import suggestion
from archon_batch.errors import DatasetError, SettingsError

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Template:
    """``{key}`` stands for the row's value, ``{{`` and ``}}`` for braces.

    This is not ``str.format``: a key is looked up as it is written, and nothing inside it is run.
    """

    #: Text and, after it, the key whose value follows; the last has none.
    parts: tuple[tuple[str, str | None], ...]

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key for _, key in self.parts if key is not None)

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read a template.

        Raises:
            SettingsError: a brace stands alone, or there is no key.
        """
        parts: list[tuple[str, str | None]] = []
        before, at = "", 0
        for piece in _TOKEN.finditer(text):
            before += text[at : piece.start()]
            at = piece.end()
            found, key = piece[0], piece[1]
            if key is not None:
                parts.append((before, key))
                before = ""
            elif len(found) == 2:  # noqa: PLR2004  (a doubled brace)
                before += found[0]
            else:
                raise SettingsError(
                    "template",
                    f"a lone {found} at character {piece.start() + 1}; "
                    f"write {found * 2} for a brace, {{key}} for a value",
                )
        if not parts:
            why = "no {key} in it, so that all rows would ask the same"
            raise SettingsError("template", why)
        return cls((*parts, (before + text[at:], None)))

    def fill(self, fields: Mapping[str, object]) -> str:
        """The text with the row's values; what is not text is put in as JSON.

        Raises:
            DatasetError: the row has no such key; file and line are left open.
        """
        made: list[str] = []
        for before, key in self.parts:
            made.append(before)
            if key is not None:
                if key not in fields:
                    raise DatasetError(
                        "", 0, f"template: the row has no {key!r}; {suggestion(key, fields)}"
                    )
                value = fields[key]
                made.append(value if isinstance(value, str) else _as_json(value))
        return "".join(made)


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
