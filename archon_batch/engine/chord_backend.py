"""Celery's result backend: chords are counted in the database, and no result is kept."""

from typing import Any

import structlog
from celery.backends.base import DisabledBackend

from archon_batch.engine import runtime
from archon_batch.engine.app import settings
from archon_batch.engine.chords import send_continuation
from archon_batch.errors import BrokerError, StoreError
from archon_batch.store import retry_while_unavailable

_log = structlog.get_logger()


class DatabaseChordBackend(DisabledBackend):
    """Counts the batches of a chord where the line is on record that they belong to.

    So a chord survives the broker, whichever it is, and needs no second server. Replies are in the
    database anyway: nobody reads a task's result.
    """

    def ensure_chords_allowed(self) -> None:
        """They are."""

    def apply_chord(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Do nothing: the line knew its batches before they were sent (``chords.send_round``)."""

    def on_chord_part_return(self, request: Any, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Count a batch, and send the join after the last; a batch of an old turn is not counted."""
        try:
            lines = runtime.current(settings).store.shard_cursors
            # A batch that is counted twice brings its join early, which then finds what is missing.
            if retry_while_unavailable(lambda: lines.batch_done(*request.chord["args"])):
                send_continuation(request.chord["args"], request.chord["options"])
        except (StoreError, BrokerError) as error:
            # The line stands still now, and the sweeper sends for it.
            _log.warning("batch_not_counted", why=str(error))
