"""One record of a benchmark's published file, read strictly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from archon_batch.errors import DatasetError

#: Keys that an error lists.
_MAX_KEYS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    file: str
    #: From 1: the line, the row, or the place in a list.
    line: int
    fields: Mapping[str, Any]

    def reject(self, reason: str) -> NoReturn:
        """Say what is wrong with it, and where it stands.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(self.file, self.line, reason)

    def get_required(self, *keys: str) -> Any:  # noqa: ANN401
        """What stands under the first of the keys that the record has; editions rename them.

        Raises:
            DatasetError: it has none of them.
        """
        for key in keys:
            if self.fields.get(key) is not None:
                return self.fields[key]
        found = ", ".join(list(self.fields)[:_MAX_KEYS_SHOWN])
        return self.reject(f"{' or '.join(keys)}: missing; keys found: {found}")

    def get_optional(self, *keys: str) -> Any:  # noqa: ANN401
        """The same, and None where there is none."""
        return next((self.fields[key] for key in keys if self.fields.get(key) is not None), None)

    def get_text(self, *keys: str) -> str:
        """A text that is not empty.

        Raises:
            DatasetError: it is none.
        """
        found = self.get_required(*keys)
        if not isinstance(found, str) or not found.strip():
            self.reject(f"{keys[0]}: expected text, found {found!r:.60}")
        return found

    def get_id(self, *keys: str) -> str:
        """An id, which may be a number.

        Raises:
            DatasetError: it is neither a text nor a whole number.
        """
        found = self.get_required(*keys)
        if isinstance(found, bool) or not isinstance(found, str | int) or not str(found).strip():
            self.reject(f"{keys[0]}: expected text or a whole number, found {found!r:.60}")
        return str(found).strip()

    def get_list(self, *keys: str) -> Sequence[Any]:
        """A list that is not empty.

        Raises:
            DatasetError: it is none.
        """
        found = self.get_required(*keys)
        if not isinstance(found, list) or not found:
            self.reject(f"{keys[0]}: expected a list, found {found!r:.60}")
        return found

    def get_text_list(self, *keys: str) -> Sequence[str]:
        """A list of texts.

        Raises:
            DatasetError: it is none.
        """
        found = self.get_list(*keys)
        if not all(isinstance(text, str) for text in found):
            self.reject(f"{keys[0]}: expected a list of texts, found {found!r:.60}")
        return found
