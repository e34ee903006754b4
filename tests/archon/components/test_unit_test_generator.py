"""The unit test generator: what it asks, what it reads, what it does with rubbish."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archon_batch.archon import (
    ComponentWarning,
    Context,
    CountRange,
    Message,
    Reply,
    ReplyParseError,
    State,
)
from archon_batch.archon.components.unit_test_generator import (
    json_format,
    parse_json_tests,
    parse_tests,
    text_format,
)
from tests.archon.components.gbnf import admits, as_regex
from tests.archon.components.running import request_indices
from tests.builders import (
    a_component,
    a_context,
    a_question,
    candidates,
    first_requests,
    run_with_texts,
)

KIND = "unit_test_generator"
NONE = ComponentWarning("skipped", "there are no unit tests")
TESTS = ("It names a city.", "It names a year.")


def told(*tests):
    return json.dumps(tests)


@pytest.mark.parametrize("samples", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_each_sample_is_one_call_for_any_candidates(samples, count):
    generator = a_component(KIND, samples=samples, retries=2)

    requests = first_requests(generator, a_context(*(f"text {n}" for n in range(count))))

    assert [(r.index, r.sample, r.reask) for r in requests] == [(n, n, 0) for n in range(samples)]
    assert len({r.messages for r in requests}) == 1
    assert "text 0" not in requests[0].messages[-1].content
    assert generator.call_count(count) == CountRange(samples, samples)
    assert generator.max_call_count(count) == 3 * samples
    assert generator.output_count(count) == CountRange(count, count)


@pytest.mark.parametrize(
    ("cap", "wanted"),
    [(None, "Write unit tests that"), (1, "exactly 1 unit test that"), (5, "exactly 5 unit tests")],
)
@pytest.mark.parametrize(("words", "shape"), [("text", text_format), ("json", json_format)])
def test_it_asks_for_the_configured_number_and_format(cap, wanted, words, shape):
    (request,) = first_requests(a_component(KIND, unit_test_cap=cap, format=words), a_context())

    content = request.messages[-1].content
    assert wanted in content
    assert ('key, "tests"' in content) is (words == "json")
    assert request.reply_format == shape(cap)


def test_the_prompt_has_the_request_and_earlier_turns_but_no_earlier_tests():
    earlier = (Message("system", "Answer in French."), Message("user", "Hello."))
    context = Context(a_question(earlier=earlier), State((), ("It is old.",)), "1.0")

    (request,) = first_requests(a_component(KIND), context)

    assert [m.role for m in request.messages] == ["system", "user", "user"]
    assert request.messages[1] == earlier[1]
    assert "\n\nThe request:\nWhat is 2 + 2?\n\nWrite unit" in request.messages[2].content
    assert "old" not in request.messages[2].content


@pytest.mark.parametrize(
    ("knobs", "reply"), [({}, told(*TESTS)), ({"format": "json"}, json.dumps({"tests": TESTS}))]
)
def test_its_tests_go_into_the_state_and_candidates_are_unchanged(knobs, reply):
    run = run_with_texts(a_component(KIND, **knobs), a_context("one"), reply)

    assert run.contribution.unit_tests == TESTS
    assert run.contribution.candidates is None
    assert run.warnings == ()


def test_distinct_tests_of_all_samples_are_kept_in_order():
    generator = a_component(KIND, samples=3)

    run = run_with_texts(
        generator, a_context(), told("b", "a"), told("a", "c  c", "b"), told("c c", "d")
    )

    assert run.contribution.unit_tests == ("b", "a", "c c", "d")


def test_a_failed_sample_gives_a_warning_and_the_other_samples_count():
    generator = a_component(KIND, samples=3, retries=0)

    run = run_with_texts(generator, a_context(), "no", Reply(None, failure="lost"), told(*TESTS))

    assert run.contribution.unit_tests == TESTS
    assert [warning.kind for warning in run.warnings] == ["unparsed", "failed"]


@pytest.mark.parametrize(
    ("replies", "asked_for", "kinds"),
    [
        ([Reply(None, failure="lost")], [0], ["failed"]),
        (["", "Tests?"], [0, 0], ["unparsed", "unparsed"]),
    ],
)
def test_without_a_parsed_reply_there_are_no_tests(replies, asked_for, kinds):
    run = run_with_texts(a_component(KIND, retries=1), a_context(), *replies)

    assert request_indices(run) == asked_for
    assert run.contribution.unit_tests is None
    assert [warning.kind for warning in run.warnings[:-1]] == kinds
    assert run.warnings[-1] == NONE


def test_it_asks_again_with_the_reason():
    run = run_with_texts(a_component(KIND, unit_test_cap=2), a_context(), told("one"), told(*TESTS))

    (first,), (second,) = run.rounds
    why = "there must be exactly 2 tests, and there are 1"
    assert (second.index, second.reask) == (first.index, 1)
    assert why in second.messages[-1].content
    assert run.contribution.unit_tests == TESTS
    assert run.warnings == (ComponentWarning("unparsed", why),)


@pytest.mark.parametrize(
    "text",
    [
        told(*TESTS),
        json.dumps(TESTS, indent=2),
        f"```json\n{told(*TESTS)}\n```",
        f"\n```\n{told(*TESTS)}\n```\n",
        '["It names a city.", " It names\\n a year. "]',
    ],
)
@pytest.mark.parametrize("cap", [None, 2])
def test_a_list_is_parsed(text, cap):
    assert parse_tests(text, cap) == TESTS


@pytest.mark.parametrize(
    ("text", "cap", "why"),
    [
        ("", None, "invalid json"),
        ("1. It names a city.\n2. It names a year.", None, "invalid json"),
        ("['It names a city.']", None, "invalid json"),
        ("{}", None, "array"),
        ("[]", None, "no test"),
        (told("It is.", " "), None, "blank"),
        ("[1]", None, "0: "),
        (told(*map(str, range(101))), None, "at most 100 tests, and there are 101"),
        (told(*TESTS), 1, "exactly 1 tests, and there are 2"),
        (told(*TESTS), 3, "exactly 3 tests, and there are 2"),
    ],
)
def test_another_reply_is_rejected_with_its_reason(text, cap, why):
    with pytest.raises(ReplyParseError, match=why):
        parse_tests(text, cap)


@pytest.mark.parametrize("text", [told(*TESTS), '{"tests": []}', '{"tests": ["a"], "more": 1}'])
def test_another_object_is_rejected(text):
    with pytest.raises(ReplyParseError):
        parse_json_tests(text, None)


def test_a_hundred_tests_are_not_too_many():
    tests = tuple(map(str, range(100)))

    assert parse_tests(told(*tests), None) == parse_tests(told(*tests), 100) == tests


@given(
    replies=st.lists(st.text() | st.just(told(*TESTS)), min_size=1, max_size=9),
    samples=st.integers(1, 3),
    retries=st.integers(0, 3),
    cap=st.none() | st.integers(1, 3),
    form=st.sampled_from(["text", "json"]),
)
@example(replies=["[]"], samples=1, retries=3, cap=None, form="text")
def test_it_ends_with_any_replies(replies, samples, retries, cap, form):
    generator = a_component(KIND, samples=samples, retries=retries, unit_test_cap=cap, format=form)

    run = run_with_texts(generator, a_context(), *replies)

    assert len(request_indices(run)) <= generator.max_call_count(0)
    assert (NONE in run.warnings) is (run.contribution.unit_tests is None)


@pytest.mark.parametrize("cap", [None, 1, 2, 5, 100])
def test_its_grammar_admits_its_example(cap):
    shape = text_format(cap)

    assert admits(shape, shape.example)
    assert len(parse_tests(shape.example, cap)) == (cap or 5)
    assert len(parse_json_tests(json_format(cap).example, cap)) == (cap or 5)


@given(data=st.data(), cap=st.none() | st.integers(1, 4))
def test_a_reply_by_its_grammar_is_parsed(data, cap):
    text = data.draw(st.from_regex(as_regex(text_format(cap)), fullmatch=True))

    assert 1 <= len(parse_tests(text, cap)) <= (cap or 10)


READY = {
    "critic": {},
    "ranker": {},
    "fuser": {},
    "generator": {},
    "verifier": {},
    "unit_test_evaluator": {"remove_unit_tests_from_prompt": False},
}


@pytest.mark.parametrize("kind", READY)
def test_later_prompts_show_the_tests_and_the_question_is_unchanged(kind):
    question = a_question("Where was it?")
    before = Context(question, State(candidates("one")), "1.0")
    run = run_with_texts(a_component(KIND), before, told(*TESTS))
    after = State(candidates("one")).apply([run.contribution])

    (request,) = first_requests(a_component(kind, **READY[kind]), Context(question, after, "2.0"))

    listed = "Where was it?\n\nA good response passes these unit tests, and does not mention them:"
    assert f"{listed}\n\n1. It names a city.\n2. It names a year." in request.messages[-1].content
    assert question == a_question("Where was it?")
