"""Requests of a component: generators that yield rounds of requests and receive their replies.

Each ``yield`` is a round: a tuple of requests. The generator continues when all of them have
replies, and receives the replies in the same order. It must be deterministic, since it starts from
the beginning whenever its item is planned.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from archon_batch.archon.call import Message, Reply, ReplyFormat
from archon_batch.archon.state import ComponentWarning

T = TypeVar("T")

#: Of a reason that goes into the next prompt: it may quote what a model wrote.
_MAX_REASON_BYTES = 300
#: By finish reason: the warning for a truncated text, and the suffix for a truncated reply.
_TRUNCATED = {
    "length": "a text is truncated at max_tokens",
    "content_filter": "a text is truncated by the provider's filter (content_filter)",
}
_TRUNCATED_SUFFIX = {
    "length": "; it was cut off at its greatest length",
    "content_filter": "; the provider's filter cut it off",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A call without its model and its position, which the planner adds."""

    index: int
    messages: tuple[Message, ...]
    reply_format: ReplyFormat | None = None
    reask: int = 0
    #: Numbers identical requests of the component, so that each gets its own completion.
    sample: int = 0


Requests = Generator[tuple[Request, ...], tuple[Reply, ...], T]
#: The value, or None, and the warnings.
ParsedReply = tuple[T | None, tuple[ComponentWarning, ...]]


class ReplyParseError(Exception):
    """A parser rejects a reply. The message goes into the next prompt, as the reason."""


def ask_parsed(
    request: Request, parse: Callable[[str], T], retries: int
) -> Requests[ParsedReply[T]]:
    """Ask until a reply can be parsed, at most ``1 + retries`` times.

    The value is None if no reply can be parsed or a call fails. A re-ask gives the reason: the same
    prompt at the same temperature would mostly get the same reply.
    """
    rejected: list[ComponentWarning] = []
    while len(rejected) <= retries:
        (reply,) = yield (_reask_request(request, rejected),)
        if reply.failure is not None:
            return None, (*rejected, ComponentWarning("failed", reply.failure))
        try:
            return parse(_require_text(reply)), tuple(rejected)
        except ReplyParseError as error:
            rejected.append(
                ComponentWarning(
                    "unparsed", f"{error}{_TRUNCATED_SUFFIX.get(reply.finish_reason or '', '')}"
                )
            )
    return None, tuple(rejected)


def ask_text(request: Request, retries: int) -> Requests[ParsedReply[str]]:
    """Ask for a text; repeat the same prompt, up to ``retries`` times, if the text is blank."""
    warnings: list[ComponentWarning] = []
    for reask in range(1 + retries):
        (reply,) = yield (replace(request, reask=reask) if reask else request,)
        if reply.failure is not None:
            return None, (*warnings, ComponentWarning("failed", reply.failure))
        text = (reply.text or "").strip()
        if text:
            if reply.finish_reason in _TRUNCATED:
                warnings.append(ComponentWarning("truncated", _TRUNCATED[reply.finish_reason]))
            return text, tuple(warnings)
        if reply.finish_reason == "length":
            # The model used all of max_tokens for reasoning; retrying would not help.
            return None, (
                *warnings,
                ComponentWarning("unparsed", "the model used all of max_tokens for reasoning"),
            )
        warnings.append(ComponentWarning("unparsed", "the reply was empty"))
    return None, tuple(warnings)


def gather(generators: Sequence[Requests[T]]) -> Requests[tuple[T, ...]]:
    """Run the generators concurrently: a round has the next requests of each of them."""
    results: dict[int, T] = {}
    next_requests: dict[int, tuple[Request, ...]] = {}
    replies: dict[int, tuple[Reply, ...]] = {}
    while True:
        for index, generator in enumerate(generators):
            if index in results:
                continue
            try:
                next_requests[index] = (
                    generator.send(replies[index]) if index in replies else next(generator)
                )
            except StopIteration as end:
                results[index] = end.value
                next_requests.pop(index, None)
        if not next_requests:
            return tuple(results[index] for index in range(len(generators)))
        received = iter((yield tuple(r for requests in next_requests.values() for r in requests)))
        replies = {
            index: tuple(next(received) for _ in requests)
            for index, requests in next_requests.items()
        }


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
    repeated = replace(
        last,
        content=f"{last.content}\n\n{earlier} to this could not be used: {why}. "
        "Keep to the form that is asked for above.",
    )
    return replace(request, messages=(*before, repeated), reask=len(failures))
