"""Replays spooled results into the database; a rejected result does not delay the others."""

from collections.abc import Iterator, Sequence
from itertools import chain

import sqlalchemy as sa
import structlog

from archon_batch.errors import StoreUnavailableError
from archon_batch.store import schema
from archon_batch.store.attempts import AttemptResult, is_request_of, lock_jobs
from archon_batch.store.database import Database
from archon_batch.store.fallback_settlement import attempt_label, settle_reduced
from archon_batch.store.settlement import settle
from archon_batch.store.spool import Spool

_log = structlog.get_logger()


def replay_spool(database: Database, spool: Spool) -> None:
    """Settle the spooled results; a result that the database rejects in any form stays spooled.

    Raises:
        StoreUnavailableError: the database is unavailable.
    """
    for path, spooled in chain(spool.read_all(), spool.unsent.read_all()):
        try:
            is_unsent = path.parent == spool.unsent.folder
            results = _recorded(database, spooled) if is_unsent else spooled
            try:
                orphans = _settle(database, results)
            except StoreUnavailableError:
                raise
            except Exception:  # noqa: BLE001  (one result is rejected: settle each by itself)
                incomplete = list(_settle_one_by_one(database, results))
                if incomplete:
                    spool.quarantine.write(incomplete, path.stem)
            else:
                if orphans and not quarantine_orphans(spool, orphans, path.stem):
                    continue
            path.unlink(missing_ok=True)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  (continue with the next file)
            why = f"{type(error).__name__}: {error}"
            _log.error("spooled_results_rejected", file=str(path), why=why)


def quarantine_orphans(
    spool: Spool | None, orphans: Sequence[AttemptResult], name: str | None = None
) -> bool:
    """Log results without a recorded attempt and quarantine them; return whether they are kept."""
    for orphan in orphans:
        _log.warning(
            "result_without_attempt", attempt=attempt_label(orphan), outcome=orphan.outcome
        )
    if not orphans or spool is None:
        return False
    try:
        spool.quarantine.write(orphans, name)
    except OSError as error:
        _log.error("spool_failed", results=len(orphans), why=str(error))
        return False
    return True


def _settle_one_by_one(
    database: Database, results: Sequence[AttemptResult]
) -> Iterator[AttemptResult]:
    """Settle each result as completely as possible; yield those that are not stored in full."""
    for result in results:
        try:
            orphans = _settle(database, [result])
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  (settle_reduced logs it)
            if not settle_reduced(database, result, error):
                yield result
        else:
            quarantine_orphans(None, orphans)
            yield from orphans


def _recorded(database: Database, results: Sequence[AttemptResult]) -> list[AttemptResult]:
    """The results whose attempts are recorded, and not as another request's."""
    c = schema.attempts.c
    key = sa.tuple_(c.job_id, c.ix, c.key, c.attempt_number)
    recorded = []
    with database.read_transaction() as connection:
        for result in results:
            attempt = (*result.request.call.as_tuple, result.attempt_number)
            query = sa.select(c.owner, c.begun_at).where(key == attempt)
            row = connection.execute(query).one_or_none()
            if row is not None and is_request_of(row, result.request):
                recorded.append(result)
    return recorded


def _settle(database: Database, results: Sequence[AttemptResult]) -> list[AttemptResult]:
    with database.write_transaction() as connection:
        lock_jobs(connection, {result.request.call.job_id for result in results})
        return settle(connection, results)
