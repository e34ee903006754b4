"""Columns that many tables have."""

from typing import Any, cast

from sqlalchemy import BigInteger, DateTime, Integer, Text
from sqlmodel import Field


def text_column(*, null: bool = False) -> Any:  # noqa: ANN401  (SQLModel's Field is Any to a type checker)
    return Field(default=None, sa_type=Text, nullable=null)


def money_column(*, null: bool = False) -> Any:  # noqa: ANN401
    """Nano-dollars."""
    return Field(default=None if null else 0, sa_type=BigInteger, nullable=null)


def token_count_column() -> Any:  # noqa: ANN401
    """Tokens as a provider reports them, who may report anything; null where it does not."""
    # SQLite's have one width, and a column of it is only renamed by writing the whole table anew.
    wide = BigInteger().with_variant(Integer(), "sqlite")
    return Field(default=None, sa_type=cast("Any", wide), nullable=True)


def timestamp_column(*, null: bool = False) -> Any:  # noqa: ANN401
    """A moment in UTC. SQLite forgets the zone, and the store's door puts it on again."""
    return Field(default=None, sa_type=cast("Any", DateTime(timezone=True)), nullable=null)
