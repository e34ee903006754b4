"""An hour in cron's five fields, as Celery's schedule takes it."""

import re
from dataclasses import dataclass

_FIELD_PART = re.compile(r"(\w+)|(?:\*|(\w+)-(\w+))(?:/([1-9][0-9]?))?", re.ASCII)
#: The days that a month may have, from January.
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class _CronField:
    label: str
    low: int
    high: int
    #: Words for its numbers, from ``low``.
    names: tuple[str, ...] = ()

    def read(self, text: str) -> set[int]:
        return set().union(*(self._part(part) for part in text.split(",")))

    def _part(self, text: str) -> list[int]:
        found = _FIELD_PART.fullmatch(text)
        if found is None:
            raise self._wrong
        one, first, last, step = found.groups()
        if one is not None:
            return [self._number(one)]
        span = list(range(self.low, self.high + 1))
        if first is not None:
            begin, end = (self._number(bound) - self.low for bound in (first, last))
            # A span may go over the end: 22-4 is seven hours of a night.
            span = span[begin : end + 1] if begin <= end else span[begin:] + span[: end + 1]
        return span[:: int(step or 1)]

    def _number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.low + self.names.index(text.lower())
        if not text.isdecimal() or not self.low <= int(text) <= self.high:
            raise self._wrong
        return int(text)

    @property
    def _wrong(self) -> ValueError:
        return ValueError(f"{self.label} from {self.low} to {self.high} in its place")


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_FIELDS = (
    _CronField("minutes", 0, 59),
    _CronField("hours", 0, 23),
    _CronField("days of the month", 1, 31),
    _CronField("months", 1, 12, _MONTHS),
    _CronField("days of the week", 0, 6, _WEEKDAYS),
)


def validate_cron(text: str) -> str:
    """The text, if it is five fields that some moment fits.

    Raises:
        ValueError: it is not; the message says what would be.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError('five fields of cron in UTC, such as "0 2 * * *"')
    _, _, days, months, _ = (field.read(part) for field, part in zip(_FIELDS, fields, strict=True))
    if not any(day <= _DAYS_IN_MONTH[month - 1] for month in months for day in days):
        raise ValueError("a day that one of its months has")
    return text
