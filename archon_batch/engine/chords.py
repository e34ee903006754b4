"""A round as a Celery chord: its batches run in parallel, then a continuation plans the shard again."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from celery import Signature, chord

from archon_batch.engine import queues
from archon_batch.engine.app import app, settings
from archon_batch.engine.broker import translating_errors
from archon_batch.jobs.shard_step import CallBatch, Round
from archon_batch.store import CursorPosition, Store

#: Names of the tasks in messages; they never change, so that old messages stay readable.
ADVANCE_TASK = "archon_batch.advance"
PLACE_TASK = "archon_batch.place"


class JobLabel(Protocol):
    """What a message shows of its job."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


class PrioritizedJob(JobLabel, Protocol):
    @property
    def priority(self) -> str: ...


def send_shard_step(job: PrioritizedJob, position: CursorPosition) -> None:
    """Send the message that plans the cursor's shard.

    Raises:
        BrokerError: the broker is unreachable, or refuses.
    """
    with translating_errors():
        _shard_step_signature(job, position).apply_async()


def send_round(
    store: Store, job: PrioritizedJob, position: CursorPosition, next_round: Round
) -> None:
    """Send the round's batches, followed by the continuation that plans the shard again.

    The cursor's next token is stored before anything is sent. A duplicate delivery of the message
    that led here finds the newer token and sends nothing.

    Raises:
        BrokerError: the broker is unreachable, or refuses.
    """
    batches = next_round.call_batches
    following = store.shard_cursors.start_round(
        position, len(batches), {batch.queue for batch in batches}
    )
    if following is None:
        return
    header = [
        app.signature(
            PLACE_TASK,
            args=(job.id, following.cursor, following.token, batch.keys),
            immutable=True,
            queue=batch.queue,
            priority=_broker_priority(job),
            **label_batch(job, batch),
        )
        for batch in batches
    ]
    with translating_errors():
        chord(header)(_shard_step_signature(job, following))


def send_continuation(args: Sequence[object], options: Mapping[str, object]) -> None:
    """Send the continuation that a batch carries; only known options are taken over.

    Raises:
        BrokerError: the broker is unreachable, or refuses.
    """
    known = {key: options.get(key) for key in ("priority", "argsrepr", "kwargsrepr")}
    with translating_errors():
        app.signature(
            ADVANCE_TASK, args=tuple(args), immutable=True, queue=queues.PLANNING, **known
        ).apply_async()


def label_batch(job: JobLabel, batch: CallBatch) -> dict[str, str]:
    """What Flower shows: ``labels-2026-01-31`` and ``rows 1-32, layer 2, gpt-4o-mini x 5``.

    Rows count from 1. The job stands in place of the arguments and the rest in place of the keyword
    arguments, not in the task's name: Flower counts by task name, for ever and without a password.
    """
    first, last = batch.keys[0][0] + 1, batch.keys[-1][0] + 1
    rows = f"row {first}" if first == last else f"rows {first}-{last}"
    layers = sorted({int(key.partition(".")[0]) for _, keys in batch.keys for key in keys})
    layer = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}-{layers[-1]}"
    models = " + ".join(
        f"{model.partition('/')[2] or model} x {count}" for model, count in batch.models.items()
    )
    return _label(job, f"{rows}, {layer}, {models}")


def label_shard_step(job: JobLabel, shard: int) -> dict[str, str]:
    return _label(job, f"shard {shard}, planning")


def _label(job: JobLabel, details: str) -> dict[str, str]:
    return {"argsrepr": job.name, "kwargsrepr": details}


def _shard_step_signature(job: PrioritizedJob, position: CursorPosition) -> Signature[None]:
    return app.signature(
        ADVANCE_TASK,
        args=(job.id, position.cursor, position.token),
        immutable=True,
        queue=queues.PLANNING,
        priority=_broker_priority(job),
        **label_shard_step(job, position.shard),
    )


def _broker_priority(job: PrioritizedJob) -> int:
    """The job's priority as the broker counts it: Redis serves the lowest number first."""
    rank = queues.PRIORITIES.index(job.priority)
    return len(queues.PRIORITIES) - 1 - rank if settings.broker_is_redis else rank
