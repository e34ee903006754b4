# ruff: noqa: INP001, S101
"""An architecture run in this process, with replies from a function."""

from archon_batch_reviser import Reviser

from archon_batch.archon import (
    COMPONENT_TYPES,
    Answer,
    Call,
    Message,
    Question,
    Reply,
    read_architecture,
    run_item,
)

ARCHITECTURE = read_architecture(
    {
        "name": "refine",
        "defaults": {"model": "scripted/plausible"},
        "layers": [{"type": "generator", "samples": 2}, {"type": "critic"}, {"type": "reviser"}],
    },
    {**COMPONENT_TYPES, "reviser": Reviser},
)
QUESTION = Question("row-1", (Message("user", "What is 2 + 2?"),))


def complete(call: Call) -> Reply:
    # A reply format has an example that the component's parser accepts.
    if call.reply_format:
        return Reply(call.reply_format.example)
    return Reply(f"{call.component_type} {call.key.request_index}")


def test_every_candidate_is_revised_with_its_critique() -> None:
    revisions: list[Call] = []

    def recording(call: Call) -> Reply:
        revisions.extend([call] if call.component_type == "reviser" else [])
        return complete(call)

    end, _ = run_item(ARCHITECTURE, QUESTION, recording)

    first, second = revisions
    assert isinstance(end, Answer)
    assert (end.text, end.candidate_id) == ("reviser 0", "2.0.0")
    assert "generator 1" in second.messages[-1].content
    assert "generator 1" not in first.messages[-1].content
    assert "Weaknesses: is brief" in first.messages[-1].content


def test_a_candidate_is_kept_if_its_revision_fails() -> None:
    def failing(call: Call) -> Reply:
        refused = call.component_type == "reviser"
        return Reply(None, failure="refused") if refused else complete(call)

    end, _ = run_item(ARCHITECTURE, QUESTION, failing)

    assert isinstance(end, Answer)
    assert (end.text, end.candidate_id) == ("generator 0", "0.0.0")
    assert "0.0.0 is not revised" in [warning.why for warning in end.warnings]
