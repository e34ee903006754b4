"""The prompts as text files, which are reviewed like code.

To write them anew after a change of the words: UPDATE_PROMPTS=1 pytest tests/archon/test_prompts.py
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from archon_batch.archon import Message, Scene, State
from tests.builders import a_component, a_question, asked, candidates

FOLDER = Path(__file__).parent / "prompts"

EARLIER = (
    Message("system", "You are a geography teacher."),
    Message("user", "What is the capital of France?"),
    Message("assistant", "Paris."),
)
PLAIN = candidates("About two million people.", "2.1 million in the city,\n\n12 million around it.")
CRITIQUED = (
    replace(PLAIN[0], critique="Strengths: short.\nWeaknesses: it leaves out the suburbs."),
    replace(PLAIN[1], critique="Strengths: it tells both figures.\nWeaknesses: it names no year."),
)


@pytest.mark.parametrize(
    ("name", "kind", "knobs", "shown"),
    [
        ("critic", "critic", {}, PLAIN),
        ("ranker", "ranker", {}, PLAIN),
        ("ranker-with-critiques", "ranker", {}, CRITIQUED),
        ("fuser-with-critiques-and-length", "fuser", {"length_control": True}, CRITIQUED),
    ],
)
def test_a_prompt_reads_as_it_was_reviewed(name, kind, knobs, shown):
    question = a_question("How many people live there?", earlier=EARLIER)

    (request,) = asked(a_component(kind, **knobs), Scene(question, State(shown), "1.0"))

    rendered = "\n".join(f"=== {m.role}\n{m.content}" for m in request.messages) + "\n"
    file = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_PROMPTS"):
        file.write_text(rendered, encoding="utf-8")
    assert rendered == file.read_text(encoding="utf-8"), "read this module's docstring"
