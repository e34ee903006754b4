"""Judges candidates in waves until enough of them pass; majority votes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from archon_batch.archon.component import CountRange
from archon_batch.archon.requests import ParsedReply, Requests, gather
from archon_batch.archon.state import Candidate, ComponentWarning

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JudgedCandidates(Generic[T]):
    #: The judged candidates with their verdicts; None means no verdict.
    verdicts: tuple[tuple[Candidate, T | None], ...]
    #: The candidates that passed.
    passed: tuple[Candidate, ...]
    warnings: tuple[ComponentWarning, ...]


def judge_candidates(
    candidates: Sequence[Candidate],
    wanted: int | None,
    judge: Callable[[int, Candidate], Requests[ParsedReply[T]]],
    passes: Callable[[T], bool],
) -> Requests[JudgedCandidates[T]]:
    """Judge the candidates in order; stop when ``wanted`` have passed.

    Each wave has as many candidates as are still missing. So no candidate is judged that would not
    be judged one after the other.
    """
    verdicts: list[tuple[Candidate, T | None]] = []
    passed: list[Candidate] = []
    warnings: list[ComponentWarning] = []
    while len(verdicts) < len(candidates) and (wanted is None or len(passed) < wanted):
        first = len(verdicts)
        last = len(candidates) if wanted is None else first + wanted - len(passed)
        wave = list(enumerate(candidates))[first:last]
        replies = yield from gather([judge(index, c) for index, c in wave])
        for (_, candidate), (verdict, given) in zip(wave, replies, strict=True):
            warnings += given
            verdicts.append((candidate, verdict))
            if verdict is not None and passes(verdict):
                passed.append(candidate)
    return JudgedCandidates(tuple(verdicts), tuple(passed), tuple(warnings))


def judged_count(candidates: int, wanted: int | None) -> CountRange:
    """How many candidates are judged: at least the wanted ones, at most all."""
    return CountRange(candidates if wanted is None else min(wanted, candidates), candidates)


def is_majority(votes: Sequence[bool]) -> bool:
    """Whether more than half of the votes are true; False without votes."""
    return 2 * sum(votes) > len(votes)
