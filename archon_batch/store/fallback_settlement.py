"""The last resort: an end that the database refuses is put on record without its details.

An attempt that stays open is paid for again. So its end gives up one thing after another that may
be what is refused, and never its money.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import structlog

from archon_batch.archon import Reply, Usage
from archon_batch.errors import StoreAwayError
from archon_batch.store.attempts import Finish, lock
from archon_batch.store.database import Database
from archon_batch.store.patience import patiently
from archon_batch.store.settlement import settle

_log = structlog.get_logger()

_NO_TEXT = "the database refused the answer, which is paid for; see end_stored_in_part in the log"


def put(database: Database, finish: Finish, error: Exception) -> bool:
    """Put on record what can be of an end that was refused; return whether its text is there too.

    Raises:
        StoreAwayError: the database is away.
        Exception: the ``error``, when the end is refused without any detail too.
    """
    for without, less in _lessened(finish):
        try:
            patiently(partial(_settled, database, less))
        except StoreAwayError:
            raise
        except Exception:  # noqa: BLE001, S112  (the next has less that may be refused)
            continue
        _log.error(
            "end_stored_in_part",
            attempt=told(finish), without=without, why=f"{type(error).__name__}: {error}",
        )  # fmt: skip
        return without != "text"
    raise error


def told(finish: Finish) -> str:
    """The attempt, as the provider was told of it."""
    return "/".join(map(str, (*finish.start.call.row, finish.n)))


def _lessened(finish: Finish) -> Iterator[tuple[str, Finish]]:
    """The end with less and less of it, by what it is without."""
    less = replace(finish, usage=Usage(), why=None)
    yield "usage", less
    if finish.reply is None:
        return
    bare = Reply(finish.reply.text, finish.reply.failure)
    yield "finish", replace(less, reply=bare)
    plain = Reply(_plain(bare.text), _plain(bare.failure))
    yield "letters", replace(less, reply=plain)
    yield "text", replace(less, reply=Reply(None, failure=_NO_TEXT))


def _plain(text: str | None) -> str | None:
    return None if text is None else text.encode("ascii", "backslashreplace").decode()


def _settled(database: Database, finish: Finish) -> None:
    with database.writing() as connection:
        lock(connection, [finish.start.call.job])
        settle(connection, [finish])
