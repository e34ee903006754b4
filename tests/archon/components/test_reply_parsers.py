"""What all readers have in common, and what stands in for a reply that they read."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import Context, ReplyFormat, ReplyParseError, State
from archon_batch.archon.components import (
    critic,
    ranker,
    unit_test_evaluator,
    unit_test_generator,
    verifier,
)
from tests.archon.components.gbnf import admits
from tests.archon.components.hostile_texts import slow
from tests.archon.components.running import run_with
from tests.builders import a_component, a_question, candidates


@dataclass(frozen=True)
class ReplyKind:
    """A reply format and its parser, at several sizes."""

    reply_format: Callable[[int], ReplyFormat]
    parse: Callable[[str, int], object]
    #: The number of candidates or tests in a reply.
    counts: tuple[int, ...] = (1, 2, 9, 50)
    #: The parsed values of both examples, if they differ.
    parsed: Callable[[int], tuple[object, object]] | None = field(default=None)


def _verdicts(count):
    return (True,) * count, (False,) * count


REPLY_KINDS = {
    "critic": ReplyKind(lambda n: critic.text_format(n, 2048), critic.parse_critiques),
    "critic, json": ReplyKind(critic.json_format, critic.parse_json_critiques),
    "ranker": ReplyKind(ranker.text_format, ranker.parse_ranking),
    "ranker, json": ReplyKind(ranker.json_format, ranker.parse_json_ranking),
    "verifier": ReplyKind(
        lambda _: verifier.text_format(2048), lambda text, _: verifier.parse_verdict(text), (1,), lambda _: (True, False)
    ),
    "verifier, json": ReplyKind(
        lambda _: verifier._JSON_FORMAT,
        lambda text, _: verifier.parse_json_verdict(text),
        (1,),
        lambda _: (True, False),
    ),
    "unit_test_generator": ReplyKind(unit_test_generator.text_format, unit_test_generator.parse_tests),
    "unit_test_generator, json": ReplyKind(
        unit_test_generator.json_format, unit_test_generator.parse_json_tests
    ),
    "unit_test_evaluator": ReplyKind(
        lambda n: unit_test_evaluator.text_format(n, 2048), unit_test_evaluator.parse_results, parsed=_verdicts
    ),
    "unit_test_evaluator, json": ReplyKind(
        unit_test_evaluator.json_format, unit_test_evaluator.parse_json_results, parsed=_verdicts
    ),
}  # fmt: skip

every_kind = pytest.mark.parametrize("kind", REPLY_KINDS.values(), ids=REPLY_KINDS)

#: Any JSON, with the requested keys among it.
_KEYS = ("critiques", "response", "strengths", "weaknesses", "reasoning", "order", "correct")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*_KEYS, "tests", "test", "results", "passed"]) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=9,
)


def rejection(kind, text):
    """Why the text is rejected; no other exception may be raised."""
    try:
        kind.parse(text, 2)
    except ReplyParseError as error:
        return str(error)
    return "it is parsed"


def assert_fit_to_be_told(why):
    """The reason goes into the next prompt, in limited space, and into the warnings."""
    assert 0 < len(why) < 250
    assert why.isprintable()


@every_kind
@given(text=st.text())
def test_any_text_is_parsed_or_rejected(kind, text):
    assert_fit_to_be_told(rejection(kind, text))


@every_kind
@given(value=VALUES)
def test_any_json_is_parsed_or_rejected(kind, value):
    assert_fit_to_be_told(rejection(kind, json.dumps(value)))


@pytest.mark.parametrize("kind", [s for of, s in REPLY_KINDS.items() if of.endswith("json")])
@given(value=VALUES, data=st.data())
def test_a_valid_object_with_one_changed_value_is_parsed_or_rejected(kind, value, data):
    entry = json.loads(kind.reply_format(2).example)
    entry[data.draw(st.sampled_from(sorted(entry)) | st.text())] = value

    assert_fit_to_be_told(rejection(kind, json.dumps(entry)))


@every_kind
def test_every_text_is_parsed_quickly(kind):
    assert slow(lambda text: kind.parse(text, 2)) == []


@every_kind
@given(data=st.data(), size=st.integers(0, 5000), worst=st.booleans())
def test_a_padded_example_is_parsed_at_any_size(kind, data, size, worst):
    count = data.draw(st.sampled_from(kind.counts))
    form = kind.reply_format(count)
    shortest = (
        form.costliest_example if worst and form.costliest_example is not None else form.example
    )

    text = form.padded_example(size, costliest=worst)

    parsed = kind.parse(text, count)
    assert len(text) == (len(shortest) if form.padding_offset is None else max(size, len(shortest)))
    if kind.parsed is not None:
        assert parsed == kind.parsed(count)[worst]


@every_kind
def test_the_examples_are_in_the_grammar(kind):
    for count in kind.counts:
        form = kind.reply_format(count)
        assert (form.grammar is None) is (form.schema is not None)
        if form.grammar is not None:
            assert admits(form, form.example)
            assert admits(form, form.costliest_example or form.example)


@every_kind
def test_only_rankings_cannot_be_padded(kind):
    assert (kind.reply_format(2).padding_offset is None) is (kind is REPLY_KINDS["ranker"])


KINDS = ("critic", "ranker", "verifier", "unit_test_generator", "unit_test_evaluator")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", ["text", "json"])
def test_a_component_accepts_the_examples_as_replies(kind, words):
    state = State(candidates("one", "two"), ("It is short.", "It is right."))

    run = run_with(
        a_component(kind, format=words),
        Context(a_question(), state, "1.0"),
        lambda request: (
            request.reply_format.padded_example(0) if request.reply_format else "It holds."
        ),
    )

    assert run.rounds
    assert run.warnings == ()
