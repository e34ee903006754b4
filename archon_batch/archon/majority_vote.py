"""Candidates judged one by one, until so many of them pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from archon_batch.archon.component import Bounds
from archon_batch.archon.requests import Reading, Steps, together
from archon_batch.archon.state import Candidate, Remark

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Judged(Generic[T]):
    #: The candidates that were looked at, each with its verdict; None is no verdict.
    verdicts: tuple[tuple[Candidate, T | None], ...]
    #: Those that passed.
    passed: tuple[Candidate, ...]
    remarks: tuple[Remark, ...]


def judged(
    candidates: Sequence[Candidate],
    enough: int | None,
    judge: Callable[[int, Candidate], Steps[Reading[T]]],
    passes: Callable[[T], bool],
) -> Steps[Judged[T]]:
    """Judge the candidates in their order; stop when ``enough`` have passed.

    Each time as many are judged at once as are still wanting: so no candidate is judged that
    would not be if they were judged one after the other.
    """
    verdicts: list[tuple[Candidate, T | None]] = []
    passed: list[Candidate] = []
    remarks: list[Remark] = []
    while len(verdicts) < len(candidates) and (enough is None or len(passed) < enough):
        first = len(verdicts)
        last = len(candidates) if enough is None else first + enough - len(passed)
        wave = list(enumerate(candidates))[first:last]
        readings = yield from together([judge(index, c) for index, c in wave])
        for (_, candidate), (verdict, told) in zip(wave, readings, strict=True):
            remarks += told
            verdicts.append((candidate, verdict))
            if verdict is not None and passes(verdict):
                passed.append(candidate)
    return Judged(tuple(verdicts), tuple(passed), tuple(remarks))


def looked_at(candidates: int, enough: int | None) -> Bounds:
    """How many candidates are judged: the fewest when the first ones pass, else all of them."""
    return Bounds(candidates if enough is None else min(enough, candidates), candidates)


def majority(votes: Sequence[bool]) -> bool:
    """Whether more than half of the votes say yes; of none it is not."""
    return 2 * sum(votes) > len(votes)
