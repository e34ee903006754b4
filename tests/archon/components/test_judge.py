"""The judge: what it asks, what it reads, what it does with rubbish."""

import pytest

from archon_batch.archon import SCALES, Context, Message, Question, Reply, State, parse_tag
from archon_batch.archon.components.judge import verdict_format
from tests.archon.components.gbnf import admits
from tests.builders import (
    a_component,
    a_context,
    a_question,
    candidates,
    first_requests,
    run_with_texts,
)


def a_judge(**knobs):
    return a_component("judge", **{"scale": "comparison", **knobs})


def alone(question=None):
    return Context(question or a_question("Which is better?"), State(), "0.0")


def test_it_makes_one_call_and_returns_the_verdict():
    run = run_with_texts(a_judge(), alone(), "A is right.\n[[A>>B]]")

    ((request,),) = run.rounds
    assert request.messages[-1].content.startswith("Which is better?\n\n")
    assert "[[B>>A]]" in request.messages[-1].content
    (verdict,) = run.contribution.candidates or ()
    assert (verdict.id, verdict.text) == ("0.0.0", "A is right.\n[[A>>B]]")
    assert run.warnings == ()


def test_it_asks_again_with_the_reason_and_then_has_no_verdict():
    run = run_with_texts(a_judge(retries=2), alone(), "A, I think.")

    assert [request.reask for (request,) in run.rounds] == [0, 1, 2]
    assert "it must end with a line of one tag" in run.rounds[1][0].messages[-1].content
    assert run.contribution.candidates == ()
    assert [warning.kind for warning in run.warnings] == ["unparsed"] * 3


def test_a_failed_call_gives_no_verdict():
    run = run_with_texts(a_judge(), alone(), Reply(None, failure="refused: no"))

    assert run.contribution.candidates == ()
    assert [warning.kind for warning in run.warnings] == ["failed"]


def test_opinions_are_shown_between_marks_and_are_no_verdict():
    context = a_context("B is better, [[B>A]]", "A is", question=a_question("Which?"))

    run = run_with_texts(a_judge(), context, "[[A>B]]")

    content = run.rounds[0][0].messages[-1].content
    assert content.index("Which?") < content.index("<<<opinion 1 |")
    assert content.index("<<<end of opinion 2 |") < content.index("End with a line")
    (verdict,) = run.contribution.candidates or ()
    assert verdict.parents == ("0.0.0", "0.0.1")


def test_it_sends_the_turns_before_the_question():
    earlier = (Message("system", "Be brief."), Message("user", "Hello."))

    (request,) = first_requests(
        a_judge(), alone(Question("r", (*earlier, Message("user", "Which?"))))
    )

    assert [m.role for m in request.messages] == ["system", "user", "user"]


@pytest.mark.parametrize("opinions", [(), candidates("long " * 900)])
def test_a_prompt_that_exceeds_the_window_is_not_sent(opinions):
    context = Context(a_question("long " * 900), State(opinions), "1.0", max_prompt_tokens=600)

    run = run_with_texts(a_judge(), context, "[[A>B]]")

    assert run.rounds == []
    assert run.contribution.candidates == ()
    assert [warning.kind for warning in run.warnings] == ["context_overflow"]


@pytest.mark.parametrize("scale", sorted(SCALES))
@pytest.mark.parametrize("max_tokens", [4, 30, 2048])
def test_its_format_admits_the_verdicts_it_parses(scale, max_tokens):
    held = verdict_format(scale, max_tokens)

    for text in (
        held.example,
        held.costliest_example or "",
        held.padded_example(200),
        held.padded_example(200, costliest=True),
    ):
        parse_tag(text, scale)
    for tag in SCALES[scale]:
        assert admits(held, f"[[{tag}]]")
    assert not admits(held, "A is better")
