"""Fallback settlement: settles a rejected result without the details that may be the reason.

An attempt that stays open would be paid for again. Detail after detail is dropped, but never the
money.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import structlog

from archon_batch.archon import Reply, Usage
from archon_batch.errors import StoreUnavailableError
from archon_batch.store.attempts import AttemptResult, lock_jobs
from archon_batch.store.database import Database, retry_while_unavailable
from archon_batch.store.settlement import settle

_log = structlog.get_logger()

_NO_TEXT = (
    "the database rejected the answer, which is paid for; see result_stored_in_part in the log"
)


def settle_reduced(database: Database, result: AttemptResult, error: Exception) -> bool:
    """Settle as much as possible of a rejected result; return whether its text is stored.

    Raises:
        StoreUnavailableError: the database is unavailable.
        Exception: ``error``, if the result is rejected even without any detail.
    """
    for dropped, reduced in _reductions(result):
        try:
            retry_while_unavailable(partial(_settle, database, reduced))
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001, S112  (the next reduction drops more)
            continue
        _log.error(
            "result_stored_in_part",
            attempt=attempt_label(result), without=dropped, why=f"{type(error).__name__}: {error}",
        )  # fmt: skip
        return dropped != "text"
    raise error


def attempt_label(result: AttemptResult) -> str:
    """The id under which the attempt was sent to the provider."""
    return "/".join(map(str, (*result.request.call.as_tuple, result.attempt_number)))


def _reductions(result: AttemptResult) -> Iterator[tuple[str, AttemptResult]]:
    """The result with fewer and fewer details, each with the name of what was dropped last."""
    reduced = replace(result, usage=Usage(), detail=None)
    yield "usage", reduced
    if result.reply is None:
        return
    bare = Reply(result.reply.text, result.reply.failure)
    yield "finish_reason", replace(reduced, reply=bare)
    ascii_only = Reply(_ascii_escaped(bare.text), _ascii_escaped(bare.failure))
    yield "characters", replace(reduced, reply=ascii_only)
    yield "text", replace(reduced, reply=Reply(None, failure=_NO_TEXT))


def _ascii_escaped(text: str | None) -> str | None:
    return None if text is None else text.encode("ascii", "backslashreplace").decode()


def _settle(database: Database, result: AttemptResult) -> None:
    with database.write_transaction() as connection:
        lock_jobs(connection, [result.request.call.job_id])
        settle(connection, [result])
