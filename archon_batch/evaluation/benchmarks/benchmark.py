"""What a benchmark is: published files, problems made of them, and what answers to them come to."""

import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from archon_batch.archon import Message, ScaleName
from archon_batch.evaluation.benchmarks.record import Record
from archon_batch.evaluation.judge_prompt import Case, Games
from archon_batch.evaluation.metric import Metric, Score
from archon_batch.evaluation.metrics import METRICS
from archon_batch.evaluation.statistics import Mean, mean

#: The records of a benchmark's parts, by the parts' names.
Records = Mapping[str, Sequence[Record]]


@dataclass(frozen=True, slots=True)
class Part:
    """Files that belong together, as their publisher names them."""

    name: str
    #: Patterns below the benchmark's folder; the first one that fits a file is taken.
    patterns: tuple[str, ...]
    needed: bool = True
    #: Take the files of all patterns, and not of the first one alone.
    every: bool = False
    #: Names of the columns of a CSV file that comes without a header.
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One question of a benchmark, with what is right."""

    id: str
    #: What the user says, turn by turn; a later turn follows the answer to the one before.
    turns: tuple[str, ...]
    #: What the metric or the judge goes by; of a judge with several turns, one for each.
    reference: Any = None
    #: Fields that figures are told by, such as a subject.
    groups: Mapping[str, str] = field(default_factory=dict)
    #: The answer that is to be beaten.
    baseline: str | None = None


@dataclass(frozen=True, slots=True)
class Graded:
    """A problem with its answers, a turn each; None where there is none, which ends them."""

    problem: Problem
    answers: tuple[str | None, ...]
    #: Of a judge's comparison: the score is what its two games come to.
    score: Score
    games: Games | None = None
    #: From 0: the turn that the score is of.
    turn: int = 0

    @property
    def answer(self) -> str | None:
        return self.answers[self.turn] if self.turn < len(self.answers) else None


class Benchmark(ABC):
    name: ClassVar[str]
    #: The paper, and what it calls its figure.
    title: ClassVar[str]
    #: The name of the headline figure, and what it is multiplied with to be told.
    figure: ClassVar[str] = "accuracy, %"
    times: ClassVar[float] = 100.0
    #: The first part is what PATH is when it is a file.
    parts: ClassVar[tuple[Part, ...]]
    #: Fields of ``groups`` that figures are told by.
    by: ClassVar[tuple[str, ...]] = ()
    #: Whether a problem's reference goes into the job's rows; some are megabytes.
    keeps_reference: ClassVar[bool] = True

    #: The metric's name, and the judge's scale; a benchmark has one of them, or both.
    metric: ClassVar[str | None] = None
    scale: ClassVar[ScaleName | None] = None
    #: What a row is worth that was given up.
    least: ClassVar[float] = 0.0

    @abstractmethod
    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        """The problems of all records, in their order.

        Raises:
            DatasetError: a record is not as it was published.
        """

    def measure(self) -> Metric:
        """The metric that answers are measured by which no judge sees."""
        return METRICS[self.metric or ""]()

    def judged(self, problem: Problem) -> bool:
        """Whether a judge is to see the answer to it."""
        del problem
        return self.scale is not None

    def case(self, problem: Problem, answers: Sequence[str], turn: int) -> Case:
        """What is put before the judge."""
        messages = conversation(problem.turns[: turn + 1], answers[:turn])
        return Case(messages, answers[turn], other=problem.baseline, reference=problem.reference)

    def headline(self, graded: Sequence[Graded], seed: int) -> Mean | None:
        """The benchmark's own figure with its interval, before it is multiplied."""
        return mean([g.score.value for g in graded if g.score.value is not None], seed)

    def figures(
        self, graded: Sequence[Graded], records: Records, seed: int
    ) -> Mapping[str, float | int | None]:
        """Figures besides the headline, as they are to be told."""
        del graded, records, seed
        return {}


def conversation(turns: Sequence[str], answers: Sequence[str]) -> tuple[Message, ...]:
    """The turns with the answers between them."""
    messages: list[Message] = []
    for place, turn in enumerate(turns):
        messages.append(Message("user", turn))
        if place < len(answers):
            messages.append(Message("assistant", answers[place]))
    return tuple(messages)


def drawn(problems: Sequence[Problem], limit: int | None, seed: int) -> Sequence[Problem]:
    """So many problems, drawn by the seed, in their order: the first ones may be of one subject."""
    if limit is None or limit >= len(problems):
        return problems
    places = random.Random(seed).sample(range(len(problems)), limit)  # noqa: S311  (the same twice)
    return [problems[place] for place in sorted(places)]


def grouped(graded: Iterable[Graded], by: str) -> Mapping[str, Sequence[Graded]]:
    """The graded problems by a field of theirs; those without it are left out."""
    groups: dict[str, list[Graded]] = defaultdict(list)
    for one in graded:
        if by in one.problem.groups:
            groups[one.problem.groups[by]].append(one)
    return dict(sorted(groups.items()))
