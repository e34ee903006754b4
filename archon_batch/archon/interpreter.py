"""The interpreter: an item run from question to end in one go, the oracle of the engine."""

from collections.abc import Callable

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Reply
from archon_batch.archon.course import Answer, CallsNeeded, Failed
from archon_batch.archon.planner import plan_item
from archon_batch.archon.state import Question


def run_item(
    architecture: Architecture, question: Question, complete: Callable[[Call], Reply]
) -> tuple[Answer | Failed, dict[CallKey, Reply]]:
    """The item's end, and every reply on the way to it."""
    replies: dict[CallKey, Reply] = {}
    while isinstance(step := plan_item(architecture, question, replies), CallsNeeded):
        replies |= {call.key: complete(call) for call in step.calls}
    return step, replies
