"""The prompts as text files, which are reviewed like code.

To write them anew after a change of the words: UPDATE_PROMPTS=1 pytest tests/archon/test_prompts.py
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from archon_batch.archon import Context, Message, State
from tests.builders import a_component, a_question, candidates, run_with_texts

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
TESTS = ("The response names a figure.", "The response names the year of its figure.")
EXAMINATION = "Two million is right for the city.\n\nIt is silent about what lies around it."

JSON = {"format": "json"}


@pytest.mark.parametrize(
    ("name", "kind", "knobs", "state"),
    [
        ("critic", "critic", {}, State(PLAIN)),
        ("critic-json", "critic", JSON, State(PLAIN)),
        ("ranker", "ranker", {}, State(PLAIN)),
        ("ranker-json", "ranker", JSON, State(PLAIN)),
        ("ranker-with-critiques", "ranker", {}, State(CRITIQUED)),
        ("fuser-with-critiques-and-length", "fuser", {"length_control": True}, State(CRITIQUED)),
        ("unit-test-generator", "unit_test_generator", {"unit_test_cap": 5}, State()),
        ("unit-test-generator-code", "unit_test_generator", {"kind": "code"}, State()),
        ("unit-test-generator-json", "unit_test_generator", JSON, State()),
        ("unit-test-evaluator", "unit_test_evaluator", {}, State(PLAIN, TESTS)),
        ("unit-test-evaluator-json", "unit_test_evaluator", JSON, State(PLAIN, TESTS)),
        ("generator-after-tests", "generator", {}, State((), TESTS)),
        ("verifier-argument", "verifier", {}, State(PLAIN)),
        ("verifier-verdict", "verifier", {}, State(PLAIN)),
        ("verifier-verdict-json", "verifier", JSON, State(PLAIN)),
        ("judge-rating", "judge", {}, State()),
        ("judge-comparison-with-opinions", "judge", {"scale": "comparison"}, State(PLAIN)),
    ],
)
def test_a_prompt_equals_its_reviewed_file(name, kind, knobs, state):
    question = a_question("How many people live there?", earlier=EARLIER)

    run = run_with_texts(a_component(kind, **knobs), Context(question, state, "1.0"), EXAMINATION)

    request, *_ = run.rounds[int("verdict" in name)]
    rendered = "\n".join(f"=== {m.role}\n{m.content}" for m in request.messages) + "\n"
    file = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_PROMPTS"):
        file.write_text(rendered, encoding="utf-8")
    assert rendered == file.read_text(encoding="utf-8"), "read this module's docstring"


def test_every_prompt_file_is_compared():
    named = test_a_prompt_equals_its_reviewed_file.pytestmark[0].args[1]

    assert {file.stem for file in FOLDER.iterdir()} == {name for name, *_ in named}
