"""Recorded answers scored by our metrics and our voter, compared with the recorded grades.

    .venv/bin/python -m benchmarks.recorded FOLDER [--math]

FOLDER contains some of ``gsm8k_5models_1319.jsonl``, ``gsm8k_5models_200.jsonl`` and
``math_l5_5models_150.jsonl``, one row per question: ``{"question", "gold", "candidates": [{"model",
"output", "correct"}]}``; or GSM8K's own ``example_model_solutions.jsonl``. The output has each model's
share of correct answers as recorded and as we grade it, and that of a majority vote by our voter, with
ties to the better model. It ends with the rows whose grade differs. ``--math`` adds mathematics, which
takes minutes.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from archon_batch.archon import COMPONENT_TYPES, Candidate, Context, Question, State
from archon_batch.archon import Message as ChatMessage
from archon_batch.evaluation.metric import Metric
from archon_batch.evaluation.metrics import METRICS

Row = dict[str, Any]

#: What the voter extracts: the final number, or the field ``answer`` that the prompt asked for. A text
#: truncated before the field has no vote, although it may have a last number.
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
    """A row of GSM8K's own recorded solutions, without the calculator annotations."""
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
    metric: Metric, recorded_rows: Sequence[Row]
) -> tuple[dict[str, list[bool]], list[Any]]:
    """Our grades by model, and where they differ from the recorded ones."""
    our_grades: dict[str, list[bool]] = defaultdict(list)
    disagreements: list[Disagreement] = []
    for row in recorded_rows:
        reference = metric.parse_reference(row["gold"])
        for candidate in row["candidates"]:
            score = metric.score(candidate["output"], reference)
            is_right = score.value == 1
            model = candidate["model"]
            our_grades[model].append(is_right)
            if is_right != candidate["correct"]:
                read = (
                    score.extracted
                    if score.unparsed_reason is None
                    else f"unparsed: {score.unparsed_reason}"
                )
                disagreements.append(
                    Disagreement(row["id"], model, not is_right, read, row["gold"])
                )
    return our_grades, disagreements


def grade_majority(
    metric: Metric, recorded_rows: Sequence[Row], order: Sequence[str], extract: dict[str, str]
) -> list[bool]:
    """Whether the majority vote is right, row by row; ties go to the earlier model."""
    voter = COMPONENT_TYPES["voter"].model_validate({"type": "voter", **extract})
    ends = []
    for row in recorded_rows:
        said = sorted(row["candidates"], key=lambda c: order.index(c["model"]))
        state = State(tuple(Candidate(f"0.0.{n}", c["output"]) for n, c in enumerate(said)))
        question = Question(row["id"], (ChatMessage("user", row["question"]),))
        try:
            next(voter.run(Context(question, state, "1.0")))
        except StopIteration as end:
            (best,) = end.value[0].candidates
            ends.append(metric.score(best.text, metric.parse_reference(row["gold"])).value == 1)
    return ends


def percent(grades: Sequence[bool]) -> str:
    return f"{100 * sum(grades) / len(grades):6.2f} %"


def print_file(path: Path, metric: Metric, extract: dict[str, str]) -> list[Disagreement]:
    recorded_rows = list(read_rows(path))
    our_grades, disagreements = grade_candidates(metric, recorded_rows)
    recorded_grades: dict[str, list[bool]] = defaultdict(list)
    for row in recorded_rows:
        for candidate in row["candidates"]:
            recorded_grades[candidate["model"]].append(bool(candidate["correct"]))
    order = sorted(recorded_grades, key=lambda model: -sum(recorded_grades[model]))
    print(f"\n{path.name}, {len(recorded_rows)} rows, by {metric.name}")
    print(f"{'':30}{'recorded':>10}{'ours':>10}")
    for model in order:
        print(f"{model:30}{percent(recorded_grades[model]):>10}{percent(our_grades[model]):>10}")
    print(
        f"{'majority':30}{'':10}{percent(grade_majority(metric, recorded_rows, order, extract)):>10}"
    )
    print(
        f"{'oracle':30}{percent([any(g) for g in zip(*recorded_grades.values(), strict=True)]):>10}"
    )
    print(f"{len(disagreements)} of {sum(map(len, our_grades.values()))} grades differ")
    return disagreements


def main(folder: Path, *, mathematics: bool) -> None:
    packs = [("gsm8k_5models_1319.jsonl", "number", _FIELD)]
    packs += [("gsm8k_5models_200.jsonl", "number", _FIELD)]
    packs += [("example_model_solutions.jsonl", "number", _NUMBER)]
    packs += [("math_l5_5models_150.jsonl", "math", _FIELD)] if mathematics else []
    there = [pack for pack in packs if (folder / pack[0]).is_file()]
    if not there:
        sys.exit(f"{folder} has none of {', '.join(name for name, *_ in packs)}")
    for name, metric, extract in there:
        for disagreement in print_file(folder / name, METRICS[metric](), extract):
            was = "right" if disagreement.recorded else "wrong"
            print(f"  {disagreement.row} {disagreement.model}: recorded as {was}; "
                  f"we extract {disagreement.read!r:.100} against {str(disagreement.gold)!r:.100}")  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), mathematics="--math" in sys.argv)
