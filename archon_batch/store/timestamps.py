"""Now, and moments as they come out of the database."""

from datetime import UTC, datetime
from typing import overload


def now() -> datetime:
    return datetime.now(UTC)


@overload
def as_utc(moment: datetime) -> datetime: ...
@overload
def as_utc(moment: None) -> None: ...
def as_utc(moment: datetime | None) -> datetime | None:
    """The moment with its zone: SQLite gives it back without."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def parse_timestamp(moment: datetime | str) -> datetime:
    """The moment as a driver gives it, who has text for it in SQLite."""
    return as_utc(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
