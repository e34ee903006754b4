"""IFEval: instructions that a program can check (Zhou et al., arXiv 2311.07911); 541 prompts.

The headline is the share of prompts whose instructions are all followed strictly. The other three
published figures are reported too: by instruction, and loosely.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    GradedTurn,
    Problem,
)
from archon_batch.evaluation.benchmarks.instructions import follows_instruction, loose_variants
from archon_batch.evaluation.benchmarks.language import load_langdetect
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.metric import Metric
from archon_batch.scores import Score


class InstructionsMetric(Metric):
    """1 if the answer follows every instruction, else 0; ``extracted`` names the others."""

    name: ClassVar[str] = "ifeval"
    expected_reference: ClassVar[str] = "instruction_id_list and kwargs of the same length"

    def parse_reference(self, reference: object) -> Sequence[tuple[str, Mapping[str, Any]]]:
        fields = reference if isinstance(reference, dict) else {}
        names, kwargs = fields.get("instruction_id_list"), fields.get("kwargs")
        if not isinstance(names, list) or not isinstance(kwargs, list) or not names:
            raise ValueError(self.expected_reference)
        if len(names) != len(kwargs) or not all(isinstance(one, dict) for one in kwargs):
            raise ValueError(self.expected_reference)
        instructions = [(str(name), one) for name, one in zip(names, kwargs, strict=True)]
        for name, one in instructions:
            follows_instruction(name, one, "Any text: the check fails if a kwarg is missing.")
        return instructions

    def score(self, answer: str, reference: Sequence[tuple[str, Mapping[str, Any]]]) -> Score:
        broken = [
            name for name, kwargs in reference if not follows_instruction(name, kwargs, answer)
        ]
        return Score(float(not broken), f"not followed: {', '.join(broken)}" if broken else "")


class IfEval(Benchmark):
    name: ClassVar[str] = "ifeval"
    metric_name: ClassVar[str | None] = "ifeval"
    title: ClassVar[str] = "IFEval"
    headline_name: ClassVar[str] = "prompts followed strictly, %"
    file_sets: ClassVar[tuple[FileSet, ...]] = (
        FileSet(
            "prompts", ("input_data.jsonl", "data/input_data.jsonl", "ifeval_input_data.jsonl")
        ),
    )

    def problems(self, records: BenchmarkRecords, seed: int) -> Sequence[Problem]:
        del seed
        # Before any call is paid.
        load_langdetect()
        return [_make_problem(record) for record in records["prompts"]]

    def make_metric(self) -> Metric:
        return InstructionsMetric()

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        del records, seed
        strict = [_instructions_followed(turn, loose=False) for turn in turns]
        loose = [_instructions_followed(turn, loose=True) for turn in turns]
        return {
            "instructions followed strictly, %": _percent_true(list(chain(*strict))),
            "prompts followed loosely, %": _percent_true(list(map(all, loose))),
            "instructions followed loosely, %": _percent_true(list(chain(*loose))),
        }


def _make_problem(record: BenchmarkRecord) -> Problem:
    # Some editions give every instruction the kwargs of all instructions, with null for absent.
    kwargs = [
        {key: value for key, value in one.items() if value is not None}
        if isinstance(one, dict)
        else one
        for one in record.get_list("kwargs")
    ]
    reference = {
        "instruction_id_list": record.get_text_list("instruction_id_list"),
        "kwargs": kwargs,
    }
    try:
        InstructionsMetric().parse_reference(reference)
    except (ValueError, TypeError) as error:
        record.reject(f"instruction_id_list: {error}")
    return Problem(record.get_id("key"), (record.get_text("prompt"),), reference)


def _instructions_followed(turn: GradedTurn, *, loose: bool) -> Sequence[bool]:
    reference = InstructionsMetric().parse_reference(turn.problem.reference)
    texts = loose_variants(turn.answer or "") if loose else [turn.answer or ""]
    return [
        any(follows_instruction(name, kwargs, text) for text in texts) for name, kwargs in reference
    ]


def _percent_true(values: Sequence[bool]) -> float | None:
    return 100 * sum(values) / len(values) if values else None
