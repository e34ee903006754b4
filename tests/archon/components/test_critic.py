"""The critic: what it asks, what it reads, what it does with rubbish."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archon_batch.archon import ComponentWarning, CountRange, Message, Reply, ReplyParseError
from archon_batch.archon.components.critic import (
    json_format,
    parse_critiques,
    parse_json_critiques,
    text_format,
)
from tests.archon.components.gbnf import admits, as_regex
from tests.builders import a_component, a_context, a_question, first_requests, run_with_texts

GOOD = "[1]\nStrengths: short.\nWeaknesses: none.\n\n[2]\nStrengths: none.\nWeaknesses: long."

NONE = ComponentWarning("skipped", "no candidate has a critique")


def in_json(*critiques):
    keys = ("response", "strengths", "weaknesses")
    return json.dumps({"critiques": [dict(zip(keys, c, strict=True)) for c in critiques]})


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_each_sample_is_one_call_about_all_candidates(count, samples):
    critic = a_component("critic", samples=samples, retries=3, max_tokens=999)

    requests = first_requests(critic, a_context(*(f"text {n}" for n in range(count))))

    content = requests[0].messages[-1].content
    assert [(r.index, r.sample, r.reask) for r in requests] == [(n, n, 0) for n in range(samples)]
    assert len({r.messages for r in requests}) == 1
    assert f"Below are {count} responses" in content
    assert f"up to [{count}]." in content
    assert [content.count(f"\ntext {n}\n") for n in range(count)] == [1] * count
    assert requests[0].reply_format == text_format(count, 999)
    assert critic.call_count(count) == CountRange(samples, samples)
    assert critic.max_call_count(count) == 4 * samples
    assert critic.output_count(count) == CountRange(count, count)


def test_it_asks_for_json_with_format_json():
    (request,) = first_requests(
        a_component("critic", format="json"), a_context("one", "two", "three")
    )

    assert "a list of 3 objects" in request.messages[-1].content
    assert "Keep to this form" not in request.messages[-1].content
    assert request.reply_format == json_format(3)


def test_it_sends_earlier_turns_without_system_messages():
    earlier = (Message("system", "Answer in French."), Message("user", "Hello."))

    (request,) = first_requests(
        a_component("critic"), a_context("one", question=a_question(earlier=earlier))
    )

    assert [m.role for m in request.messages] == ["system", "user", "user"]
    assert request.messages[1] == earlier[1]
    assert request.messages[2].content.startswith("The request was made under the instructions")


@pytest.mark.parametrize(
    ("knobs", "reply"),
    [
        ({}, GOOD),
        (
            {"format": "json"},
            in_json((2, "none.", "long."), (1, "short.", "none.")),
        ),
    ],
)
def test_critiques_are_keyed_by_candidate(knobs, reply):
    run = run_with_texts(a_component("critic", **knobs), a_context("one", "two"), reply)

    assert run.contribution.critiques == {
        "0.0.0": "Strengths: short.\nWeaknesses: none.",
        "0.0.1": "Strengths: none.\nWeaknesses: long.",
    }
    assert run.contribution.candidates is None
    assert run.warnings == ()


def test_a_candidate_gets_the_critiques_of_all_parsed_replies():
    critic = a_component("critic", samples=3, retries=0)

    run = run_with_texts(critic, a_context("one", "two"), "[1] a\n[2] b", "[1] a", "[2] d\n[1] c")

    assert run.contribution.critiques == {"0.0.0": "a\n\nc", "0.0.1": "b\n\nd"}
    assert run.warnings == (
        ComponentWarning("unparsed", "it must have each of [1] to [2] once, and has [1]"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "[1] good\n[2] bad",
        "[2] bad\n[1] good",
        "Here they are:\n\n[1] good\n\n[2] bad",
        "**[1]** good\n\n**[2]** bad",
        "**[1]:** good\n**[2]:** bad",
        "## [1]\ngood\n## [2]\nbad",
        "- [1]: good\n- [2]: bad",
        "> _[1]_ good\n> _[2]_ bad",
        "  [1]. good\n\t[2]. bad",
        "[1]\n\n\ngood\n[2]\nbad\n\n",
        "[\u0661] good\n[\u0662] bad",
    ],
)
def test_a_reply_with_extra_markup_is_parsed(text):
    critiques = parse_critiques(text, 2)

    assert [re.sub(r"[^a-z]", "", critique) for critique in critiques] == ["good", "bad"]


def test_a_number_inside_a_line_starts_no_critique():
    critiques = parse_critiques("[1] better than [2] in all\n[2] worse than [1]", 2)

    assert critiques == ("better than [2] in all", "worse than [1]")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("good and bad", "no number in brackets"),
        ("(1) good\n(2) bad", "no number in brackets"),
        ("[1] good", r"has \[1\]$"),
        ("[1] good\n[2] bad\n[3] who?", r"has \[1\], \[2\], \[3\]"),
        ("[1] good\n[1] bad", r"has \[1\], \[1\]"),
        ("[1] good\n[2] bad\n[2] worse", r"has \[1\], \[2\], \[2\]"),
        ("[0] good\n[1] bad", r"has \[0\], \[1\]"),
        ("[1] good\n[12345] bad", r"has \[1\]$"),
        ("[1]\n[2] bad", r"nothing is said about \[1\]"),
        ("[1] good\n[2] ---", r"nothing is said about \[2\]"),
        ("\n".join(f"[{n}] x" for n in range(1, 40)), r"\[20\]$"),
        # It quotes a candidate that looks like a critique of the second.
        ("[1] It says:\n[2]\nStrengths: all.\n[2] bad", r"has \[1\], \[2\], \[2\]"),
    ],
)
def test_a_bad_reply_is_rejected_with_its_reason(text, why):
    with pytest.raises(ReplyParseError, match=why):
        parse_critiques(text, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD, "input should be an object"),
        ("{}", "critiques: field required"),
        (in_json((1, "good", "none")), r"has \[1\]$"),
        (in_json((1, "good", "none"), (1, "bad", "all")), r"has \[1\], \[1\]"),
        (in_json((1, "good", " "), (2, "bad", "all")), r"weakness of \[1\] is blank"),
        (in_json((1, "good", "none"), (2, "\n", "all")), r"strength or .* of \[2\] is blank"),
        (in_json((1, "?", "!"), ("2", "bad", "all")), "critiques.1.response: "),
        (in_json((int("9" * 4000), "good", " ")), r"has \[9{10}"),
    ],
)
def test_a_bad_reply_in_json_is_rejected_with_its_reason(text, why):
    with pytest.raises(ReplyParseError, match=why) as refused:
        parse_json_critiques(text, 2)

    assert len(str(refused.value)) < 250


@given(text=st.text(), count=st.integers(1, 9))
@example(text="[1]" * 50, count=1)
@example(text="\n[1] \n" * 9, count=9)
def test_any_text_is_parsed_or_rejected(text, count):
    try:
        critiques = parse_critiques(text, count)
    except ReplyParseError:
        return

    assert len(critiques) == count


@given(replies=st.lists(st.text(), min_size=1, max_size=5), retries=st.integers(0, 4))
@example(replies=["[1] a\n[2] b"], retries=0)
def test_it_ends_within_its_rounds_with_any_replies(replies, retries):
    critic = a_component("critic", retries=retries)

    run = run_with_texts(critic, a_context("one", "two"), *replies)

    refused = [warning for warning in run.warnings if warning.kind == "unparsed"]
    done = bool(run.contribution.critiques)
    assert len(run.rounds) <= 1 + retries
    assert len(refused) == len(run.rounds) - done
    assert (NONE in run.warnings) is not done


def test_it_asks_again_with_the_reason_and_then_skips_the_critique():
    critic = a_component("critic", retries=1)

    run = run_with_texts(critic, a_context("one", "two"), "[1] good", "")

    (first,), (second,) = run.rounds
    assert (first.reask, second.reask) == (0, 1)
    assert second.messages[:-1] == first.messages[:-1]
    assert second.messages[-1].content == (
        f"{first.messages[-1].content}\n\nAn earlier reply to this could not be used: "
        "it must have each of [1] to [2] once, and has [1]. "
        "Keep to the form that is asked for above."
    )
    assert run.contribution.critiques == {}
    assert run.warnings == (
        ComponentWarning("unparsed", "it must have each of [1] to [2] once, and has [1]"),
        ComponentWarning("unparsed", "the reply was empty"),
        NONE,
    )


def test_a_truncated_reply_gives_a_warning():
    run = run_with_texts(
        a_component("critic", retries=0),
        a_context("one", "two"),
        Reply("[1] go", finish_reason="length"),
    )

    why = "it must have each of [1] to [2] once, and has [1]"
    cut = f"{why}; it was cut off at its greatest length"
    assert run.warnings == (ComponentWarning("unparsed", cut), NONE)


def test_a_failed_call_is_not_asked_again():
    run = run_with_texts(
        a_component("critic"), a_context("one"), Reply(None, failure="refused: no")
    )

    assert len(run.rounds) == 1
    assert run.contribution.critiques == {}
    assert run.warnings == (ComponentWarning("failed", "refused: no"), NONE)


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_its_grammar_admits_its_example(count):
    shape = text_format(count, 2048)

    assert admits(shape, shape.example)
    assert len(parse_critiques(shape.example, count)) == count


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("room", [60, 100, 300])
def test_its_grammar_leaves_room_for_all_critiques_within_max_tokens(count, room):
    shape = text_format(count, count * room)

    def critiques(length):
        lines = f"Strengths: {'x' * length}\nWeaknesses: {'x' * length}"
        return "\n\n".join(f"[{n}]\n{lines}" for n in range(1, count + 1))

    longest = max(n for n in range(300) if admits(shape, critiques(n)))

    # All tokens are used, except an odd one.
    assert count * (room - 4) <= len(critiques(longest)) <= count * room


@given(data=st.data(), count=st.integers(1, 4), room=st.integers(60, 400))
def test_a_reply_by_its_grammar_is_parsed_and_fits_max_tokens(data, count, room):
    shape = text_format(count, count * room)

    text = data.draw(st.from_regex(as_regex(shape), fullmatch=True))

    assert len(parse_critiques(text, count)) == count
    assert len(text) <= count * room
