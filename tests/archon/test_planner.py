"""The planner's law, and the interpreter that is its oracle."""

from collections import Counter
from dataclasses import replace
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    KINDS,
    Answer,
    Ask,
    Bounds,
    CallKey,
    Candidate,
    Component,
    Contribution,
    Form,
    GaveUp,
    Message,
    Model,
    Note,
    Reply,
    State,
    arrivals,
    plan,
    read_architecture,
    refuse_broken,
    run,
)
from archon_batch.archon.steps import Reading, Request
from tests.builders import a_call, a_component, a_question, an_architecture, answers, architectures

QUESTION = a_question()

#: A round of its own for each layer, and for each time that something is asked again.
MOST_ROUNDS = 5 * (1 + 3)


def step_after(architecture, **settled):
    """The step that follows when the calls, written as ``k0_0_1_0``, have these replies."""
    replies = {
        CallKey.parse(name[1:].replace("_", ".")): text if isinstance(text, Reply) else Reply(text)
        for name, text in settled.items()
    }
    return plan(architecture, QUESTION, replies)


def asked(step):
    assert isinstance(step, Ask)
    return [str(call.key).replace(".", " ") for call in step.calls]


def test_it_asks_for_a_whole_layer_at_once():
    architecture = an_architecture([{"type": "generator", "samples": 2}, "generator"], "fuser")

    step = step_after(architecture)

    assert asked(step) == ["0 0 0 0", "0 0 1 0", "0 1 0 0"]


def test_it_asks_only_for_what_is_missing():
    architecture = an_architecture([{"type": "generator", "samples": 2}, "generator"], "fuser")

    step = step_after(architecture, k0_0_1_0="one", k1_0_0_0="too early")

    assert asked(step) == ["0 0 0 0", "0 1 0 0"]


def test_it_asks_for_all_that_is_missing_though_a_component_beside_it_is_done():
    architecture = an_architecture([{"type": "generator", "samples": 3}, "generator"], "fuser")

    step = step_after(architecture, k0_1_0_0="done", k0_0_1_0="one")

    assert asked(step) == ["0 0 0 0", "0 0 2 0"]


def test_it_looks_at_the_next_layer_when_all_of_one_is_done():
    architecture = an_architecture("generator", "fuser")

    step = step_after(architecture, k0_0_0_0="one")

    assert asked(step) == ["1 0 0 0"]


def test_a_call_has_all_that_its_component_says():
    generator = {"type": "generator", "model": "cheap", "temperature": 0.2, "max_tokens": 99}
    models = {"cheap": {"model": "scripted/plausible", "rpm": 9}}

    step = step_after(an_architecture(generator, models=models))

    assert isinstance(step, Ask)
    (call,) = step.calls
    assert (call.kind, call.temperature, call.max_tokens) == ("generator", 0.2, 99)
    assert (call.model.model, call.model.rpm) == ("scripted/plausible", 9)
    assert call.messages[-1].content == QUESTION.query


def test_the_first_candidate_answers():
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker")

    step = step_after(
        architecture, k0_0_0_0="one", k0_0_1_0="two", k1_0_0_0="Answer: [2] > [1]"
    )  # fmt: skip

    assert step == Answer("two", "0.0.1")


def test_what_cannot_be_read_is_asked_again_with_the_reason_in_the_message():
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker")

    step = step_after(architecture, k0_0_0_0="one", k0_0_1_0="two", k1_0_0_0="the second")

    assert asked(step) == ["1 0 0 1"]
    assert isinstance(step, Ask)
    assert 'it has no line such as "Answer: [2] > [1]"' in step.calls[0].messages[-1].content


def test_every_time_something_is_asked_again_is_a_request_of_its_own():
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker")
    calls = []

    def answer(call):
        calls.append(call)
        return Reply("the same rubbish")

    run(architecture, QUESTION, answer)

    asks = [call.fingerprint for call in calls if call.kind == "ranker"]
    assert len(asks) == 3
    assert len(set(asks)) == 3


def test_a_component_without_a_readable_reply_is_done_without():
    architecture = an_architecture(
        {"type": "generator", "samples": 2}, {"type": "ranker", "retries": 1}
    )

    step = step_after(
        architecture, k0_0_0_0="one", k0_0_1_0="two", k1_0_0_0="", k1_0_0_1="Answer: [1]"
    )

    once = "it must name each of [1] to [2] exactly once"
    assert step == Answer(
        "one",
        "0.0.0",
        (
            Note(1, 0, "unreadable", "the reply was empty"),
            Note(1, 0, "unreadable", once),
            Note(1, 0, "without", once),
        ),
    )


def test_a_failed_call_is_settled_and_noted():
    architecture = an_architecture([{"type": "generator", "samples": 2}], "critic")

    step = step_after(
        architecture,
        k0_0_0_0=Reply(None, failure="refused: no"),
        k0_0_1_0="two",
        k1_0_0_0=Reply(None, failure="bad_call: what?"),
    )

    assert step == Answer(
        "two",
        "0.0.1",
        (
            Note(0, 0, "failed", "refused: no"),
            Note(0, 0, "without", "refused: no"),
            Note(1, 0, "failed", "bad_call: what?"),
            Note(1, 0, "without", "bad_call: what?"),
        ),
    )


@pytest.mark.parametrize(
    ("replies", "layer", "why"),
    [
        ({"k0_0_0_0": Reply(None, failure="refused: no")}, 0, "refused: no"),
        ({"k0_0_0_0": " \n"}, 0, "the reply was empty"),
        ({"k0_0_0_0": "one", "k1_0_0_0": Reply(None, failure="no quota")}, 1, "no quota"),
        ({"k0_0_0_0": "one", "k1_0_0_0": ""}, 1, "the reply was empty"),
    ],
)
def test_it_gives_up_with_the_layer_that_is_left_without_a_candidate(replies, layer, why):
    architecture = an_architecture("generator", "fuser")

    step = step_after(architecture, **replies)

    assert isinstance(step, GaveUp)
    assert (step.layer, step.why) == (layer, why)
    assert [note.why for note in step.notes if note.kind == "without"] == [why]


def test_it_gives_up_for_a_reason_of_the_layer_that_failed():
    architecture = an_architecture({"type": "generator", "samples": 2}, "fuser")

    step = step_after(
        architecture, k0_0_0_0="", k0_0_1_0="two", k1_0_0_0=Reply(None, failure="refused: no")
    )

    assert isinstance(step, GaveUp)
    assert (step.layer, step.why) == (1, "refused: no")
    assert len(step.notes) == 4


def test_a_layer_that_makes_candidates_replaces_those_before():
    architecture = an_architecture("generator", ["critic", "generator"])

    step = step_after(
        architecture, k0_0_0_0="one", k1_0_0_0="[1] weak", k1_1_0_0="another"
    )  # fmt: skip

    assert step == Answer("another", "1.1.0")


class Examiner(Component):
    """Writes unit tests from the question alone."""

    needs_candidates: ClassVar[bool] = False

    type: Literal["examiner"]

    def steps(self, scene):
        (reply,) = yield (Request(0, scene.question.messages),)
        return Contribution(unit_tests=(str(reply.text),)), (Reading(),)

    def calls(self, candidates):
        del candidates
        return Bounds(1, 1)

    def leaves(self, candidates):
        return candidates


def test_a_layer_may_come_before_the_first_candidates():
    layers = [{"type": "examiner", "model": "m"}, {"type": "generator", "model": "m"}]
    architecture = read_architecture({"layers": layers}, {**KINDS, "examiner": Examiner}, "tested")

    first = step_after(architecture)
    second = step_after(architecture, k0_0_0_0="it adds up")
    last = step_after(architecture, k0_0_0_0="it adds up", k1_0_0_0="four")

    assert (asked(first), asked(second)) == (["0 0 0 0"], ["1 0 0 0"])
    assert last == Answer("four", "1.0.0")
    refuse_broken(architecture)


def test_components_of_a_layer_see_the_same_candidates():
    architecture = an_architecture("generator", ["critic", "fuser"])

    step = step_after(architecture, k0_0_0_0="one", k1_0_0_0="[1] weak")

    assert isinstance(step, Ask)
    assert asked(step) == ["1 1 0 0"]
    assert "weak" not in step.calls[0].messages[-1].content


def test_alike_generators_get_samples_of_their_own_wherever_they_stand():
    pair = {"type": "generator", "samples": 2}
    architecture = an_architecture([pair, pair], "generator")

    first = step_after(architecture)
    last = step_after(architecture, k0_0_0_0="a", k0_0_1_0="b", k0_1_0_0="c", k0_1_1_0="d")

    assert isinstance(first, Ask)
    assert isinstance(last, Ask)
    assert [call.sample for call in first.calls + last.calls] == [0, 1, 2, 3, 4]


def test_other_components_share_samples_with_their_layer_only():
    architecture = an_architecture("generator", ["fuser", "fuser"], "fuser")

    middle = step_after(architecture, k0_0_0_0="a")
    last = step_after(architecture, k0_0_0_0="a", k1_0_0_0="b", k1_1_0_0="c")

    assert isinstance(middle, Ask)
    assert isinstance(last, Ask)
    assert [call.sample for call in middle.calls + last.calls] == [0, 1, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model": "cheap"}, {"model": "also"}),
        ({"model": "cheap"}, {"model": "scripted/plausible"}),
        ({"retries": 0}, {"retries": 1}),
    ],
)
def test_generators_that_send_alike_requests_get_samples_of_their_own(one, other):
    models = {"cheap": {"model": "scripted/plausible"}, "also": {"model": "scripted/plausible"}}
    pair = [{"type": "generator", **one}, {"type": "generator", **other}]

    step = step_after(an_architecture(pair, models=models))

    assert isinstance(step, Ask)
    assert len({call.fingerprint for call in step.calls}) == 2


@given(architecture=architectures(), seed=st.integers())
def test_calls_of_an_items_generators_never_share_a_fingerprint(architecture, seed):
    fingerprints = []

    def answer(call):
        if call.kind == "generator":
            fingerprints.append(call.fingerprint)
        return answers(seed)(call)

    run(architecture, QUESTION, answer)

    assert len(set(fingerprints)) == len(fingerprints)


@given(architecture=architectures(), seed=st.integers(), random=st.randoms())
def test_any_order_of_replies_comes_to_the_interpreters_end(architecture, seed, random):
    answer = answers(seed)
    end, settled = run(architecture, QUESTION, answer)

    replies: dict[CallKey, Reply] = {}
    while isinstance(step := plan(architecture, QUESTION, replies), Ask):
        assert replies.keys().isdisjoint(call.key for call in step.calls)
        for call in random.sample(step.calls, random.randint(1, len(step.calls))):
            replies[call.key] = answer(call)

    assert step == end
    assert replies == settled


@given(architecture=architectures(), seed=st.integers(), random=st.randoms())
def test_more_replies_and_their_order_change_nothing(architecture, seed, random):
    end, settled = run(architecture, QUESTION, answers(seed))
    more = {
        CallKey(layer, component, slot, 9): Reply("nobody asked")
        for layer in range(6)
        for component in range(3)
        for slot in range(4)
    }
    items = list((more | settled).items())
    random.shuffle(items)

    assert plan(architecture, QUESTION, dict(items)) == end


@given(architecture=architectures(), seed=st.integers())
def test_every_architecture_ends_in_a_bounded_number_of_rounds(architecture, seed):
    rounds = 0
    replies: dict[CallKey, Reply] = {}

    while isinstance(step := plan(architecture, QUESTION, replies), Ask):
        rounds += 1
        assert rounds <= MOST_ROUNDS
        assert step.calls
        replies |= {call.key: answers(seed)(call) for call in step.calls}

    assert plan(architecture, QUESTION, replies) == step


@given(architecture=architectures(), seed=st.integers())
def test_a_component_asks_as_often_as_it_says_when_no_call_fails(architecture, seed):
    end, settled = run(architecture, QUESTION, answers(seed, failures=False))

    asked = Counter((k.layer, k.component) for k in settled)
    arriving = list(arrivals(architecture))
    reached = end.layer if isinstance(end, GaveUp) else len(architecture.layers) - 1
    for layer, place, component in architecture:
        if layer <= reached:
            bounds = component.calls(arriving[layer])
            assert bounds.low <= asked[layer, place] <= bounds.high


@given(architecture=architectures(), seed=st.integers())
def test_every_note_has_a_reason_and_every_without_follows_one(architecture, seed):
    end, _ = run(architecture, QUESTION, answers(seed))

    assert all(note.why for note in end.notes)
    for before, note in zip(end.notes, end.notes[1:], strict=False):
        if note.kind == "without":
            assert before.why == note.why
            assert before.kind != "without"


def test_two_that_keep_the_same_candidate_keep_it_once_where_it_first_stands():
    one, two, three = (Candidate(name, name) for name in ("one", "two", "three"))
    state = State((one, two, three))

    after = state.after([Contribution((two, one)), Contribution((three, two))])

    assert after.candidates == (two, one, three)


def test_critiques_join_the_candidates_they_are_about_and_add_up():
    one, two = Candidate("one", "one"), Candidate("two", "two")
    state = State((one, two), ("test",))

    after = state.after([
        Contribution(critiques={"one": "weak"}),
        Contribution(critiques={"one": "short", "gone": "lost"}),
    ])  # fmt: skip

    assert after == State((replace(one, critique="weak\n\nshort"), two), ("test",))


def test_unit_tests_add_up_within_a_layer_and_replace_those_before():
    state = State((Candidate("one", "one"),), ("old",))

    after = state.after([
        Contribution(unit_tests=("a",)), Contribution(), Contribution(unit_tests=("b",)),
    ])  # fmt: skip

    assert after.unit_tests == ("a", "b")


CALL = a_call()


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, model=Model(model="scripted/rough")),
        replace(CALL, model=Model(model=CALL.model.model, api_base="http://localhost:8000")),
        replace(CALL, messages=(Message("user", "What is 2 + 3?"),)),
        replace(CALL, messages=(Message("assistant", "What is 2 + 2?"),)),
        replace(CALL, messages=(Message("system", ""), *CALL.messages)),
        replace(CALL, temperature=0.0),
        replace(CALL, max_tokens=255),
        replace(CALL, sample=1),
        replace(CALL, form=Form("root ::= [0-9]", "4")),
    ],
)
def test_whatever_decides_a_reply_makes_another_request(other):
    assert other.fingerprint != CALL.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, key=CallKey(3, 1, 4, 1)),
        replace(CALL, kind="fuser"),
        replace(CALL, model=Model(model=CALL.model.model, rpm=9, context=99)),
    ],
)
def test_where_a_call_stands_makes_no_other_request(other):
    assert other.fingerprint == CALL.fingerprint


def test_any_text_has_a_fingerprint():
    calls = [a_call(text) for text in ("", "\0", "\ud800", "\udfff", "?")]

    assert len({call.fingerprint for call in calls}) == 5


def test_a_key_sorts_as_it_was_asked_and_survives_writing():
    keys = [CallKey(0, 0, 10, 0), CallKey(0, 0, 2, 1), CallKey(0, 0, 2, 0)]

    assert sorted(keys) == [keys[2], keys[1], keys[0]]
    assert [CallKey.parse(str(k)) for k in keys] == keys


def test_bounds_of_components_add_up():
    ranker, generator = a_component("ranker", retries=2), a_component("generator", samples=4)

    both = ranker.calls(3) + generator.calls(3)

    assert both == Bounds(5, 7)
