"""The interface of benchmarks: published files, problems, and figures from graded answers."""

import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from archon_batch.archon import Message, ScaleName
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.judge_prompt import JudgeCase, PairwiseResult
from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.metrics import METRICS
from archon_batch.evaluation.statistics import MeanEstimate, bootstrap_mean
from archon_batch.scores import Score

#: The records of a benchmark by file set.
BenchmarkRecords = Mapping[str, Sequence[BenchmarkRecord]]


@dataclass(frozen=True, slots=True)
class FileSet:
    """Published files that belong together."""

    name: str
    #: Patterns below the benchmark's folder; the first that matches a file is used.
    patterns: tuple[str, ...]
    required: bool = True
    #: Whether to use the files of all patterns, not only of the first that matches.
    match_all_patterns: bool = False
    #: Column names of a CSV file without a header.
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a benchmark, with its reference."""

    id: str
    #: The user messages, turn by turn; each follows the answer to the previous one.
    turns: tuple[str, ...]
    #: The reference for the metric or the judge; for a judge of several turns, one per turn.
    reference: Any = None
    #: Fields to group figures by, such as a subject.
    groups: Mapping[str, str] = field(default_factory=dict)
    #: The answer to compare with.
    baseline_answer: str | None = None


@dataclass(frozen=True, slots=True)
class GradedTurn:
    """One turn of a problem with its score, and the answers of all turns so far."""

    problem: Problem
    answers: tuple[str | None, ...]
    #: For a pairwise comparison, its result gives the score.
    score: Score
    pairwise: PairwiseResult | None = None
    #: The turn that the score is for, from 0.
    turn: int = 0

    @property
    def answer(self) -> str | None:
        return self.answers[self.turn] if self.turn < len(self.answers) else None


class Benchmark(ABC):
    name: ClassVar[str]
    #: The name in the paper.
    title: ClassVar[str]
    #: The name of the headline figure, and the factor that scales it for display.
    headline_name: ClassVar[str] = "accuracy, %"
    headline_factor: ClassVar[float] = 100.0
    #: If PATH is a file, it is the first file set.
    file_sets: ClassVar[tuple[FileSet, ...]]
    #: Fields of ``groups`` to group the headline by.
    group_fields: ClassVar[tuple[str, ...]] = ()
    #: Whether the job's rows contain the reference; some are megabytes.
    stores_reference: ClassVar[bool] = True

    #: The name of the metric and the scale of the judge: a benchmark has one or both.
    metric_name: ClassVar[str | None] = None
    scale: ClassVar[ScaleName | None] = None
    #: The score of a failed row.
    min_score: ClassVar[float] = 0.0

    @abstractmethod
    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        """The problems of all records, in their order.

        Raises:
            DatasetError: a record is not in the published format; names file, line and field.
        """

    def make_metric(self) -> Metric:
        """The metric for answers that no judge rates."""
        return METRICS[self.metric_name or ""]()

    def needs_judge(self, problem: Problem) -> bool:
        """Whether a judge rates the answers to the problem."""
        del problem
        return self.scale is not None

    def judge_case(self, problem: Problem, answers: Sequence[str], turn: int) -> JudgeCase:
        """The case for the judge: the conversation up to this turn, and its answer."""
        messages = conversation(problem.turns[: turn + 1], answers[:turn])
        return JudgeCase(
            messages,
            answers[turn],
            baseline_answer=problem.baseline_answer,
            reference=problem.reference,
        )

    def headline(self, turns: Sequence[GradedTurn], seed: int) -> MeanEstimate | None:
        """The headline figure with its interval, before scaling."""
        return bootstrap_mean([g.score.value for g in turns if g.score.value is not None], seed)

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        """Figures besides the headline, by their display names."""
        del turns, records, seed
        return {}


def conversation(turns: Sequence[str], answers: Sequence[str]) -> tuple[Message, ...]:
    """The user messages with the answers between them."""
    messages: list[Message] = []
    for index, turn in enumerate(turns):
        messages.append(Message("user", turn))
        if index < len(answers):
            messages.append(Message("assistant", answers[index]))
    return tuple(messages)


def sample_problems(problems: Sequence[Problem], limit: int | None, seed: int) -> Sequence[Problem]:
    """A random sample of ``limit`` problems, in order: the first ones may share a subject."""
    if limit is None or limit >= len(problems):
        return problems
    indexes = random.Random(seed).sample(range(len(problems)), limit)  # noqa: S311  (not a secret)
    return [problems[index] for index in sorted(indexes)]


def group_by_field(
    turns: Iterable[GradedTurn], field_name: str
) -> Mapping[str, Sequence[GradedTurn]]:
    """The turns by a field of their problems; turns without the field are left out."""
    groups: dict[str, list[GradedTurn]] = defaultdict(list)
    for turn in turns:
        if field_name in turn.problem.groups:
            groups[turn.problem.groups[field_name]].append(turn)
    return dict(sorted(groups.items()))
