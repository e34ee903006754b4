"""The generator: what it asks, what it takes, what it does without."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    Candidate,
    ComponentWarning,
    Context,
    CountRange,
    Message,
    Question,
    Reply,
    State,
)
from tests.builders import a_component, a_context, a_question, first_requests, run_with_texts

SYSTEM = Message("system", "Answer in French.")
EARLIER = (Message("user", "Hello."), Message("assistant", "Good day."))
QUERY = Message("user", "What is 2 + 2?")

EMPTY = ComponentWarning("unparsed", "the reply was empty")
CUT = ComponentWarning("truncated", "a text is truncated at max_tokens")


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_all_samples_are_requested_in_one_round(samples):
    generator = a_component("generator", samples=samples, retries=3)

    requests = first_requests(generator, a_context())

    assert [(r.index, r.sample, r.reask, r.reply_format) for r in requests] == [
        (slot, slot, 0, None) for slot in range(samples)
    ]
    assert len({r.messages for r in requests}) == 1
    assert generator.call_count(3) == CountRange(samples, samples)
    assert generator.max_call_count(3) == 4 * samples
    assert generator.output_count(3) == CountRange(samples, samples)


@pytest.mark.parametrize("shown", [(), ("one",), ("one", "two"), tuple("abcdefg")])
def test_it_does_not_read_candidates(shown):
    generator = a_component("generator")

    (request,) = first_requests(generator, a_context(*shown))

    assert request == first_requests(generator, a_context())[0]


@pytest.mark.parametrize(
    ("given", "no_system", "sent"),
    [
        ((QUERY,), False, (Message("system", "You are a helpful assistant."), QUERY)),
        ((SYSTEM, QUERY), False, (SYSTEM, QUERY)),
        ((*EARLIER, SYSTEM, QUERY), False, (*EARLIER, SYSTEM, QUERY)),
        ((QUERY,), True, (QUERY,)),
        (
            (SYSTEM, *EARLIER, QUERY),
            True,
            (
                Message("user", f"{SYSTEM.content}\n\n{EARLIER[0].content}"),
                *EARLIER[1:],
                QUERY,
            ),
        ),
        (
            (*EARLIER, QUERY),
            False,
            (Message("system", "You are a helpful assistant."), *EARLIER, QUERY),
        ),
    ],
)
def test_it_sends_the_question_s_system_message_or_the_default(given, no_system, sent):
    generator = a_component("generator", no_system=no_system)
    context = Context(Question("row-1", given), State(), "0.0")

    (request,) = first_requests(generator, context)

    assert request.messages == sent


def test_candidate_ids_are_the_keys_of_their_calls():
    generator = a_component("generator", samples=3)
    context = Context(a_question(), State(), "0.4")

    run = run_with_texts(generator, context, " one\n", "two", "three")

    assert run.contribution.candidates == (
        Candidate("0.4.0", "one"),
        Candidate("0.4.1", "two"),
        Candidate("0.4.2", "three"),
    )
    assert run.warnings == ()


def test_a_blank_reply_is_asked_again_with_the_same_prompt():
    generator = a_component("generator", samples=2, retries=2)

    run = run_with_texts(generator, a_context(), "one", " \n", Reply(None), "two")

    first, second, third = run.rounds
    assert [(r.index, r.reask) for r in (*first, *second, *third)] == [
        *((0, 0), (1, 0)),
        *((1, 1), (1, 2)),
    ]
    assert len({(r.messages, r.sample) for r in (first[1], *second, *third)}) == 1
    assert [c.text for c in run.contribution.candidates or ()] == ["one", "two"]
    assert run.warnings == (EMPTY, EMPTY)


def test_failed_and_blank_replies_give_warnings_and_no_candidates():
    generator = a_component("generator", samples=3, retries=1)

    run = run_with_texts(generator, a_context(), "one", Reply(None, failure="refused: no"), " \n")

    assert run.contribution.candidates == (Candidate("1.0.0", "one"),)
    assert [len(requests) for requests in run.rounds] == [3, 1]
    assert run.warnings == (
        ComponentWarning("failed", "refused: no"),
        EMPTY,
        EMPTY,
        ComponentWarning("skipped", "2 of 3 candidates are missing"),
    )


def test_a_truncated_text_is_a_candidate_with_a_warning():
    run = run_with_texts(
        a_component("generator"), a_context(), Reply("one, tw", finish_reason="length")
    )

    assert run.contribution.candidates == (Candidate("1.0.0", "one, tw"),)
    assert run.warnings == (CUT,)


def test_a_model_that_used_all_tokens_for_reasoning_is_not_asked_again():
    run = run_with_texts(a_component("generator"), a_context(), Reply(" ", finish_reason="length"))

    assert len(run.rounds) == 1
    assert run.contribution.candidates == ()
    assert run.warnings == (
        ComponentWarning("unparsed", "the model used all of max_tokens for reasoning"),
        ComponentWarning("skipped", "1 of 1 candidates are missing"),
    )


@given(replies=st.lists(st.text(), min_size=1, max_size=9), retries=st.integers(0, 10))
def test_any_text_is_accepted_unchanged(replies, retries):
    generator = a_component("generator", samples=3, retries=retries)

    run = run_with_texts(generator, a_context(), *replies)

    texts = [c.text for c in run.contribution.candidates or ()]
    blank = sum(not reply.strip() for reply in replies)
    assert sum(map(len, run.rounds)) <= generator.max_call_count(0)
    assert all(text.strip() == text for text in texts)
    assert set(texts) <= {reply.strip() for reply in replies}
    assert len(texts) == 3 or blank
