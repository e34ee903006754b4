"""Values on their way into and out of the database: times, texts, counts and costs."""

from datetime import UTC, datetime
from typing import overload

#: Above these, a token count or a cost (nano-dollars; ten million dollars) is not credible. Hundreds
#: of them still fit the 63 bits of a total.
_MAX_TOKENS, _MAX_COST = 1 << 40, 10**16


def now() -> datetime:
    return datetime.now(UTC)


@overload
def as_utc(time: datetime) -> datetime: ...
@overload
def as_utc(time: None) -> None: ...
def as_utc(time: datetime | None) -> datetime | None:
    """Restore the time zone, which SQLite drops."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def parse_timestamp(time: datetime | str) -> datetime:
    """Parse a time as the driver returns it: SQLite's driver returns text."""
    return as_utc(datetime.fromisoformat(time) if isinstance(time, str) else time)


@overload
def storable(text: str) -> str: ...
@overload
def storable(text: None) -> None: ...
def storable(text: str | None) -> str | None:
    """Replace what databases reject: NUL (Postgres) and lone surrogates (both)."""
    if text is None:
        return None
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def valid_token_count(count: object) -> int | None:
    """The count if it is credible, else None: a provider may report anything."""
    return count if type(count) is int and 0 <= count <= _MAX_TOKENS else None


def is_valid_cost(cost: object) -> bool:
    """Whether an attempt can have cost so many nano-dollars."""
    return type(cost) is int and 0 <= cost <= _MAX_COST
