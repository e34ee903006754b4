"""Celery's result backend: counts the batches of chords in the database and stores no results."""

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
    """Counts a chord's finished batches at its shard cursor in the database.

    So a chord survives the loss of any broker and needs no second server. Nothing reads a task's
    result: replies are in the database.
    """

    def ensure_chords_allowed(self) -> None:
        """Allow chords; Celery's disabled backend refuses them."""

    def apply_chord(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Do nothing: ``chords.send_round`` stored the number of batches before sending them."""

    def on_chord_part_return(self, request: Any, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Count a batch; after the last one send the continuation. A batch with an old token is ignored."""
        try:
            cursors = runtime.current(settings).store.shard_cursors
            # Counting a batch twice sends the continuation early; it then plans what is missing.
            if retry_while_unavailable(lambda: cursors.batch_done(*request.chord["args"])):
                send_continuation(request.chord["args"], request.chord["options"])
        except (StoreError, BrokerError) as error:
            # The cursor stalls now, and the watchdog resends its message.
            _log.warning("batch_not_counted", why=str(error))
