"""A round as a chord: its batches side by side, then the join that plans again."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from celery import Signature, chord

from archon_batch.engine import queues, titles
from archon_batch.engine.app import app, settings
from archon_batch.engine.broker import translating_errors
from archon_batch.jobs.shard_step import Round
from archon_batch.store import CursorPosition, Store

#: Task names are part of what travels: they stay when modules move.
ADVANCE_TASK = "archon_batch.jobs.shard_step"
PLACE_TASK = "archon_batch.place"


class JobMessage(titles.JobLabel, Protocol):
    """What a message says of its job."""

    @property
    def priority(self) -> str: ...


def send_shard_step(job: JobMessage, position: CursorPosition) -> None:
    """Ask for the line's shard to be planned; its end asks for the next of the job.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    with translating_errors():
        _shard_step_signature(job, position).apply_async()


def send_round(store: Store, job: JobMessage, position: CursorPosition, next_round: Round) -> None:
    """Place the calls of the round, and then plan the shard again.

    The line's next turn is on record before anything is sent. Whoever comes second, with a copy of
    the message that led here, sends nothing.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    waits_in = {parcel.queue for parcel in next_round.call_batches}
    following = store.shard_cursors.start_round(position, len(next_round.call_batches), waits_in)
    if following is None:
        return
    header = [
        app.signature(
            PLACE_TASK,
            args=(job.id, following.cursor, following.token, parcel.keys),
            immutable=True,
            queue=parcel.queue,
            priority=_broker_priority(job),
            **titles.label_batch(job, parcel),
        )
        for parcel in next_round.call_batches
    ]
    with translating_errors():
        chord(header)(_shard_step_signature(job, following))


def send_continuation(args: Sequence[object], options: Mapping[str, object]) -> None:
    """Send the join that a batch has with it; what else stands there is not sent.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    shown = {key: options.get(key) for key in ("priority", "argsrepr", "kwargsrepr")}
    with translating_errors():
        app.signature(
            ADVANCE_TASK, args=tuple(args), immutable=True, queue=queues.PLANNING, **shown
        ).apply_async()


def _shard_step_signature(job: JobMessage, position: CursorPosition) -> Signature[None]:
    return app.signature(
        ADVANCE_TASK,
        args=(job.id, position.cursor, position.token),
        immutable=True,
        queue=queues.PLANNING,
        priority=_broker_priority(job),
        **titles.label_shard_step(job, position.shard),
    )


def _broker_priority(job: JobMessage) -> int:
    """The job's priority as the broker counts: Redis serves the lowest number first."""
    rank = queues.PRIORITIES.index(job.priority)
    return len(queues.PRIORITIES) - 1 - rank if settings.broker_is_redis else rank
