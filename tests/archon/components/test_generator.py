"""The generator: what it asks, what it reads, what it does with rubbish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import Candidate, Message, Question, Reply, Scene, State
from archon_batch.archon.component import Bounds
from archon_batch.archon.steps import Reading
from tests.builders import a_component, a_question, a_scene, asked, played

SYSTEM = Message("system", "Answer in French.")
EARLIER = (Message("user", "Hello."), Message("assistant", "Good day."))
QUERY = Message("user", "What is 2 + 2?")


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_it_asks_once_for_each_sample_in_one_round(samples):
    generator = a_component("generator", samples=samples)

    requests = asked(generator, a_scene())

    assert [(r.slot, r.sample, r.again, r.form) for r in requests] == [
        (slot, slot, 0, None) for slot in range(samples)
    ]
    assert len({r.messages for r in requests}) == 1
    assert generator.calls(3) == Bounds(samples, samples)
    assert generator.leaves(3) == samples


@pytest.mark.parametrize("shown", [(), ("one",), ("one", "two"), tuple("abcdefg")])
def test_it_never_looks_at_the_candidates(shown):
    generator = a_component("generator")

    (request,) = asked(generator, a_scene(*shown))

    assert request == asked(generator, a_scene())[0]


@pytest.mark.parametrize(
    ("given", "no_system", "sent"),
    [
        ((QUERY,), False, (Message("system", "You are a helpful assistant."), QUERY)),
        ((SYSTEM, QUERY), False, (SYSTEM, QUERY)),
        ((*EARLIER, SYSTEM, QUERY), False, (*EARLIER, SYSTEM, QUERY)),
        ((QUERY,), True, (QUERY,)),
        ((SYSTEM, *EARLIER, QUERY), True, (*EARLIER, QUERY)),
        (
            (*EARLIER, QUERY),
            False,
            (Message("system", "You are a helpful assistant."), *EARLIER, QUERY),
        ),
    ],
)
def test_it_sends_the_questions_own_system_message_or_else_the_usual_one(given, no_system, sent):
    generator = a_component("generator", no_system=no_system)
    scene = Scene(Question("row-1", given), State(), "0.0")

    (request,) = asked(generator, scene)

    assert request.messages == sent


def test_its_candidates_are_named_after_the_calls_that_made_them():
    generator = a_component("generator", samples=3)
    scene = Scene(a_question(), State(), "0.4")

    play = played(generator, scene, " one\n", "two", "three")

    assert play.contribution.candidates == (
        Candidate("0.4.0", "one"),
        Candidate("0.4.1", "two"),
        Candidate("0.4.2", "three"),
    )
    assert play.readings == ()


def test_it_leaves_out_what_failed_or_was_blank_and_tells_of_it():
    generator = a_component("generator", samples=4)

    play = played(
        generator, a_scene(), "one", Reply(None, failure="refused: no"), " \n", Reply(None)
    )

    assert play.contribution.candidates == (Candidate("1.0.0", "one"),)
    assert play.readings == (
        Reading(failure="refused: no", done=False),
        Reading(("the reply was empty",), done=False),
        Reading(("the reply was empty",), done=False),
    )


@given(replies=st.lists(st.text(), min_size=1, max_size=3), retries=st.integers(0, 10))
def test_it_takes_any_text_as_it_is_and_asks_in_one_round(replies, retries):
    generator = a_component("generator", samples=3, retries=retries)

    play = played(generator, a_scene(), *replies)

    given = [replies[min(slot, len(replies) - 1)].strip() for slot in range(3)]
    assert len(play.rounds) == 1
    assert [c.text for c in play.contribution.candidates or ()] == [text for text in given if text]
