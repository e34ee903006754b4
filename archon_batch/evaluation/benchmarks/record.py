"""A record of a published file, with strict typed access to its fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from archon_batch.errors import DatasetError

#: Keys that an error message lists.
_MAX_KEYS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    file: str
    #: The line, row or list position, from 1.
    line: int
    fields: Mapping[str, Any]

    def reject(self, reason: str) -> NoReturn:
        """Raise an error with the location of the record.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(self.file, self.line, reason)

    def get_required(self, *keys: str) -> Any:  # noqa: ANN401
        """The value of the first key that the record has; editions use different keys.

        Raises:
            DatasetError: the record has none of the keys.
        """
        for key in keys:
            if self.fields.get(key) is not None:
                return self.fields[key]
        found = ", ".join(list(self.fields)[:_MAX_KEYS_SHOWN])
        return self.reject(f"{' or '.join(keys)}: missing; keys found: {found}")

    def get_optional(self, *keys: str) -> Any:  # noqa: ANN401
        """The value of the first key that the record has, or None."""
        return next((self.fields[key] for key in keys if self.fields.get(key) is not None), None)

    def get_text(self, *keys: str) -> str:
        """A non-empty text.

        Raises:
            DatasetError: the value is none.
        """
        value = self.get_required(*keys)
        if not isinstance(value, str) or not value.strip():
            self.reject(f"{keys[0]}: expected text, found {value!r:.60}")
        return value

    def get_id(self, *keys: str) -> str:
        """An id as text; a whole number is converted.

        Raises:
            DatasetError: the value is neither text nor a whole number.
        """
        value = self.get_required(*keys)
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            self.reject(f"{keys[0]}: expected text or a whole number, found {value!r:.60}")
        return str(value).strip()

    def get_list(self, *keys: str) -> Sequence[Any]:
        """A non-empty list.

        Raises:
            DatasetError: the value is none.
        """
        value = self.get_required(*keys)
        if not isinstance(value, list) or not value:
            self.reject(f"{keys[0]}: expected a list, found {value!r:.60}")
        return value

    def get_text_list(self, *keys: str) -> Sequence[str]:
        """A non-empty list of texts.

        Raises:
            DatasetError: the value is none.
        """
        value = self.get_list(*keys)
        if not all(isinstance(text, str) for text in value):
            self.reject(f"{keys[0]}: expected a list of texts, found {value!r:.60}")
        return value
