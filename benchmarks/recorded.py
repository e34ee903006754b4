"""Recorded answers scored again by our metrics and our voter, beside the recorded grades.

    .venv/bin/python -m benchmarks.recorded FOLDER [--math]

FOLDER has some of ``gsm8k_5models_1319.jsonl``, ``gsm8k_5models_200.jsonl`` and
``math_l5_5models_150.jsonl``, a row a question: ``{"question", "gold", "candidates": [{"model",
"output", "correct"}]}``; or GSM8K's own ``example_model_solutions.jsonl``.
It prints the share of right answers of each model as it was recorded and as we find it, and that
of the majority by our voter, ties to the model that was better alone. Rows on which a grade is
not the recorded one are listed at the end. With --math the mathematics too, which takes minutes.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from archon_batch.archon import COMPONENT_TYPES, Candidate, Context, Question, State
from archon_batch.archon import Message as Said
from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.metrics import METRICS

Row = dict[str, Any]

#: What is voted for: the number that a text comes to, or what the field holds that was asked for.
#: A text that was cut off before the field has no vote; it may well have a last number.
_NUMBER = {"extract": "number"}
_FIELD = {"extract": "regex", "pattern": r'"answer":\s*"?((?:[^"\\\n]|\\.)*)'}


class Disagreement(NamedTuple):
    row: str
    model: str
    recorded: bool
    read: str | None
    gold: object


def read_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            yield row if "candidates" in row else _convert_gsm8k_row(number, row)


def _convert_gsm8k_row(number: int, row: Row) -> Row:
    """A row of GSM8K's own recorded solutions, with their calculator's notes left out."""
    candidates = [
        {
            "model": name,
            "output": re.sub(r"<<.*?>>", "", said["solution"]),
            "correct": said["is_correct"],
        }
        for name, said in row.items()
        if isinstance(said, dict)
    ]
    gold = row["ground_truth"].rpartition("A:")[2]
    return {"id": f"#{number}", "question": row["question"], "gold": gold, "candidates": candidates}


def grade_candidates(
    metric: Metric, found: Sequence[Row]
) -> tuple[dict[str, list[bool]], list[Any]]:
    """Each model's grades by us, and where they are not the recorded ones."""
    ours: dict[str, list[bool]] = defaultdict(list)
    others: list[Disagreement] = []
    for row in found:
        reference = metric.parse_reference(row["gold"])
        for candidate in row["candidates"]:
            score = metric.score(candidate["output"], reference)
            is_right = score.value == 1
            model = candidate["model"]
            ours[model].append(is_right)
            if is_right != candidate["correct"]:
                read = (
                    score.extracted
                    if score.unparsed_reason is None
                    else f"unread: {score.unparsed_reason}"
                )
                others.append(Disagreement(row["id"], model, not is_right, read, row["gold"]))
    return ours, others


def grade_majority(
    metric: Metric, found: Sequence[Row], order: Sequence[str], extract: dict[str, str]
) -> list[bool]:
    """Whether the majority is right in each row; the first models win ties."""
    voter = COMPONENT_TYPES["voter"].model_validate({"type": "voter", **extract})
    ends = []
    for row in found:
        said = sorted(row["candidates"], key=lambda c: order.index(c["model"]))
        state = State(tuple(Candidate(f"0.0.{n}", c["output"]) for n, c in enumerate(said)))
        question = Question(row["id"], (Said("user", row["question"]),))
        try:
            next(voter.run(Context(question, state, "1.0")))
        except StopIteration as end:
            (best,) = end.value[0].candidates
            ends.append(metric.score(best.text, metric.parse_reference(row["gold"])).value == 1)
    return ends


def percent(grades: Sequence[bool]) -> str:
    return f"{100 * sum(grades) / len(grades):6.2f} %"


def print_file(path: Path, metric: Metric, extract: dict[str, str]) -> list[Disagreement]:
    found = list(read_rows(path))
    ours, others = grade_candidates(metric, found)
    theirs: dict[str, list[bool]] = defaultdict(list)
    for row in found:
        for candidate in row["candidates"]:
            theirs[candidate["model"]].append(bool(candidate["correct"]))
    order = sorted(theirs, key=lambda model: -sum(theirs[model]))
    print(f"\n{path.name}, {len(found)} rows, by {metric.name}")
    print(f"{'':30}{'recorded':>10}{'ours':>10}")
    for model in order:
        print(f"{model:30}{percent(theirs[model]):>10}{percent(ours[model]):>10}")
    print(f"{'majority':30}{'':10}{percent(grade_majority(metric, found, order, extract)):>10}")
    print(f"{'oracle':30}{percent([any(g) for g in zip(*theirs.values(), strict=True)]):>10}")
    print(f"{len(others)} of {sum(map(len, ours.values()))} grades differ")
    return others


def main(folder: Path, *, mathematics: bool) -> None:
    packs = [("gsm8k_5models_1319.jsonl", "number", _FIELD)]
    packs += [("gsm8k_5models_200.jsonl", "number", _FIELD)]
    packs += [("example_model_solutions.jsonl", "number", _NUMBER)]
    packs += [("math_l5_5models_150.jsonl", "math", _FIELD)] if mathematics else []
    there = [pack for pack in packs if (folder / pack[0]).is_file()]
    if not there:
        sys.exit(f"{folder} has none of {', '.join(name for name, *_ in packs)}")
    for name, metric, extract in there:
        for other in print_file(folder / name, METRICS[metric](), extract):
            was = "right" if other.recorded else "wrong"
            print(f"  {other.row} {other.model}: recorded as {was}; "
                  f"we read {other.read!r:.100} against {str(other.gold)!r:.100}")  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), mathematics="--math" in sys.argv)
