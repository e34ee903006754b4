"""Published answers of baseline models."""

from collections.abc import Iterable, Mapping

from archon_batch.evaluation.benchmarks.record import BenchmarkRecord


def answers_by_model_and_question(
    records: Iterable[BenchmarkRecord],
) -> Mapping[tuple[str, str], str]:
    """Arena-Hard's answers by model and question id, in the format of either edition."""
    answers: dict[tuple[str, str], str] = {}
    for record in records:
        model = record.get_id("model", "model_id")
        answers[model, record.get_id("uid", "question_id")] = _last_message_text(record)
    return answers


def outputs_by_instruction(records: Iterable[BenchmarkRecord]) -> Mapping[str, str]:
    """AlpacaEval's outputs by instruction; they have no ids."""
    return {record.get_text("instruction"): record.get_text("output") for record in records}


def _last_message_text(record: BenchmarkRecord) -> str:
    """The text of the last message, in ``messages`` or in the turns of ``choices``."""
    value = record.get_required("messages", "choices")
    inner = value[-1] if isinstance(value, list) and value else None
    if isinstance(inner, dict) and "turns" in inner:
        inner = inner["turns"][-1] if inner["turns"] else None
    while isinstance(inner, dict):
        inner = inner.get("content", inner.get("answer"))
    if not isinstance(inner, str):
        record.reject("messages: expected an answer in the last one")
    return inner
