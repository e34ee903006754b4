"""The intake: ends that were spooled come on record, and none of them holds up the others."""

from collections.abc import Iterator, Sequence

import structlog

from archon_batch.errors import StoreUnavailableError
from archon_batch.store.attempts import AttemptResult, lock_jobs
from archon_batch.store.database import Database
from archon_batch.store.fallback_settlement import attempt_label, settle_reduced
from archon_batch.store.settlement import settle
from archon_batch.store.spool import Spool

_log = structlog.get_logger()


def replay_spool(database: Database, spool: Spool) -> None:
    """Put on record what is in the spool; what the database refuses as a whole stays there.

    Raises:
        StoreAwayError: the database is away.
    """
    for path, finishes in spool.read_all():
        try:
            try:
                strays = _settle(database, finishes)
            except StoreUnavailableError:
                raise
            except Exception:  # noqa: BLE001  (one of them is refused; the others are no worse for it)
                left = list(_settle_one_by_one(database, finishes))
                if left:
                    spool.quarantine.write(left, path.stem)
            else:
                if strays and not quarantine_orphans(spool, strays, path.stem):
                    continue
            path.unlink(missing_ok=True)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  (nor are the other files)
            why = f"{type(error).__name__}: {error}"
            _log.error("spooled_results_rejected", file=str(path), why=why)


def quarantine_orphans(
    spool: Spool | None, orphans: Sequence[AttemptResult], name: str | None = None
) -> bool:
    """Tell of ends whose attempts are not on record, and keep them for a person to look at.

    Return whether they are kept.
    """
    for stray in orphans:
        _log.warning("result_without_attempt", attempt=attempt_label(stray), outcome=stray.outcome)
    if not orphans or spool is None:
        return False
    try:
        spool.quarantine.write(orphans, name)
    except OSError as error:
        _log.error("spool_failed", ends=len(orphans), why=str(error))
        return False
    return True


def _settle_one_by_one(
    database: Database, finishes: Sequence[AttemptResult]
) -> Iterator[AttemptResult]:
    """Put each on record as far as it is taken; those that a part is missing of, or all."""
    for finish in finishes:
        try:
            strays = _settle(database, [finish])
        except StoreUnavailableError:
            raise
        except Exception as refused:  # noqa: BLE001  (it is told when it is stored in part)
            if not settle_reduced(database, finish, refused):
                yield finish
        else:
            quarantine_orphans(None, strays)
            yield from strays


def _settle(database: Database, finishes: Sequence[AttemptResult]) -> list[AttemptResult]:
    with database.write_transaction() as connection:
        lock_jobs(connection, {finish.request.call.job_id for finish in finishes})
        return settle(connection, finishes)
