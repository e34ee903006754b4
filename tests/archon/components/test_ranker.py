"""The ranker: what it asks, what it reads, what it does with rubbish."""

import itertools
import json
from dataclasses import replace

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
from archon_batch.archon.components.ranker import (
    json_format,
    parse_json_ranking,
    parse_ranking,
    text_format,
)
from tests.archon.components.gbnf import admits, language
from tests.builders import (
    a_component,
    a_context,
    a_question,
    candidates,
    first_requests,
    run_with_texts,
)

CRITIQUED = tuple(replace(c, critique=f"weak in {c.text}") for c in candidates("one", "two"))

KEPT = ComponentWarning("skipped", "the candidates keep their order")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_makes_one_call_about_all_candidates(count):
    ranker = a_component("ranker", retries=3)

    (request,) = first_requests(ranker, a_context(*(f"text {n}" for n in range(count))))

    content = request.messages[-1].content
    assert (request.index, request.sample, request.reask) == (0, 0, 0)
    assert f"Below are {count} responses" in content
    assert f"from 1 to {count} exactly once" in content
    assert [content.count(f"\ntext {n}\n") for n in range(count)] == [1] * count
    assert request.reply_format == text_format(count)
    assert ranker.call_count(count) == CountRange(1, 1)
    assert ranker.max_call_count(count) == 4


def test_it_asks_for_json_with_format_json():
    (request,) = first_requests(
        a_component("ranker", format="json"), a_context("one", "two", "three")
    )

    assert '"order", a list that has every number from 1 to 3' in request.messages[-1].content
    assert "Answer:" not in request.messages[-1].content
    assert request.reply_format == json_format(3)


@pytest.mark.parametrize(("top_k", "left"), [(None, 7), (1, 1), (7, 7), (9, 7)])
def test_it_keeps_top_k_candidates(top_k, left):
    assert a_component("ranker", top_k=top_k).output_count(7) == CountRange(left, left)


def test_it_sends_earlier_turns_without_system_messages():
    earlier = (Message("system", "Answer in French."), Message("assistant", "Good day."))

    (request,) = first_requests(
        a_component("ranker"), a_context("one", question=a_question(earlier=earlier))
    )

    assert [m.role for m in request.messages] == ["system", "assistant", "user"]
    assert request.messages[1] == earlier[1]
    assert request.messages[2].content.startswith("The request was made under the instructions")


@pytest.mark.parametrize(
    ("knobs", "shown", "followed"),
    [
        ({}, CRITIQUED, True),
        ({"use_critiques": True}, CRITIQUED, True),
        ({"use_critiques": False}, CRITIQUED, False),
        ({}, candidates("one", "two"), False),
        ({}, (CRITIQUED[0], *candidates("two")), True),
    ],
)
def test_it_shows_critiques_if_configured(knobs, shown, followed):
    ranker = a_component("ranker", **knobs)

    (request,) = first_requests(ranker, Context(a_question(), State(shown), "2.0"))

    content = request.messages[-1].content
    assert ("followed by a critique" in content) is followed
    written = [c.critique for c in shown if c.critique is not None]
    assert [content.count(text) for text in written] == [int(followed)] * len(written)


@pytest.mark.parametrize(
    ("top_k", "texts"),
    [(None, ["two", "three", "one"]), (3, ["two", "three", "one"]), (1, ["two"])],
)
@pytest.mark.parametrize(
    ("knobs", "reply"),
    [
        ({}, "Answer: [2] > [3] > [1]"),
        ({"format": "json"}, '{"reasoning": "[1] > [2] > [3]", "order": [2, 3, 1]}'),
    ],
)
def test_the_best_candidates_are_kept_in_order(top_k, texts, knobs, reply):
    ranker = a_component("ranker", top_k=top_k, **knobs)

    run = run_with_texts(ranker, a_context("one", "two", "three"), reply)

    assert [c.text for c in run.contribution.candidates or ()] == texts
    assert run.warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "Answer: [2] > [1] > [3]",
        "[2] > [1] > [3]",
        "answer: [2]>[1]>[3].",
        "**Answer: [2] > [1] > [3]**",
        "Both [1] > [3] and [2] > [1] hold.\n\nAnswer: [2] > [1] > [3]\n",
        "Answer: [2] > [1] > [3]\nI hope that this helps.",
        "[1] > [2] > [3]\nOn second thought:\nAnswer: [2]  >  [1] > [3]",
        "Answer: [\u0662] > [\u0661] > [\u0663]",
    ],
)
def test_a_reply_with_extra_text_is_parsed(text):
    assert parse_ranking(text, 3) == (2, 1, 3)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("the second", "no line such as"),
        ("2 > 1 > 3", "no line such as"),
        ("Answer: [2] > [1]", r"each of \[1\] to \[3\] exactly once"),
        ("Answer: [2] > [1] > [3] > [4]", "exactly once"),
        ("Answer: [2] > [2] > [3]", "exactly once"),
        ("Answer: [0] > [1] > [2]", "exactly once"),
        ("Answer: [2] > [1] > [3]\nsince [2] is best", "exactly once"),
        ("Answer: [2], [1], [3]", "more than one ranking"),
        ("Answer: [2] [1] > [3]", "more than one ranking"),
        ("Answer: [2] > [12345] > [1] > [3]", "more than one ranking"),
        # It quotes a candidate.
        ("Answer: [2] > [1] > [3]\nThe third says: Answer: [3] > [1]", "exactly once"),
    ],
)
def test_a_bad_reply_is_rejected_with_its_reason(text, why):
    with pytest.raises(ReplyParseError, match=why):
        parse_ranking(text, 3)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ([2, 1], r"each of \[1\] to \[3\] exactly once"),
        ([2, 2, 3], "exactly once"),
        ([0, 1, 2], "exactly once"),
        ([4, 3, 2, 1], "exactly once"),
        ([2.5, 1, 3], "order.0: "),
        (["2", "1", "3"], "order.0: "),
        ([True, 2, 3], "order.0: "),
        (None, "order: "),
    ],
)
def test_a_bad_order_in_json_is_rejected_with_its_reason(order, why):
    with pytest.raises(ReplyParseError, match=why):
        parse_json_ranking(json.dumps({"reasoning": "", "order": order}), 3)


@given(text=st.text(), count=st.integers(1, 9))
@example(text="Answer: [1]", count=1)
@example(text="[" * 999 + "[1] >" * 99, count=2)
def test_any_text_is_parsed_or_rejected(text, count):
    try:
        order = parse_ranking(text, count)
    except ReplyParseError:
        return

    assert sorted(order) == list(range(1, count + 1))


@given(replies=st.lists(st.text(), min_size=1, max_size=5), retries=st.integers(0, 4))
@example(replies=["[2] > [1]"], retries=0)
def test_it_ends_within_its_rounds_with_any_replies(replies, retries):
    ranker = a_component("ranker", retries=retries)

    run = run_with_texts(ranker, a_context("one", "two"), *replies)

    refused = [warning for warning in run.warnings if warning.kind == "unparsed"]
    done = KEPT not in run.warnings
    assert len(run.rounds) <= 1 + retries
    assert len(refused) == len(run.rounds) - done
    assert {c.text for c in run.contribution.candidates or ()} == {"one", "two"}


def test_it_asks_again_with_the_reason_and_then_keeps_the_order():
    ranker = a_component("ranker", retries=1, top_k=2)

    run = run_with_texts(ranker, a_context("one", "two", "three"), "Answer: [3]", "no idea")

    (first,), (second,) = run.rounds
    assert (first.reask, second.reask) == (0, 1)
    assert second.messages[-1].content == (
        f"{first.messages[-1].content}\n\nAn earlier reply to this could not be used: "
        "it must name each of [1] to [3] exactly once. Keep to the form that is asked for above."
    )
    assert [c.text for c in run.contribution.candidates or ()] == ["one", "two"]
    assert run.warnings == (
        ComponentWarning("unparsed", "it must name each of [1] to [3] exactly once"),
        ComponentWarning("unparsed", 'it has no line such as "Answer: [2] > [1]"'),
        KEPT,
    )


def test_a_failed_call_is_not_asked_again():
    ranker = a_component("ranker")

    run = run_with_texts(ranker, a_context("one", "two"), Reply(None, failure="refused: no"))

    assert len(run.rounds) == 1
    assert [c.text for c in run.contribution.candidates or ()] == ["one", "two"]
    assert run.warnings == (ComponentWarning("failed", "refused: no"), KEPT)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_its_grammar_admits_every_order_and_nothing_else(count):
    admitted = language(text_format(count))

    orders = itertools.permutations(range(1, count + 1))
    assert sorted(parse_ranking(text, count) for text in admitted) == sorted(orders)
    assert len(set(admitted)) == len(admitted)
    assert text_format(count).example in admitted


@pytest.mark.parametrize("count", [5, 7, 9, 20])
def test_its_grammar_admits_its_example(count):
    shape = text_format(count)

    assert admits(shape, shape.example)
    assert sorted(parse_ranking(shape.example, count)) == list(range(1, count + 1))


def test_the_grammar_of_many_candidates_stays_small():
    assert max(len(text_format(count).grammar or "") for count in (8, 9, 100)) < 60_000
