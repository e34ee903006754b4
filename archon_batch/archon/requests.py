"""How a component works: it yields the requests it wants made, and is sent their replies.

A component's work is a generator. Each ``yield`` is a round: a tuple of requests, all of which are
settled before it goes on, whose replies come back in the same order. It must be deterministic in
what it is given, since it is run again from the start whenever its item is planned.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from archon_batch.archon.call import Message, Reply, ReplyFormat
from archon_batch.archon.state import ComponentWarning

T = TypeVar("T")

#: The most bytes of a reason that the model is told: it may hold what a model wrote.
_MAX_REASON_BYTES = 300
#: What is told of a text that did not end by itself, and of a reply that cannot be read then.
_TRUNCATED = {
    "length": "a text ends where max_tokens did",
    "content_filter": "a text ends where the provider's filter cut it off (content_filter)",
}
_TRUNCATED_SUFFIX = {
    "length": "; it was cut off at its greatest length",
    "content_filter": "; the provider's filter cut it off",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A call that does not know yet where in the architecture it stands."""

    index: int
    messages: tuple[Message, ...]
    reply_format: ReplyFormat | None = None
    reask: int = 0
    #: Which of several alike requests of the component this is.
    sample: int = 0


Requests = Generator[tuple[Request, ...], tuple[Reply, ...], T]
#: What was read, or None, and what did not go as asked on the way.
ParsedReply = tuple[T | None, tuple[ComponentWarning, ...]]


class ReplyParseError(Exception):
    """A reply that its reader refuses; the message tells the model what was wrong with it."""


def ask_parsed(
    request: Request, parse: Callable[[str], T], retries: int
) -> Requests[ParsedReply[T]]:
    """Ask until the reply can be read, at most ``1 + retries`` times.

    The value is None when every reply was refused or a call failed. What is asked again says why:
    the same words at the same temperature would mostly get the same reply.
    """
    refused: list[ComponentWarning] = []
    while len(refused) <= retries:
        (reply,) = yield (_reask_request(request, refused),)
        if reply.failure is not None:
            return None, (*refused, ComponentWarning("failed", reply.failure))
        try:
            return parse(_require_text(reply)), tuple(refused)
        except ReplyParseError as error:
            refused.append(
                ComponentWarning(
                    "unparsed", f"{error}{_TRUNCATED_SUFFIX.get(reply.finish_reason or '', '')}"
                )
            )
    return None, tuple(refused)


def ask_text(request: Request, retries: int) -> Requests[ParsedReply[str]]:
    """Ask for a text that is taken as it is; a blank one is asked for again in the same words."""
    remarks: list[ComponentWarning] = []
    for again in range(1 + retries):
        (reply,) = yield (replace(request, reask=again) if again else request,)
        if reply.failure is not None:
            return None, (*remarks, ComponentWarning("failed", reply.failure))
        text = (reply.text or "").strip()
        if text:
            if reply.finish_reason in _TRUNCATED:
                remarks.append(ComponentWarning("truncated", _TRUNCATED[reply.finish_reason]))
            return text, tuple(remarks)
        if reply.finish_reason == "length":
            # It thought until it had no words left, and would again.
            return None, (
                *remarks,
                ComponentWarning("unparsed", "all of max_tokens went before a word"),
            )
        remarks.append(ComponentWarning("unparsed", "the reply was empty"))
    return None, tuple(remarks)


def gather(parts: Sequence[Requests[T]]) -> Requests[tuple[T, ...]]:
    """Go through the parts side by side: a round has what each of them wants next."""
    ends: dict[int, T] = {}
    wanted: dict[int, tuple[Request, ...]] = {}
    replies: dict[int, tuple[Reply, ...]] = {}
    while True:
        for index, part in enumerate(parts):
            if index in ends:
                continue
            try:
                wanted[index] = part.send(replies[index]) if index in replies else next(part)
            except StopIteration as end:
                ends[index] = end.value
                wanted.pop(index, None)
        if not wanted:
            return tuple(ends[index] for index in range(len(parts)))
        answered = iter((yield tuple(r for requests in wanted.values() for r in requests)))
        replies = {i: tuple(next(answered) for _ in requests) for i, requests in wanted.items()}


def _require_text(reply: Reply) -> str:
    text = (reply.text or "").strip()
    if not text:
        raise ReplyParseError("the reply was empty")
    return text


def _reask_request(request: Request, failures: Sequence[ComponentWarning]) -> Request:
    if not failures:
        return request
    *before, last = request.messages
    why = failures[-1].why.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore")
    earlier = "An earlier reply" if len(failures) == 1 else f"{len(failures)} earlier replies"
    told = replace(
        last,
        content=f"{last.content}\n\n{earlier} to this could not be used: {why}. "
        "Keep to the form that is asked for above.",
    )
    return replace(request, messages=(*before, told), reask=len(failures))
