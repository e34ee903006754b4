"""IFEval: instructions that a program can check (Zhou et al., arXiv 2311.07911); 541 prompts.

The headline is the share of prompts all of whose instructions are followed, strictly. The other
three published figures stand beside it: by instruction, and loosely.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from archon_batch.evaluation.benchmarks.benchmark import (
    Benchmark,
    BenchmarkRecords,
    FileSet,
    GradedTurn,
    Problem,
)
from archon_batch.evaluation.benchmarks.instructions import follows_instruction, loose_variants
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord
from archon_batch.evaluation.metric import Metric, Score


class InstructionsMetric(Metric):
    """1 where every instruction is followed, else 0; ``read`` names those that are not."""

    name: ClassVar[str] = "ifeval"
    expected_reference: ClassVar[str] = "instruction_id_list and kwargs, of one length"

    def parse_reference(self, reference: object) -> Sequence[tuple[str, Mapping[str, Any]]]:
        found = reference if isinstance(reference, dict) else {}
        names, keys = found.get("instruction_id_list"), found.get("kwargs")
        if not isinstance(names, list) or not isinstance(keys, list) or not names:
            raise ValueError(self.expected_reference)
        if len(names) != len(keys) or not all(isinstance(one, dict) for one in keys):
            raise ValueError(self.expected_reference)
        prepared = [(str(name), one) for name, one in zip(names, keys, strict=True)]
        for name, one in prepared:
            follows_instruction(
                name, one, "A text to see whether the instruction has all its keys."
            )
        return prepared

    def score(self, answer: str, reference: Sequence[tuple[str, Mapping[str, Any]]]) -> Score:
        broken = [name for name, keys in reference if not follows_instruction(name, keys, answer)]
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
        return [_make_problem(record) for record in records["prompts"]]

    def make_metric(self) -> Metric:
        return InstructionsMetric()

    def extra_figures(
        self, turns: Sequence[GradedTurn], records: BenchmarkRecords, seed: int
    ) -> Mapping[str, float | int | None]:
        del records, seed
        strict = [_instructions_followed(one, loose=False) for one in turns]
        loose = [_instructions_followed(one, loose=True) for one in turns]
        return {
            "instructions followed strictly, %": _percent_true(
                [f for some in strict for f in some]
            ),
            "prompts followed loosely, %": _percent_true([all(some) for some in loose]),
            "instructions followed loosely, %": _percent_true([f for some in loose for f in some]),
        }


def _make_problem(record: BenchmarkRecord) -> Problem:
    # Some editions fill each instruction's keys up with those of the others, as null.
    keys = [
        {key: value for key, value in one.items() if value is not None}
        if isinstance(one, dict)
        else one
        for one in record.get_list("kwargs")
    ]
    reference = {"instruction_id_list": record.get_text_list("instruction_id_list"), "kwargs": keys}
    try:
        InstructionsMetric().parse_reference(reference)
    except (ValueError, TypeError) as error:
        record.reject(f"instruction_id_list: {error}")
    return Problem(record.get_id("key"), (record.get_text("prompt"),), reference)


def _instructions_followed(one: GradedTurn, *, loose: bool) -> Sequence[bool]:
    reference = InstructionsMetric().parse_reference(one.problem.reference)
    texts = loose_variants(one.answer or "") if loose else [one.answer or ""]
    return [
        any(follows_instruction(name, keys, text) for text in texts) for name, keys in reference
    ]


def _percent_true(found: Sequence[bool]) -> float | None:
    return 100 * sum(found) / len(found) if found else None
