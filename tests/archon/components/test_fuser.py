"""The fuser: what it asks, what it takes, what it does without."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    Candidate,
    ComponentWarning,
    Context,
    CountRange,
    Message,
    Reply,
    State,
)
from tests.builders import (
    a_component,
    a_context,
    a_question,
    candidates,
    first_requests,
    run_with_texts,
)

CRITIQUED = tuple(replace(c, critique=f"weak in {c.text}") for c in candidates("one", "two"))

LENGTH = "no longer than the longest"
FOLLOWED = "followed by a critique"


def prompt(fuser, context):
    return first_requests(fuser, context)[0].messages[-1].content


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_sample_is_one_call_about_all_candidates(count, samples):
    fuser = a_component("fuser", samples=samples, retries=1)

    requests = first_requests(fuser, a_context(*(f"text {n}" for n in range(count))))

    assert [(r.index, r.sample, r.reask, r.reply_format) for r in requests] == [
        (slot, slot, 0, None) for slot in range(samples)
    ]
    content = requests[0].messages[-1].content
    assert f"Below are {count} responses" in content
    assert [content.count(f"\ntext {n}\n") for n in range(count)] == [1] * count
    assert fuser.call_count(count) == CountRange(samples, samples)
    assert fuser.max_call_count(count) == 2 * samples
    assert fuser.output_count(count) == CountRange(samples, samples)


def test_the_prompt_has_the_question_before_and_after_the_candidates():
    content = prompt(a_component("fuser"), a_context("one", question=a_question("How high?")))

    assert content.startswith("The request:\nHow high?\n\n")
    assert content.endswith("\n\nThe request once more:\nHow high?")


def test_it_sends_earlier_turns_without_system_messages():
    earlier = (
        Message("system", "Answer in French."),
        Message("user", "Hello."),
        Message("assistant", "Good day."),
    )

    (request,) = first_requests(
        a_component("fuser"), a_context("one", question=a_question(earlier=earlier))
    )

    assert [m.role for m in request.messages] == ["system", "user", "assistant", "user"]
    assert request.messages[1:3] == earlier[1:]
    assert "French" not in request.messages[0].content


@pytest.mark.parametrize(
    ("knobs", "shown", "followed", "length"),
    [
        ({}, CRITIQUED, True, False),
        ({"use_critiques": True}, CRITIQUED, True, False),
        ({"length_control": True}, CRITIQUED, True, True),
        ({"use_critiques": False}, CRITIQUED, False, False),
        ({"use_critiques": False, "length_control": True}, CRITIQUED, False, True),
        ({}, candidates("one", "two"), False, False),
        ({"length_control": True}, candidates("one", "two"), False, True),
        ({}, (CRITIQUED[0], *candidates("two")), True, False),
    ],
)
def test_it_shows_critiques_and_limits_the_length_if_configured(knobs, shown, followed, length):
    content = prompt(a_component("fuser", **knobs), Context(a_question(), State(shown), "1.0"))

    assert (FOLLOWED in content) is followed
    assert (LENGTH in content) is length
    written = [c.critique for c in shown if c.critique is not None]
    assert [content.count(text) for text in written] == [int(followed)] * len(written)


@pytest.mark.parametrize(
    ("knobs", "needed"),
    [
        ({"use_critiques": True}, {"candidates", "critiques"}),
        ({"use_critiques": False}, {"candidates"}),
        ({}, {"candidates"}),
    ],
)
@pytest.mark.parametrize("kind", ["fuser", "ranker"])
def test_use_critiques_requires_critiques(kind, knobs, needed):
    assert a_component(kind, **knobs).effective_requires() == needed


def test_the_parents_of_its_candidates_are_all_shown_candidates():
    fuser = a_component("fuser", samples=2)

    run = run_with_texts(fuser, a_context("one", "two"), "both", " more ")

    parents = ("0.0.0", "0.0.1")
    assert run.contribution.candidates == (
        Candidate("1.0.0", "both", parents),
        Candidate("1.0.1", "more", parents),
    )
    assert run.warnings == ()


def test_a_blank_reply_is_asked_again_with_the_same_prompt():
    run = run_with_texts(a_component("fuser", retries=1), a_context("one"), "\n", "fused")

    (first,), (second,) = run.rounds
    assert (second.reask, second.messages) == (1, first.messages)
    assert [c.text for c in run.contribution.candidates or ()] == ["fused"]
    assert run.warnings == (ComponentWarning("unparsed", "the reply was empty"),)


def test_failed_and_blank_replies_give_warnings_and_no_candidates():
    fuser = a_component("fuser", samples=3, retries=0)

    run = run_with_texts(fuser, a_context("one"), Reply(None, failure="refused: no"), "", "fused")

    assert run.contribution.candidates == (Candidate("1.0.2", "fused", ("0.0.0",)),)
    assert run.warnings == (
        ComponentWarning("failed", "refused: no"),
        ComponentWarning("unparsed", "the reply was empty"),
        ComponentWarning("skipped", "2 of 3 candidates are missing"),
    )


@given(reply=st.text(), retries=st.integers(0, 10))
def test_any_text_is_accepted_unchanged(reply, retries):
    fuser = a_component("fuser", retries=retries)

    run = run_with_texts(fuser, a_context("one", "two"), reply)

    assert len(run.rounds) == (1 if reply.strip() else 1 + retries)
    assert [c.text for c in run.contribution.candidates or ()] == [
        text for text in [reply.strip()] if text
    ]
