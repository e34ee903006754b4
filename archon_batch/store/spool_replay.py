"""The intake: ends that were spooled come on record, and none of them holds up the others."""

from collections.abc import Iterator, Sequence

import structlog

from archon_batch.errors import StoreAwayError
from archon_batch.store.attempts import Finish, lock
from archon_batch.store.database import Database
from archon_batch.store.fallback_settlement import put, told
from archon_batch.store.settlement import settle
from archon_batch.store.spool import Spool

_log = structlog.get_logger()


def take_in(database: Database, spool: Spool) -> None:
    """Put on record what is in the spool; what the database refuses as a whole stays there.

    Raises:
        StoreAwayError: the database is away.
    """
    for path, finishes in spool.kept():
        try:
            try:
                strays = _settled(database, finishes)
            except StoreAwayError:
                raise
            except Exception:  # noqa: BLE001  (one of them is refused; the others are no worse for it)
                left = list(_one_by_one(database, finishes))
                if left:
                    spool.aside.keep(left, path.stem)
            else:
                if strays and not lay_aside(spool, strays, path.stem):
                    continue
            path.unlink(missing_ok=True)
        except StoreAwayError:
            raise
        except Exception as error:  # noqa: BLE001  (nor are the other files)
            why = f"{type(error).__name__}: {error}"
            _log.error("spooled_ends_refused", file=str(path), why=why)


def lay_aside(spool: Spool | None, strays: Sequence[Finish], name: str | None = None) -> bool:
    """Tell of ends whose attempts are not on record, and keep them for a person to look at.

    Return whether they are kept.
    """
    for stray in strays:
        _log.warning("end_without_attempt", attempt=told(stray), outcome=stray.outcome)
    if not strays or spool is None:
        return False
    try:
        spool.aside.keep(strays, name)
    except OSError as error:
        _log.error("spool_failed", ends=len(strays), why=str(error))
        return False
    return True


def _one_by_one(database: Database, finishes: Sequence[Finish]) -> Iterator[Finish]:
    """Put each on record as far as it is taken; those that a part is missing of, or all."""
    for finish in finishes:
        try:
            strays = _settled(database, [finish])
        except StoreAwayError:
            raise
        except Exception as refused:  # noqa: BLE001  (it is told when it is stored in part)
            if not put(database, finish, refused):
                yield finish
        else:
            lay_aside(None, strays)
            yield from strays


def _settled(database: Database, finishes: Sequence[Finish]) -> list[Finish]:
    with database.writing() as connection:
        lock(connection, {finish.start.call.job for finish in finishes})
        return settle(connection, finishes)
