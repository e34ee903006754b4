"""The interpreter: an item run from question to end in one go, the oracle of the engine."""

from collections.abc import Callable

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Reply
from archon_batch.archon.course import Answer, Ask, GaveUp
from archon_batch.archon.planner import plan
from archon_batch.archon.state import Question


def run(
    architecture: Architecture, question: Question, answer: Callable[[Call], Reply]
) -> tuple[Answer | GaveUp, dict[CallKey, Reply]]:
    """The item's end, and every reply on the way to it."""
    replies: dict[CallKey, Reply] = {}
    while isinstance(step := plan(architecture, question, replies), Ask):
        replies |= {call.key: answer(call) for call in step.calls}
    return step, replies
