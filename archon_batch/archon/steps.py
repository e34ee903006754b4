"""How a component works: it yields the requests it wants made, and is sent their replies.

A component's work is a generator. Each ``yield`` is a round: a tuple of requests, all of which are
settled before it goes on, whose replies come back in the same order. It must be deterministic in
what it is given, since it is run again from the start whenever its item is planned.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from archon_batch.archon.call import Form, Message, Reply

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """A call that does not know yet where in the architecture it stands."""

    slot: int
    messages: tuple[Message, ...]
    form: Form | None = None
    again: int = 0
    #: Which of several alike requests of the component this is.
    sample: int = 0


Steps = Generator[tuple[Request, ...], tuple[Reply, ...], T]


class UnreadableError(Exception):
    """A reply that its reader refuses; the message tells the model what was wrong with it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of asking until a reply could be read."""

    #: Why each reply that was refused was refused.
    unreadable: tuple[str, ...] = ()
    #: Why there was no reply at all.
    failure: str | None = None
    #: Whether something was read in the end.
    done: bool = True


def text_of(reply: Reply) -> str:
    """The reply's text.

    Raises:
        UnreadableError: there is none, or it is blank.
    """
    text = (reply.text or "").strip()
    if not text:
        raise UnreadableError("the reply was empty")
    return text


def ask(
    request: Request, reader: Callable[[str], T], retries: int
) -> Steps[tuple[T | None, Reading]]:
    """Ask until the reply can be read, at most ``1 + retries`` times.

    The value is None when every reply was refused or a call failed. What is asked again says why:
    the same words at the same temperature would mostly get the same reply.
    """
    refused: list[str] = []
    while len(refused) <= retries:
        (reply,) = yield (_again(request, refused),)
        if reply.failure is not None:
            return None, Reading(tuple(refused), reply.failure, done=False)
        try:
            return reader(text_of(reply)), Reading(tuple(refused))
        except UnreadableError as error:
            refused.append(str(error))
    return None, Reading(tuple(refused), done=False)


def _again(request: Request, refused: Sequence[str]) -> Request:
    if not refused:
        return request
    *before, last = request.messages
    # The count makes each a request of its own: the same words would find the same completion.
    earlier = "An earlier reply" if len(refused) == 1 else f"{len(refused)} earlier replies"
    told = replace(
        last,
        content=f"{last.content}\n\n{earlier} to this could not be used: {refused[-1]}. "
        "Keep to the form that is asked for above.",
    )
    return replace(request, messages=(*before, told), again=len(refused))
