"""A round as a chord: its batches side by side, then the join that plans again."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from celery import Signature, chord

from archon_batch.engine import queues, titles
from archon_batch.engine.app import app, settings
from archon_batch.engine.broker import sending
from archon_batch.jobs.shard_step import Round
from archon_batch.store import Store, Turn

#: Task names are part of what travels: they stay when modules move.
ADVANCE = "archon_batch.jobs.shard_step"
PLACE = "archon_batch.place"


class Travelling(titles.Named, Protocol):
    """What a message says of its job."""

    @property
    def priority(self) -> str: ...


def send_advance(job: Travelling, turn: Turn) -> None:
    """Ask for the line's shard to be planned; its end asks for the next of the job.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    with sending():
        _advance(job, turn).apply_async()


def send_round(store: Store, job: Travelling, turn: Turn, missing: Round) -> None:
    """Place the calls of the round, and then plan the shard again.

    The line's next turn is on record before anything is sent. Whoever comes second, with a copy of
    the message that led here, sends nothing.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    waits_in = {parcel.queue for parcel in missing.parcels}
    following = store.lines.round(turn, len(missing.parcels), waits_in)
    if following is None:
        return
    header = [
        app.signature(
            PLACE,
            args=(job.id, following.line, following.word, parcel.batch),
            immutable=True,
            queue=parcel.queue,
            priority=_rank(job),
            **titles.of_calls(job, parcel),
        )
        for parcel in missing.parcels
    ]
    with sending():
        chord(header)(_advance(job, following))


def send_join(args: Sequence[object], options: Mapping[str, object]) -> None:
    """Send the join that a batch has with it; what else stands there is not sent.

    Raises:
        BrokerError: the broker cannot be reached, or refuses.
    """
    shown = {key: options.get(key) for key in ("priority", "argsrepr", "kwargsrepr")}
    with sending():
        app.signature(
            ADVANCE, args=tuple(args), immutable=True, queue=queues.JOINS, **shown
        ).apply_async()


def _advance(job: Travelling, turn: Turn) -> Signature[None]:
    return app.signature(
        ADVANCE,
        args=(job.id, turn.line, turn.word),
        immutable=True,
        queue=queues.JOINS,
        priority=_rank(job),
        **titles.of_join(job, turn.shard),
    )


def _rank(job: Travelling) -> int:
    """The job's priority as the broker counts: Redis serves the lowest number first."""
    rank = queues.PRIORITIES.index(job.priority)
    return len(queues.PRIORITIES) - 1 - rank if settings.over_redis else rank
