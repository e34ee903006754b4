"""A prompt template with placeholders for the keys of a row."""

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

    Unlike in ``str.format``, a key is looked up literally, without attributes or format specs.
    """

    #: Pieces of text, each with the key whose value follows; the last piece has no key.
    parts: tuple[tuple[str, str | None], ...]

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key for _, key in self.parts if key is not None)

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Parse a template.

        Raises:
            SettingsError: it has a single brace, or no key.
        """
        parts: list[tuple[str, str | None]] = []
        before, at = "", 0
        for piece in _TOKEN.finditer(text):
            before += text[at : piece.start()]
            at = piece.end()
            token, key = piece[0], piece[1]
            if key is not None:
                parts.append((before, key))
                before = ""
            elif len(token) == 2:  # noqa: PLR2004  (a doubled brace)
                before += token[0]
            else:
                raise SettingsError(
                    "template",
                    f"a lone {token} at character {piece.start() + 1}; "
                    f"write {token * 2} for a brace, {{key}} for a value",
                )
        if not parts:
            why = "no {key} in it, so that all rows would have the same prompt"
            raise SettingsError("template", why)
        return cls((*parts, (before + text[at:], None)))

    def fill(self, fields: Mapping[str, object]) -> str:
        """The text with the row's values; a value that is no text is written as JSON.

        Raises:
            DatasetError: the row lacks a key; file and line are empty.
        """
        pieces: list[str] = []
        for before, key in self.parts:
            pieces.append(before)
            if key is not None:
                if key not in fields:
                    raise DatasetError(
                        "", 0, f"template: the row has no {key!r}; {suggestion(key, fields)}"
                    )
                value = fields[key]
                pieces.append(value if isinstance(value, str) else _as_json(value))
        return "".join(pieces)


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
