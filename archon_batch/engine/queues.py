"""The queues: planning never waits behind calls, and no model waits behind another model."""

from collections.abc import Collection

from archon_batch.archon import Model

#: Messages that plan a shard and start its next round; short tasks.
PLANNING = "joins"
#: Batches of calls; a task takes as long as its slowest call.
CALLS = "calls"

ALL = (PLANNING, CALLS)

#: The last is fetched first; messages of one priority are fetched in their order.
PRIORITIES = ("low", "normal", "high")


def calls_queue_for(model: Model, consumed: Collection[str]) -> str:
    """The queue of a model's calls: the most specific one that a worker consumes, else ``CALLS``.

    ``calls.openai/gpt-4o-mini`` is preferred to ``calls.openai``.
    """
    specific = f"{CALLS}.{model.model}", f"{CALLS}.{model.provider}"
    return next((queue for queue in specific if queue in consumed), CALLS)
