"""Candidates judged one by one, until so many of them pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from archon_batch.archon.component import CountRange
from archon_batch.archon.requests import ParsedReply, Requests, gather
from archon_batch.archon.state import Candidate, ComponentWarning

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JudgedCandidates(Generic[T]):
    #: The candidates that were looked at, each with its verdict; None is no verdict.
    verdicts: tuple[tuple[Candidate, T | None], ...]
    #: Those that passed.
    passed: tuple[Candidate, ...]
    warnings: tuple[ComponentWarning, ...]


def judge_candidates(
    candidates: Sequence[Candidate],
    wanted: int | None,
    judge: Callable[[int, Candidate], Requests[ParsedReply[T]]],
    passes: Callable[[T], bool],
) -> Requests[JudgedCandidates[T]]:
    """Judge the candidates in their order; stop when ``wanted`` have passed.

    Each time as many are judged at once as are still wanting: so no candidate is judged that
    would not be if they were judged one after the other.
    """
    verdicts: list[tuple[Candidate, T | None]] = []
    passed: list[Candidate] = []
    remarks: list[ComponentWarning] = []
    while len(verdicts) < len(candidates) and (wanted is None or len(passed) < wanted):
        first = len(verdicts)
        last = len(candidates) if wanted is None else first + wanted - len(passed)
        wave = list(enumerate(candidates))[first:last]
        readings = yield from gather([judge(index, c) for index, c in wave])
        for (_, candidate), (verdict, told) in zip(wave, readings, strict=True):
            remarks += told
            verdicts.append((candidate, verdict))
            if verdict is not None and passes(verdict):
                passed.append(candidate)
    return JudgedCandidates(tuple(verdicts), tuple(passed), tuple(remarks))


def judged_count(candidates: int, wanted: int | None) -> CountRange:
    """How many candidates are judged: the fewest when the first ones pass, else all of them."""
    return CountRange(candidates if wanted is None else min(wanted, candidates), candidates)


def is_majority(votes: Sequence[bool]) -> bool:
    """Whether more than half of the votes say yes; of none it is not."""
    return 2 * sum(votes) > len(votes)
