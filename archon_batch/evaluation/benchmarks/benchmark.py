"""What a benchmark is: published files, problems made of them, and what answers to them come to."""

import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from archon_batch.archon import Message, ScaleName
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.judge_prompt import JudgeCase, PairwiseResult
from archon_batch.evaluation.metric import Metric, Score
from archon_batch.evaluation.metrics import METRICS
from archon_batch.evaluation.statistics import MeanEstimate, bootstrap_mean

#: The records of a benchmark's parts, by the parts' names.
BenchmarkRecords = Mapping[str, Sequence[BenchmarkRecord]]


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files that belong together, as their publisher names them."""

    name: str
    #: Patterns below the benchmark's folder; the first one that fits a file is taken.
    patterns: tuple[str, ...]
    required: bool = True
    #: Take the files of all patterns, and not of the first one alone.
    match_all_patterns: bool = False
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
    baseline_answer: str | None = None


@dataclass(frozen=True, slots=True)
class GradedTurn:
    """A problem with its answers, a turn each; None where there is none, which ends them."""

    problem: Problem
    answers: tuple[str | None, ...]
    #: Of a judge's comparison: the score is what its two games come to.
    score: Score
    pairwise: PairwiseResult | None = None
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
    headline_name: ClassVar[str] = "accuracy, %"
    headline_factor: ClassVar[float] = 100.0
    #: The first part is what PATH is when it is a file.
    file_sets: ClassVar[tuple[FileSet, ...]]
    #: Fields of ``groups`` that figures are told by.
    group_fields: ClassVar[tuple[str, ...]] = ()
    #: Whether a problem's reference goes into the job's rows; some are megabytes.
    stores_reference: ClassVar[bool] = True

    #: The metric's name, and the judge's scale; a benchmark has one of them, or both.
    metric_name: ClassVar[str | None] = None
    scale: ClassVar[ScaleName | None] = None
    #: What a row is worth that was given up.
    min_score: ClassVar[float] = 0.0

    @abstractmethod
    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        """The problems of all records, in their order.

        Raises:
            DatasetError: a record is not as it was published.
        """

    def make_metric(self) -> Metric:
        """The metric that answers are measured by which no judge sees."""
        return METRICS[self.metric_name or ""]()

    def needs_judge(self, problem: Problem) -> bool:
        """Whether a judge is to see the answer to it."""
        del problem
        return self.scale is not None

    def judge_case(self, problem: Problem, answers: Sequence[str], turn: int) -> JudgeCase:
        """What is put before the judge."""
        messages = conversation(problem.turns[: turn + 1], answers[:turn])
        return JudgeCase(
            messages,
            answers[turn],
            baseline_answer=problem.baseline_answer,
            reference=problem.reference,
        )

    def headline(self, turns: Sequence[GradedTurn], seed: int) -> MeanEstimate | None:
        """The benchmark's own figure with its interval, before it is multiplied."""
        return bootstrap_mean([g.score.value for g in turns if g.score.value is not None], seed)

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        """Figures besides the headline, as they are to be told."""
        del turns, records, seed
        return {}


def conversation(turns: Sequence[str], answers: Sequence[str]) -> tuple[Message, ...]:
    """The turns with the answers between them."""
    messages: list[Message] = []
    for place, turn in enumerate(turns):
        messages.append(Message("user", turn))
        if place < len(answers):
            messages.append(Message("assistant", answers[place]))
    return tuple(messages)


def sample_problems(problems: Sequence[Problem], limit: int | None, seed: int) -> Sequence[Problem]:
    """So many problems, drawn by the seed, in their order: the first ones may be of one subject."""
    if limit is None or limit >= len(problems):
        return problems
    places = random.Random(seed).sample(range(len(problems)), limit)  # noqa: S311  (the same twice)
    return [problems[place] for place in sorted(places)]


def group_by_field(
    turns: Iterable[GradedTurn], field_name: str
) -> Mapping[str, Sequence[GradedTurn]]:
    """The graded problems by a field of theirs; those without it are left out."""
    groups: dict[str, list[GradedTurn]] = defaultdict(list)
    for one in turns:
        if field_name in one.problem.groups:
            groups[one.problem.groups[field_name]].append(one)
    return dict(sorted(groups.items()))
