"""The lines that messages stand in: joins never wait behind calls, nor a model behind another."""

from collections.abc import Collection

from archon_batch.archon import Model

#: Plans a shard and begins its next round; short.
PLANNING = "joins"
#: Places the calls of a batch and waits for their replies; as long as the slowest of them.
CALLS = "calls"

ALL = (PLANNING, CALLS)

#: Whose messages are fetched first, the last of them; alike ones are fetched as they came.
PRIORITIES = ("low", "normal", "high")


def calls_queue_for(model: Model, consumed: Collection[str]) -> str:
    """The queue for a model's calls: its own or its provider's if a worker drains it, else ``CALLS``.

    ``calls.openai/gpt-4o-mini`` goes before ``calls.openai``.
    """
    own = f"{CALLS}.{model.model}", f"{CALLS}.{model.provider}"
    return next((queue for queue in own if queue in consumed), CALLS)
