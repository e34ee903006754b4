"""Fits prompts into a model's context window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from archon_batch.archon.call import Message
from archon_batch.archon.component import Context, ModelComponent
from archon_batch.archon.state import Candidate, ComponentWarning

#: Fewer than a token of English has, so that estimates err high.
_BYTES_PER_TOKEN = 3
#: Tokens for the chat template around a message, and for the reason in a re-ask.
_MESSAGE_OVERHEAD, _REASK_OVERHEAD = 8, 150
_TRUNCATION_MARK = " [... cut here to fit]"
#: Characters; a shorter text could not be judged.
_MIN_TRUNCATED_LENGTH = 100

BuildPrompt = Callable[[Sequence[Candidate]], tuple[Message, ...]]


class ContextOverflowError(Exception):
    """A prompt exceeds the context window, and its component has ``overflow: error``."""


@dataclass(frozen=True, slots=True)
class FittedCandidates:
    """The candidates to show, perhaps truncated; empty if not even one fits."""

    shown: tuple[Candidate, ...]
    warnings: tuple[ComponentWarning, ...] = ()


def estimate_tokens(messages: Sequence[Message]) -> int:
    """An estimate of the tokens of a prompt; too high for most languages."""
    size = sum(len(m.content.encode("utf-8", "surrogatepass")) for m in messages)
    return -(-size // _BYTES_PER_TOKEN) + _MESSAGE_OVERHEAD * len(messages) + _REASK_OVERHEAD


def check_length(
    context: Context, component: ModelComponent, messages: tuple[Message, ...]
) -> tuple[ComponentWarning, ...]:
    """A warning if a prompt without candidates exceeds the context window; it must not be sent.

    Raises:
        ContextOverflowError: it does, and the component has ``overflow: error``.
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
    """The candidates to show, so that the prompt from ``build_prompt`` fits the context window.

    Raises:
        ContextOverflowError: they do not all fit, and the component has ``overflow: error``.
    """
    window = context.max_prompt_tokens
    if window is None or (size := estimate_tokens(build_prompt(candidates))) <= window:
        return FittedCandidates(candidates)
    why = _overflow_message(size, window)
    if component.overflow == "error":
        raise ContextOverflowError(why)
    longest = max((len(part) for c in candidates for part in (c.text, c.critique or "")), default=0)
    least = _MIN_TRUNCATED_LENGTH if component.overflow == "truncate" else longest
    # First keep as many candidates as fit at the least length, then as much of each as fits.
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
    actions = [f"the last {left} of {count + left} candidates are left out"] if left else []
    if length < longest:
        actions.append(f"longer texts are truncated to {length:,} characters")
    return FittedCandidates(
        _truncate_texts(candidates, length),
        (ComponentWarning("context_overflow", "; ".join((why, *actions))),),
    )


def _overflow_message(size: int, window: int) -> str:
    return f"the prompt takes about {size:,} tokens, and the model's window leaves {window:,}"


def _truncate_texts(shown: Sequence[Candidate], length: int) -> tuple[Candidate, ...]:
    """Truncate texts and critiques to ``length`` characters, including the mark."""

    def short(text: str) -> str:
        if len(text) <= length:
            return text
        return text[: length - len(_TRUNCATION_MARK)] + _TRUNCATION_MARK

    return tuple(
        replace(c, text=short(c.text), critique=None if c.critique is None else short(c.critique))
        for c in shown
    )


def _largest_that_fits(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """Bisect for the greatest number that fits; None if the lowest does not fit."""
    if low > high or not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
