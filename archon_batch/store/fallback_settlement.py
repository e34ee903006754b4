"""The last resort: an end that the database refuses is put on record without its details.

An attempt that stays open is paid for again. So its end gives up one thing after another that may
be what is refused, and never its money.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import structlog

from archon_batch.archon import Reply, Usage
from archon_batch.errors import StoreUnavailableError
from archon_batch.store.attempts import AttemptResult, lock_jobs
from archon_batch.store.database import Database
from archon_batch.store.patience import retry_while_unavailable
from archon_batch.store.settlement import settle

_log = structlog.get_logger()

_NO_TEXT = (
    "the database refused the answer, which is paid for; see result_stored_in_part in the log"
)


def settle_reduced(database: Database, result: AttemptResult, error: Exception) -> bool:
    """Put on record what can be of an end that was refused; return whether its text is there too.

    Raises:
        StoreAwayError: the database is away.
        Exception: the ``error``, when the end is refused without any detail too.
    """
    for without, less in _reductions(result):
        try:
            retry_while_unavailable(partial(_settle, database, less))
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001, S112  (the next has less that may be refused)
            continue
        _log.error(
            "result_stored_in_part",
            attempt=attempt_label(result), without=without, why=f"{type(error).__name__}: {error}",
        )  # fmt: skip
        return without != "text"
    raise error


def attempt_label(result: AttemptResult) -> str:
    """The attempt, as the provider was told of it."""
    return "/".join(map(str, (*result.request.call.as_tuple, result.attempt_number)))


def _reductions(finish: AttemptResult) -> Iterator[tuple[str, AttemptResult]]:
    """The end with less and less of it, by what it is without."""
    less = replace(finish, usage=Usage(), detail=None)
    yield "usage", less
    if finish.reply is None:
        return
    bare = Reply(finish.reply.text, finish.reply.failure)
    yield "finish", replace(less, reply=bare)
    plain = Reply(_ascii_escaped(bare.text), _ascii_escaped(bare.failure))
    yield "letters", replace(less, reply=plain)
    yield "text", replace(less, reply=Reply(None, failure=_NO_TEXT))


def _ascii_escaped(text: str | None) -> str | None:
    return None if text is None else text.encode("ascii", "backslashreplace").decode()


def _settle(database: Database, finish: AttemptResult) -> None:
    with database.write_transaction() as connection:
        lock_jobs(connection, [finish.request.call.job_id])
        settle(connection, [finish])
