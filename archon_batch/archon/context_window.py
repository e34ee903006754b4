"""The context window: what of a prompt fits, and what is left out so that the rest does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from archon_batch.archon.call import Message
from archon_batch.archon.component import ModelComponent, Scene
from archon_batch.archon.state import Candidate, Remark

#: Bytes of text that count as a token: fewer than English takes, so that an estimate errs high.
_TOKEN = 3
#: Tokens for what a provider wraps around a message, and for the reason of asking again.
_WRAPPING, _REASON = 8, 150
_MARK = " [... cut here to fit]"
#: Characters: of a text that is cut to fewer, nothing could be judged.
_LEAST = 100

Compose = Callable[[Sequence[Candidate]], tuple[Message, ...]]


class OverflowedError(Exception):
    """A prompt that is too long, of a component that must not shorten it."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What is shown of the candidates; none when not even one of them fits."""

    shown: tuple[Candidate, ...]
    remarks: tuple[Remark, ...] = ()


def estimated(messages: Sequence[Message]) -> int:
    """The tokens of a prompt, as an estimate that errs high for most languages."""
    size = sum(len(m.content.encode("utf-8", "surrogatepass")) for m in messages)
    return -(-size // _TOKEN) + _WRAPPING * len(messages) + _REASON


def refuse_long(
    scene: Scene, component: ModelComponent, messages: tuple[Message, ...]
) -> tuple[Remark, ...]:
    """What is to be said of a prompt that shows no candidates and does not fit.

    Raises:
        OverflowedError: it does not, and the component's ``overflow`` is ``error``.
    """
    if scene.window is None or (size := estimated(messages)) <= scene.window:
        return ()
    why = _why(size, scene.window)
    if component.overflow == "error":
        raise OverflowedError(why)
    return (Remark("overflow", f"{why}; it is not sent"),)


def fitted(
    scene: Scene, component: ModelComponent, shown: tuple[Candidate, ...], compose: Compose
) -> Fit:
    """The candidates of a prompt that fits, which ``compose`` makes of them.

    Raises:
        OverflowedError: they do not all fit, and the component's ``overflow`` is ``error``.
    """
    window = scene.window
    if window is None or (size := estimated(compose(shown))) <= window:
        return Fit(shown)
    why = _why(size, window)
    if component.overflow == "error":
        raise OverflowedError(why)
    longest = max((len(part) for c in shown for part in (c.text, c.critique or "")), default=0)
    least = _LEAST if component.overflow == "truncate" else longest
    # As many as there can be at the shortest that they may be cut to, and those as long as can be.
    count = _most(1, len(shown), lambda n: estimated(compose(_cut(shown[:n], least))) <= window)
    if count is None:
        return Fit((), (Remark("overflow", f"{why}; it is not sent"),))
    shown, left = shown[:count], len(shown) - count
    fits = _most(least, longest, lambda n: estimated(compose(_cut(shown, n))) <= window)
    length = fits or longest
    said = [f"the last {left} of {count + left} candidates are left out"] if left else []
    if length < longest:
        said.append(f"what is longer than {length:,} characters is cut there")
    return Fit(_cut(shown, length), (Remark("overflow", "; ".join((why, *said))),))


def _why(size: int, window: int) -> str:
    return f"the prompt takes about {size:,} tokens, and the model's window leaves {window:,}"


def _cut(shown: Sequence[Candidate], length: int) -> tuple[Candidate, ...]:
    """No text longer than that, with the mark: one that is cut does not grow by it."""

    def short(text: str) -> str:
        return text if len(text) <= length else text[: length - len(_MARK)] + _MARK

    return tuple(
        replace(c, text=short(c.text), critique=None if c.critique is None else short(c.critique))
        for c in shown
    )


def _most(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """The greatest number that fits, where all below it do; None when the lowest does not."""
    if low > high or not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
