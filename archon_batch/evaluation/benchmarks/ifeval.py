"""IFEval: instructions that a program can check (Zhou et al., arXiv 2311.07911); 541 prompts.

The headline is the share of prompts all of whose instructions are followed, strictly. The other
three published figures stand beside it: by instruction, and loosely.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from archon_batch.evaluation.benchmarks.benchmark import Benchmark, Graded, Part, Problem, Records
from archon_batch.evaluation.benchmarks.instructions import follows, loosened
from archon_batch.evaluation.benchmarks.record import Record
from archon_batch.evaluation.metric import Metric, Score


class Instructions(Metric):
    """1 where every instruction is followed, else 0; ``read`` names those that are not."""

    name: ClassVar[str] = "ifeval"
    wants: ClassVar[str] = "instruction_id_list and kwargs, of one length"

    def prepared(self, reference: object) -> Sequence[tuple[str, Mapping[str, Any]]]:
        found = reference if isinstance(reference, dict) else {}
        names, keys = found.get("instruction_id_list"), found.get("kwargs")
        if not isinstance(names, list) or not isinstance(keys, list) or not names:
            raise ValueError(self.wants)
        if len(names) != len(keys) or not all(isinstance(one, dict) for one in keys):
            raise ValueError(self.wants)
        prepared = [(str(name), one) for name, one in zip(names, keys, strict=True)]
        for name, one in prepared:
            follows(name, one, "A text to see whether the instruction has all its keys.")
        return prepared

    def score(self, answer: str, reference: Sequence[tuple[str, Mapping[str, Any]]]) -> Score:
        broken = [name for name, keys in reference if not follows(name, keys, answer)]
        return Score(float(not broken), f"not followed: {', '.join(broken)}" if broken else "")


class IfEval(Benchmark):
    name: ClassVar[str] = "ifeval"
    metric: ClassVar[str | None] = "ifeval"
    title: ClassVar[str] = "IFEval"
    figure: ClassVar[str] = "prompts followed strictly, %"
    parts: ClassVar[tuple[Part, ...]] = (
        Part("prompts", ("input_data.jsonl", "data/input_data.jsonl", "ifeval_input_data.jsonl")),
    )

    def problems(self, records: Records, seed: int) -> Sequence[Problem]:
        del seed
        return [_problem(record) for record in records["prompts"]]

    def measure(self) -> Metric:
        return Instructions()

    def figures(
        self, graded: Sequence[Graded], records: Records, seed: int
    ) -> Mapping[str, float | int | None]:
        del records, seed
        strict = [_followed(one, loose=False) for one in graded]
        loose = [_followed(one, loose=True) for one in graded]
        return {
            "instructions followed strictly, %": _share([f for some in strict for f in some]),
            "prompts followed loosely, %": _share([all(some) for some in loose]),
            "instructions followed loosely, %": _share([f for some in loose for f in some]),
        }


def _problem(record: Record) -> Problem:
    # Some editions fill each instruction's keys up with those of the others, as null.
    keys = [
        {key: value for key, value in one.items() if value is not None}
        if isinstance(one, dict)
        else one
        for one in record.items("kwargs")
    ]
    reference = {"instruction_id_list": record.texts("instruction_id_list"), "kwargs": keys}
    try:
        Instructions().prepared(reference)
    except (ValueError, TypeError) as error:
        record.refuse(f"instruction_id_list: {error}")
    return Problem(record.name("key"), (record.text("prompt"),), reference)


def _followed(one: Graded, *, loose: bool) -> Sequence[bool]:
    reference = Instructions().prepared(one.problem.reference)
    texts = loosened(one.answer or "") if loose else [one.answer or ""]
    return [any(follows(name, keys, text) for text in texts) for name, keys in reference]


def _share(found: Sequence[bool]) -> float | None:
    return 100 * sum(found) / len(found) if found else None
