"""Rounds whose replies are taken as they are: what generators and fusers ask."""

from archon_batch.archon.call import Message
from archon_batch.archon.steps import Reading, Request, Steps, UnreadableError, text_of


def texts(
    messages: tuple[Message, ...], samples: int
) -> Steps[tuple[tuple[tuple[int, str], ...], tuple[Reading, ...]]]:
    """Ask ``samples`` times; return the texts with their slots, and what went wrong.

    A failed or blank reply is left out and told of. It is not asked for again: the others stand
    in for it, and when there are no others the item gives up and says why.
    """
    replies = yield tuple(Request(slot, messages, sample=slot) for slot in range(samples))
    made: list[tuple[int, str]] = []
    readings: list[Reading] = []
    for slot, reply in enumerate(replies):
        if reply.failure is not None:
            readings.append(Reading(failure=reply.failure, done=False))
            continue
        try:
            made.append((slot, text_of(reply)))
        except UnreadableError as error:
            readings.append(Reading((str(error),), done=False))
    return tuple(made), tuple(readings)
