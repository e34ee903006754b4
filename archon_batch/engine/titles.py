"""What Flower shows of a message: names that a person reads, and nothing of a prompt.

The job stands in for the arguments and the rest for the keywords, and neither for the task's name:
by names Flower counts for ever, in a page without a password.
"""

from typing import Protocol

from archon_batch.jobs.shard_step import CallBatch


class JobLabel(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


def label_batch(job: JobLabel, batch: CallBatch) -> dict[str, str]:
    """``labels-2026-01-31`` and ``rows 1-32, layer 2, gpt-4o-mini x 5``; rows count from 1."""
    first, last = batch.keys[0][0] + 1, batch.keys[-1][0] + 1
    rows = f"row {first}" if first == last else f"rows {first}-{last}"
    layers = sorted({int(key.partition(".")[0]) for _, keys in batch.keys for key in keys})
    where = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}-{layers[-1]}"
    models = " + ".join(
        f"{model.partition('/')[2] or model} x {count}" for model, count in batch.models.items()
    )
    return _label(job, f"{rows}, {where}, {models}")


def label_shard_step(job: JobLabel, shard: int) -> dict[str, str]:
    return _label(job, f"shard {shard}, join")


def _label(job: JobLabel, details: str) -> dict[str, str]:
    return {"argsrepr": job.name, "kwargsrepr": details}
