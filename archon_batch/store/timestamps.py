"""Now, and moments as they come out of the database."""

from datetime import UTC, datetime
from typing import overload


def now() -> datetime:
    return datetime.now(UTC)


@overload
def utc(moment: datetime) -> datetime: ...
@overload
def utc(moment: None) -> None: ...
def utc(moment: datetime | None) -> datetime | None:
    """The moment with its zone: SQLite gives it back without."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def read(moment: datetime | str) -> datetime:
    """The moment as a driver gives it, who has text for it in SQLite."""
    return utc(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
