"""The planner: what an item needs next, worked out from the replies on record.

The law:

1. ``plan`` is a pure function of the architecture, the question and the replies: their texts,
   failures and finishes. It keeps nothing; a ``Course`` does, and comes to the same.
2. A call is asked for until it has a reply; a reply may be a failure, and settles its call too.
3. All components of a layer see the same state. A layer is done when all its components are; the
   next one is not looked at before.
4. More replies than were asked for change nothing. The order they came in changes nothing.
5. Every architecture ends: a component asks in a bounded number of rounds.
"""

from collections.abc import Mapping

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import CallKey, Reply
from archon_batch.archon.course import Answer, CallsNeeded, CompletedLayer, Failed, ItemPlanner
from archon_batch.archon.state import Question


def plan_item(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> CallsNeeded | Answer | Failed:
    """What the item needs next, or its end.

    Raises:
        ArchitectureError: the code of a component broke; ``place`` says which.
    """
    _, step = replay_item(architecture, question, replies)
    return step


def replay_item(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> tuple[list[CompletedLayer], CallsNeeded | Answer | Failed]:
    """The layers that are done, and then what the item needs next, or its end."""
    course = ItemPlanner(architecture, question)
    try:
        step = course.next_step(replies)
        return course.completed_layers, step
    finally:
        course.close()
