# ruff: noqa: INP001, S101
"""An architecture run in this process, with replies made up here."""

from archon_batch_reviser import Reviser

from archon_batch.archon import (
    KINDS,
    Answer,
    Call,
    Message,
    Question,
    Reply,
    read_architecture,
    run,
)

ARCHITECTURE = read_architecture(
    {
        "name": "refine",
        "defaults": {"model": "scripted/plausible"},
        "layers": [{"type": "generator", "samples": 2}, {"type": "critic"}, {"type": "reviser"}],
    },
    {**KINDS, "reviser": Reviser},
)
QUESTION = Question("row-1", (Message("user", "What is 2 + 2?"),))


def answer(call: Call) -> Reply:
    # A form holds a reply that its reader accepts.
    return Reply(call.form.example if call.form else f"{call.kind} {call.key.slot}")


def test_every_candidate_is_revised_with_its_critique() -> None:
    revisions: list[Call] = []

    def listening(call: Call) -> Reply:
        revisions.extend([call] if call.kind == "reviser" else [])
        return answer(call)

    end, _ = run(ARCHITECTURE, QUESTION, listening)

    first, second = revisions
    assert isinstance(end, Answer)
    assert (end.text, end.candidate) == ("reviser 0", "2.0.0")
    assert "generator 1" in second.messages[-1].content
    assert "generator 1" not in first.messages[-1].content
    assert "Weaknesses: is brief" in first.messages[-1].content


def test_a_candidate_whose_revision_fails_goes_on_as_it_is() -> None:
    def failing(call: Call) -> Reply:
        return Reply(None, failure="refused") if call.kind == "reviser" else answer(call)

    end, _ = run(ARCHITECTURE, QUESTION, failing)

    assert isinstance(end, Answer)
    assert (end.text, end.candidate) == ("generator 0", "0.0.0")
    assert "0.0.0 goes on as it is" in [note.why for note in end.notes]
