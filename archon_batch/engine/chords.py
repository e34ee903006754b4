"""A round as a chord: its batches side by side, then the join that plans again."""

from celery import Signature, chord

from archon_batch.advance import Round
from archon_batch.engine import queues
from archon_batch.engine.app import app

#: Task names are part of what travels: they stay when modules move.
ADVANCE = "archon_batch.advance"
PLACE = "archon_batch.place"


def send_advance(job_id: str, shard: int, stride: int) -> None:
    """Ask for the shard to be planned; its end asks for the shard ``stride`` further on."""
    _advance(job_id, shard, stride).apply_async()


def send_round(job_id: str, shard: int, stride: int, missing: Round) -> None:
    """Place the calls of the round, and then plan the shard again."""
    header = [
        app.signature(
            PLACE,
            args=(job_id, batch),
            immutable=True,
            queue=queues.CALLS,
            shadow=f"{job_id} rows {batch[0][0]}-{batch[-1][0]} x {sum(len(k) for _, k in batch)}",
        )
        for batch in missing.batches
    ]
    chord(header)(_advance(job_id, shard, stride))


def _advance(job_id: str, shard: int, stride: int) -> Signature[None]:
    return app.signature(
        ADVANCE,
        args=(job_id, shard, stride),
        immutable=True,
        queue=queues.JOINS,
        shadow=f"{job_id} join shard {shard}",
    )
