"""The critic: what it asks, what it reads, what it does with rubbish."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archon_batch.archon import Message, Reply
from archon_batch.archon.component import Bounds
from archon_batch.archon.components.critic import form, read
from archon_batch.archon.steps import Reading, UnreadableError
from tests.archon.components.test_ranker import as_regex
from tests.builders import a_component, a_question, a_scene, asked, played

GOOD = "[1]\nStrengths: short.\nWeaknesses: none.\n\n[2]\nStrengths: none.\nWeaknesses: long."


@pytest.mark.parametrize("count", [1, 2, 7])
def test_it_asks_once_about_all_candidates(count):
    critic = a_component("critic", retries=3)

    (request,) = asked(critic, a_scene(*(f"text {n}" for n in range(count))))

    content = request.messages[-1].content
    assert (request.slot, request.sample, request.again) == (0, 0, 0)
    assert f"Below are {count} responses" in content
    assert f"up to [{count}]." in content
    assert [content.count(f"\ntext {n}\n") for n in range(count)] == [1] * count
    assert request.form == form(count, critic.max_tokens)
    assert critic.calls(count) == Bounds(1, 4)
    assert critic.leaves(count) == count


def test_it_carries_earlier_turns_without_their_system_message():
    earlier = (Message("system", "Answer in French."), Message("user", "Hello."))

    (request,) = asked(a_component("critic"), a_scene("one", question=a_question(earlier=earlier)))

    assert [m.role for m in request.messages] == ["system", "user", "user"]
    assert request.messages[1] == earlier[1]
    assert request.messages[2].content.startswith("The request:\nWhat is 2 + 2?\n\n")


def test_its_critiques_are_bound_to_their_candidates():
    play = played(a_component("critic"), a_scene("one", "two"), GOOD)

    assert play.contribution.critiques == {
        "0.0.0": "Strengths: short.\nWeaknesses: none.",
        "0.0.1": "Strengths: none.\nWeaknesses: long.",
    }
    assert play.contribution.candidates is None
    assert play.readings == (Reading(),)


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
def test_a_rough_reply_is_read(text):
    critiques = read(text, 2)

    assert [re.sub(r"[^a-z]", "", critique) for critique in critiques] == ["good", "bad"]


def test_a_number_inside_a_line_begins_nothing():
    critiques = read("[1] better than [2] in all\n[2] worse than [1]", 2)

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
    ],
)
def test_a_bad_reply_is_refused_with_its_reason(text, why):
    with pytest.raises(UnreadableError, match=why):
        read(text, 2)


@given(text=st.text(), count=st.integers(1, 9))
@example(text="[1]" * 50, count=1)
@example(text="\n[1] \n" * 9, count=9)
def test_any_text_is_read_or_refused(text, count):
    try:
        critiques = read(text, count)
    except UnreadableError:
        return

    assert len(critiques) == count


def test_a_long_reply_of_empty_lines_is_refused_quickly():
    begun = time.process_time()

    with pytest.raises(UnreadableError):
        read("x" + "\n-" * 30_000, 2)

    assert time.process_time() - begun < 1


@given(replies=st.lists(st.text(), min_size=1, max_size=5), retries=st.integers(0, 4))
def test_it_ends_within_its_rounds_whatever_the_replies(replies, retries):
    critic = a_component("critic", retries=retries)

    play = played(critic, a_scene("one", "two"), *replies)

    (reading,) = play.readings
    assert len(play.rounds) <= 1 + retries
    assert len(reading.unreadable) == len(play.rounds) - reading.done
    assert bool(play.contribution.critiques) is reading.done


def test_it_asks_again_with_the_reason_and_then_does_without():
    critic = a_component("critic", retries=1)

    play = played(critic, a_scene("one", "two"), "[1] good", "")

    (first,), (second,) = play.rounds
    assert (first.again, second.again) == (0, 1)
    assert second.messages[:-1] == first.messages[:-1]
    assert second.messages[-1].content == (
        f"{first.messages[-1].content}\n\nAn earlier reply to this could not be used: "
        "it must have each of [1] to [2] once, and has [1]. "
        "Keep to the form that is asked for above."
    )
    assert play.contribution.critiques == {}
    assert play.readings == (
        Reading(
            ("it must have each of [1] to [2] once, and has [1]", "the reply was empty"), done=False
        ),
    )


def test_a_failed_call_is_not_asked_again():
    play = played(a_component("critic"), a_scene("one"), Reply(None, failure="refused: no"))

    assert len(play.rounds) == 1
    assert play.contribution.critiques == {}
    assert play.readings == (Reading(failure="refused: no", done=False),)


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_its_grammar_admits_its_example(count):
    shape = form(count, 2048)

    assert re.fullmatch(as_regex(shape.grammar), shape.example)
    assert len(read(shape.example, count)) == count


@given(data=st.data(), count=st.integers(1, 4), room=st.integers(60, 400))
def test_what_its_grammar_admits_is_read_and_ends_in_time(data, count, room):
    shape = form(count, count * room)

    text = data.draw(st.from_regex(as_regex(shape.grammar), fullmatch=True))

    assert len(read(text, count)) == count
    assert len(text) <= count * room
