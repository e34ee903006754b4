"""The fuser: what it asks, what it reads, what it does with rubbish."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import Candidate, Message, Reply, Scene, State
from archon_batch.archon.component import Bounds
from archon_batch.archon.steps import Reading
from tests.builders import a_component, a_question, a_scene, asked, candidates, played

CRITIQUED = tuple(replace(c, critique=f"weak in {c.text}") for c in candidates("one", "two"))

LENGTH = "no longer than the longest"
FOLLOWED = "followed by a critique"


def prompt(fuser, scene):
    return asked(fuser, scene)[0].messages[-1].content


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_asks_once_for_each_sample_about_all_candidates(count, samples):
    fuser = a_component("fuser", samples=samples)

    requests = asked(fuser, a_scene(*(f"text {n}" for n in range(count))))

    assert [(r.slot, r.sample, r.again, r.form) for r in requests] == [
        (slot, slot, 0, None) for slot in range(samples)
    ]
    content = requests[0].messages[-1].content
    assert f"Below are {count} responses" in content
    assert [content.count(f"\ntext {n}\n") for n in range(count)] == [1] * count
    assert fuser.calls(count) == Bounds(samples, samples)
    assert fuser.leaves(count) == samples


def test_it_has_the_question_before_and_after_the_candidates():
    content = prompt(a_component("fuser"), a_scene("one", question=a_question("How high?")))

    assert content.startswith("The request:\nHow high?\n\n")
    assert content.endswith("\n\nThe request once more:\nHow high?")


def test_it_carries_earlier_turns_without_their_system_message():
    earlier = (
        Message("system", "Answer in French."),
        Message("user", "Hello."),
        Message("assistant", "Good day."),
    )

    (request,) = asked(a_component("fuser"), a_scene("one", question=a_question(earlier=earlier)))

    assert [m.role for m in request.messages] == ["system", "user", "assistant", "user"]
    assert request.messages[1:3] == earlier[1:]
    assert "French" not in request.messages[0].content


@pytest.mark.parametrize(
    ("knobs", "shown", "followed", "length"),
    [
        ({}, CRITIQUED, True, False),
        ({"length_control": True}, CRITIQUED, True, True),
        ({"use_critiques": False}, CRITIQUED, False, False),
        ({"use_critiques": False, "length_control": True}, CRITIQUED, False, True),
        ({}, candidates("one", "two"), False, False),
        ({"length_control": True}, candidates("one", "two"), False, True),
        ({}, (CRITIQUED[0], *candidates("two")), True, False),
    ],
)
def test_it_shows_critiques_and_asks_for_length_when_told_to(knobs, shown, followed, length):
    content = prompt(a_component("fuser", **knobs), Scene(a_question(), State(shown), "1.0"))

    assert (FOLLOWED in content) is followed
    assert (LENGTH in content) is length
    written = [c.critique for c in shown if c.critique is not None]
    assert [content.count(text) for text in written] == [int(followed)] * len(written)


def test_its_candidates_descend_from_all_that_it_saw():
    fuser = a_component("fuser", samples=2)

    play = played(fuser, a_scene("one", "two"), "both", " more ")

    parents = ("0.0.0", "0.0.1")
    assert play.contribution.candidates == (
        Candidate("1.0.0", "both", parents),
        Candidate("1.0.1", "more", parents),
    )


def test_it_leaves_out_what_failed_or_was_blank_and_tells_of_it():
    fuser = a_component("fuser", samples=3)

    play = played(fuser, a_scene("one"), Reply(None, failure="refused: no"), "", "fused")

    assert play.contribution.candidates == (Candidate("1.0.2", "fused", ("0.0.0",)),)
    assert play.readings == (
        Reading(failure="refused: no", done=False),
        Reading(("the reply was empty",), done=False),
    )


@given(reply=st.text(), retries=st.integers(0, 10))
def test_it_takes_any_text_as_it_is_and_asks_in_one_round(reply, retries):
    fuser = a_component("fuser", retries=retries)

    play = played(fuser, a_scene("one", "two"), reply)

    assert len(play.rounds) == 1
    assert [c.text for c in play.contribution.candidates or ()] == [
        text for text in [reply.strip()] if text
    ]
