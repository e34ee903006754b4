"""Published answers of a model: the baseline that a benchmark compares with."""

from collections.abc import Iterable, Mapping

from archon_batch.evaluation.benchmarks.record import Record


def by_id(records: Iterable[Record]) -> Mapping[tuple[str, str], str]:
    """Arena-Hard's answers, by model and question; both editions of its format."""
    found: dict[tuple[str, str], str] = {}
    for record in records:
        model = record.name("model", "model_id")
        found[model, record.name("uid", "question_id")] = _last(record)
    return found


def by_instruction(records: Iterable[Record]) -> Mapping[str, str]:
    """AlpacaEval's outputs, by the instruction as it stands: they have no ids."""
    return {record.text("instruction"): record.text("output") for record in records}


def _last(record: Record) -> str:
    """The text of the last message, in ``messages`` or in the turns of ``choices``."""
    found = record.get("messages", "choices")
    inner = found[-1] if isinstance(found, list) and found else None
    if isinstance(inner, dict) and "turns" in inner:
        inner = inner["turns"][-1] if inner["turns"] else None
    while isinstance(inner, dict):
        inner = inner.get("content", inner.get("answer"))
    if not isinstance(inner, str):
        record.refuse("messages: expected an answer in the last one")
    return inner
