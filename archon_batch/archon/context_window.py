"""The context window: what of a prompt fits, and what is left out so that the rest does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from archon_batch.archon.call import Message
from archon_batch.archon.component import Context, ModelComponent
from archon_batch.archon.state import Candidate, ComponentWarning

#: Bytes of text that count as a token: fewer than English takes, so that an estimate errs high.
_BYTES_PER_TOKEN = 3
#: Tokens for what a provider wraps around a message, and for the reason of asking again.
_MESSAGE_OVERHEAD, _REASK_OVERHEAD = 8, 150
_TRUNCATION_MARK = " [... cut here to fit]"
#: Characters: of a text that is cut to fewer, nothing could be judged.
_MIN_TRUNCATED_LENGTH = 100

BuildPrompt = Callable[[Sequence[Candidate]], tuple[Message, ...]]


class ContextOverflowError(Exception):
    """A prompt that is too long, of a component that must not shorten it."""


@dataclass(frozen=True, slots=True)
class FittedCandidates:
    """What is shown of the candidates; none when not even one of them fits."""

    shown: tuple[Candidate, ...]
    warnings: tuple[ComponentWarning, ...] = ()


def estimate_tokens(messages: Sequence[Message]) -> int:
    """The tokens of a prompt, as an estimate that errs high for most languages."""
    size = sum(len(m.content.encode("utf-8", "surrogatepass")) for m in messages)
    return -(-size // _BYTES_PER_TOKEN) + _MESSAGE_OVERHEAD * len(messages) + _REASK_OVERHEAD


def check_length(
    context: Context, component: ModelComponent, messages: tuple[Message, ...]
) -> tuple[ComponentWarning, ...]:
    """What is to be said of a prompt that shows no candidates and does not fit.

    Raises:
        OverflowedError: it does not, and the component's ``overflow`` is ``error``.
    """
    if (
        context.max_prompt_tokens is None
        or (size := estimate_tokens(messages)) <= context.max_prompt_tokens
    ):
        return ()
    why = _overflow_message(size, context.max_prompt_tokens)
    if component.overflow == "error":
        raise ContextOverflowError(why)
    return (ComponentWarning("context_overflow", f"{why}; it is not sent"),)


def fit_candidates(
    context: Context,
    component: ModelComponent,
    candidates: tuple[Candidate, ...],
    build_prompt: BuildPrompt,
) -> FittedCandidates:
    """The candidates of a prompt that fits, which ``build_prompt`` makes of them.

    Raises:
        OverflowedError: they do not all fit, and the component's ``overflow`` is ``error``.
    """
    window = context.max_prompt_tokens
    if window is None or (size := estimate_tokens(build_prompt(candidates))) <= window:
        return FittedCandidates(candidates)
    why = _overflow_message(size, window)
    if component.overflow == "error":
        raise ContextOverflowError(why)
    longest = max((len(part) for c in candidates for part in (c.text, c.critique or "")), default=0)
    least = _MIN_TRUNCATED_LENGTH if component.overflow == "truncate" else longest
    # As many as there can be at the shortest that they may be cut to, and those as long as can be.
    count = _largest_that_fits(
        1,
        len(candidates),
        lambda n: estimate_tokens(build_prompt(_truncate_texts(candidates[:n], least))) <= window,
    )
    if count is None:
        return FittedCandidates(
            (), (ComponentWarning("context_overflow", f"{why}; it is not sent"),)
        )
    candidates, left = candidates[:count], len(candidates) - count
    fits = _largest_that_fits(
        least,
        longest,
        lambda n: estimate_tokens(build_prompt(_truncate_texts(candidates, n))) <= window,
    )
    length = fits or longest
    said = [f"the last {left} of {count + left} candidates are left out"] if left else []
    if length < longest:
        said.append(f"what is longer than {length:,} characters is cut there")
    return FittedCandidates(
        _truncate_texts(candidates, length),
        (ComponentWarning("context_overflow", "; ".join((why, *said))),),
    )


def _overflow_message(size: int, window: int) -> str:
    return f"the prompt takes about {size:,} tokens, and the model's window leaves {window:,}"


def _truncate_texts(shown: Sequence[Candidate], length: int) -> tuple[Candidate, ...]:
    """No text longer than that, with the mark: one that is cut does not grow by it."""

    def short(text: str) -> str:
        return (
            text
            if len(text) <= length
            else text[: length - len(_TRUNCATION_MARK)] + _TRUNCATION_MARK
        )

    return tuple(
        replace(c, text=short(c.text), critique=None if c.critique is None else short(c.critique))
        for c in shown
    )


def _largest_that_fits(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """The greatest number that fits, where all below it do; None when the lowest does not."""
    if low > high or not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
