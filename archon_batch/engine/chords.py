"""A round as a chord: its batches side by side, then the join that plans again."""

from celery import Signature, chord

from archon_batch.advance import Round
from archon_batch.engine import queues, titles
from archon_batch.engine.app import app
from archon_batch.running import RunningJob

#: Task names are part of what travels: they stay when modules move.
ADVANCE = "archon_batch.advance"
PLACE = "archon_batch.place"


def send_advance(job: titles.Named, shard: int, stride: int) -> None:
    """Ask for the shard to be planned; its end asks for the shard ``stride`` further on."""
    _advance(job, shard, stride).apply_async()


def send_round(job: RunningJob, shard: int, stride: int, missing: Round) -> None:
    """Place the calls of the round, and then plan the shard again."""
    header = [
        app.signature(
            PLACE,
            args=(job.id, parcel.batch),
            immutable=True,
            queue=parcel.queue,
            **titles.of_calls(job, parcel),
        )
        for parcel in missing.parcels
    ]
    chord(header)(_advance(job, shard, stride))


def _advance(job: titles.Named, shard: int, stride: int) -> Signature[None]:
    return app.signature(
        ADVANCE,
        args=(job.id, shard, stride),
        immutable=True,
        queue=queues.JOINS,
        **titles.of_join(job, shard),
    )
