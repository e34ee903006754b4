"""The planner's law, and the interpreter that is its oracle."""

import re
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    COMPONENT_TYPES,
    Answer,
    Architecture,
    CallKey,
    CallsNeeded,
    Component,
    Contribution,
    CountRange,
    Failed,
    ItemPlanner,
    ItemWarning,
    Message,
    Model,
    ModelComponent,
    Reply,
    ReplyFormat,
    Request,
    layer_flows,
    plan_item,
    read_architecture,
    replay_item,
    run_item,
)
from archon_batch.errors import ArchitectureError
from tests.builders import (
    MODEL,
    a_call,
    a_component,
    a_question,
    an_architecture,
    answers,
    architectures,
    examples,
)

QUESTION = a_question()


def step_after(architecture, **settled):
    """The step that follows when the calls, written as ``k0_0_1_0``, have these replies."""
    replies = {
        CallKey.parse(name[1:].replace("_", ".")): text if isinstance(text, Reply) else Reply(text)
        for name, text in settled.items()
    }
    return plan_item(architecture, QUESTION, replies)


def asked(step):
    assert isinstance(step, CallsNeeded)
    return [str(call.key).replace(".", " ") for call in step.calls]


def test_all_calls_of_a_layer_are_needed_at_once():
    architecture = an_architecture([{"type": "generator", "samples": 2}, "generator"], "fuser")

    step = step_after(architecture)

    assert asked(step) == ["0 0 0 0", "0 0 1 0", "0 1 0 0"]


def test_only_missing_calls_are_needed():
    architecture = an_architecture([{"type": "generator", "samples": 2}, "generator"], "fuser")

    step = step_after(architecture, k0_0_1_0="one", k1_0_0_0="too early")

    assert asked(step) == ["0 0 0 0", "0 1 0 0"]


def test_missing_calls_are_needed_while_another_component_is_done():
    architecture = an_architecture([{"type": "generator", "samples": 3}, "generator"], "fuser")

    step = step_after(architecture, k0_1_0_0="done", k0_0_1_0="one")

    assert asked(step) == ["0 0 0 0", "0 0 2 0"]


def test_the_next_layer_starts_when_all_components_are_done():
    architecture = an_architecture("generator", "fuser")

    step = step_after(architecture, k0_0_0_0="one")

    assert asked(step) == ["1 0 0 0"]


def test_a_call_has_the_settings_of_its_component():
    generator = {"type": "generator", "model": "cheap", "temperature": 0.2, "max_tokens": 99}
    models = {"cheap": {"model": "scripted/plausible", "rpm": 9}}

    step = step_after(an_architecture(generator, models=models))

    assert isinstance(step, CallsNeeded)
    (call,) = step.calls
    assert (call.component_type, call.temperature, call.max_tokens) == ("generator", 0.2, 99)
    assert (call.model.model, call.model.rpm) == ("scripted/plausible", 9)
    assert call.messages[-1].content == QUESTION.query


def test_the_first_candidate_is_the_answer():
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker")

    step = step_after(
        architecture, k0_0_0_0="one", k0_0_1_0="two", k1_0_0_0="Answer: [2] > [1]"
    )  # fmt: skip

    assert step == Answer("two", "0.0.1", unused_calls=(CallKey(0, 0, 0, 0),))


def test_a_call_is_unused_if_its_candidate_is_no_ancestor_of_the_answer():
    architecture = an_architecture(
        {"type": "generator", "samples": 3},
        {"type": "ranker", "top_k": 2},
        {"type": "fuser", "samples": 2},
        {"type": "fuser"},
        {"type": "generator"},
    )

    def dropped(layers):
        replies = {
            "k0_0_0_0": "one", "k0_0_1_0": "two", "k0_0_2_0": "three",
            "k1_0_0_0": "Answer: [2] > [3] > [1]",
            "k2_0_0_0": "both", "k2_0_1_0": "both again", "k3_0_0_0": "all", "k4_0_0_0": "anew",
        }  # fmt: skip
        known = {k: v for k, v in replies.items() if int(k[1]) < layers}
        step = step_after(replace(architecture, layers=architecture.layers[:layers]), **known)
        return [str(key) for key in step.unused_calls]

    assert dropped(1) == ["0.0.1.0", "0.0.2.0"]
    assert dropped(2) == ["0.0.0.0", "0.0.2.0"]
    assert dropped(3) == ["0.0.0.0", "2.0.1.0"]
    assert dropped(4) == ["0.0.0.0"]
    assert dropped(5) == [
        "0.0.0.0", "0.0.1.0", "0.0.2.0", "2.0.0.0", "2.0.1.0", "3.0.0.0"
    ]  # fmt: skip


def test_an_unparsed_reply_is_asked_again_with_the_reason():
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker")

    step = step_after(architecture, k0_0_0_0="one", k0_0_1_0="two", k1_0_0_0="the second")

    assert asked(step) == ["1 0 0 1"]
    assert isinstance(step, CallsNeeded)
    assert 'it has no line such as "Answer: [2] > [1]"' in step.calls[0].messages[-1].content


def test_every_reask_has_its_own_fingerprint():
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker")
    calls = []

    def answer(call):
        calls.append(call)
        return Reply("the same rubbish")

    run_item(architecture, QUESTION, answer)

    asks = [call.fingerprint for call in calls if call.component_type == "ranker"]
    assert len(asks) == 3
    assert len(set(asks)) == 3


def test_a_component_without_a_parsed_reply_is_skipped():
    architecture = an_architecture(
        {"type": "generator", "samples": 2}, {"type": "ranker", "retries": 1}
    )

    step = step_after(
        architecture, k0_0_0_0="one", k0_0_1_0="two", k1_0_0_0="", k1_0_0_1="Answer: [1]"
    )

    assert step == Answer(
        "one",
        "0.0.0",
        (
            ItemWarning(1, 0, "unparsed", "the reply was empty"),
            ItemWarning(1, 0, "unparsed", "it must name each of [1] to [2] exactly once"),
            ItemWarning(1, 0, "skipped", "the candidates keep their order"),
        ),
        (CallKey(0, 0, 1, 0),),
    )


def test_a_failed_call_is_settled_with_a_warning():
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
            ItemWarning(0, 0, "failed", "refused: no"),
            ItemWarning(0, 0, "skipped", "1 of 2 candidates are missing"),
            ItemWarning(1, 0, "failed", "bad_call: what?"),
            ItemWarning(1, 0, "skipped", "no candidate has a critique"),
        ),
    )


@pytest.mark.parametrize(
    ("replies", "layer", "why"),
    [
        ({"k0_0_0_0": Reply(None, failure="refused: no")}, 0, "refused: no"),
        ({"k0_0_0_0": " \n", "k0_0_0_1": ""}, 0, "the reply was empty"),
        ({"k0_0_0_0": "one", "k1_0_0_0": Reply(None, failure="no quota")}, 1, "no quota"),
        ({"k0_0_0_0": "one", "k1_0_0_0": "", "k1_0_0_1": ""}, 1, "the reply was empty"),
    ],
)
def test_an_item_fails_in_the_layer_that_leaves_no_candidate(replies, layer, why):
    architecture = an_architecture(
        "generator", "fuser", defaults={"model": MODEL, "max_tokens": 256, "retries": 1}
    )

    step = step_after(architecture, **replies)

    assert isinstance(step, Failed)
    assert (step.layer, step.why) == (layer, why)
    assert step.warnings[-1] == ItemWarning(layer, 0, "skipped", "1 of 1 candidates are missing")


def test_an_item_fails_with_a_reason_of_the_failed_layer():
    architecture = an_architecture({"type": "generator", "samples": 2, "retries": 0}, "fuser")

    step = step_after(
        architecture, k0_0_0_0="", k0_0_1_0="two", k1_0_0_0=Reply(None, failure="refused: no")
    )

    assert isinstance(step, Failed)
    assert (step.layer, step.why) == (1, "refused: no")
    assert len(step.warnings) == 4


def test_an_item_fails_with_a_reason_of_a_component_that_returns_candidates():
    architecture = an_architecture([{"type": "unit_test_generator", "retries": 0}, "generator"])

    step = step_after(architecture, k0_0_0_0="no list", k0_1_0_0=Reply(None, failure="refused: no"))

    assert isinstance(step, Failed)
    assert step.why == "refused: no"


def test_a_failed_call_is_the_reason_rather_than_a_shortened_prompt():
    models = {"narrow": {"model": MODEL, "context": 1000}}
    fuser = {"type": "fuser", "model": "narrow"}
    architecture = an_architecture({"type": "generator", "samples": 2}, fuser, models=models)

    step = step_after(
        architecture,
        k0_0_0_0="one",
        k0_0_1_0="two" * 1000,
        k1_0_0_0=Reply(None, failure="refused: no"),
    )

    assert isinstance(step, Failed)
    assert [warning.kind for warning in step.warnings] == ["context_overflow", "failed", "skipped"]
    assert step.why == "refused: no"


def test_new_candidates_replace_the_candidates_before():
    architecture = an_architecture("generator", ["critic", "generator"])

    step = step_after(
        architecture, k0_0_0_0="one", k1_0_0_0="[1] weak", k1_1_0_0="another"
    )  # fmt: skip

    assert step == Answer("another", "1.1.0", unused_calls=(CallKey(0, 0, 0, 0),))


def test_unit_tests_before_the_first_candidates_are_shown_to_generators():
    architecture = an_architecture("unit_test_generator", "generator")

    first = step_after(architecture)
    second = step_after(architecture, k0_0_0_0='["it adds up"]')
    last = step_after(architecture, k0_0_0_0='["it adds up"]', k1_0_0_0="four")

    assert isinstance(second, CallsNeeded)
    assert (asked(first), asked(second)) == (["0 0 0 0"], ["1 0 0 0"])
    assert "1. it adds up" in second.calls[0].messages[-1].content
    assert last == Answer("four", "1.0.0")


class Faulty(Component):
    """A component with a bug."""

    requires: ClassVar[frozenset[str]] = frozenset()
    produces: ClassVar[frozenset[str]] = frozenset({"candidates"})
    fault: ClassVar[str] = ""

    type: Literal["faulty"]

    def run(self, context):
        message = (Request(0, context.question.messages),)
        if self.fault == "asks":
            yield message
        if self.fault == "breaks":
            raise ValueError(context.query)
        return Contribution(candidates=())

    def call_count(self, candidates):
        return CountRange(candidates, candidates)

    def output_count(self, candidates):
        return CountRange(candidates, candidates)


class FaultyAsker(Faulty, ModelComponent):
    def run(self, context):
        request = Request(0, context.question.messages)
        yield {"alike": (request, request), "bare": request, "words": ("why?",)}[self.fault]


@pytest.mark.parametrize(
    ("base", "fault", "why"),
    [
        (Faulty, "asks", "the component faulty makes requests, but is no ModelComponent"),
        (
            Faulty,
            "returns",
            "the component faulty does not return a Contribution and a tuple of warnings",
        ),
        (FaultyAsker, "alike", "the component faulty gives two requests the same index"),
        (FaultyAsker, "bare", "the component faulty does not yield a tuple of requests"),
        (FaultyAsker, "words", "the component faulty does not yield a tuple of requests"),
    ],
)
def test_a_component_that_breaks_the_contract_raises_with_the_reason(base, fault, why):
    kind = type(
        base.__name__, (base,), {"fault": fault, "__annotations__": {"fault": ClassVar[str]}}
    )
    written = {"type": "faulty"} | ({"model": MODEL} if base is FaultyAsker else {})
    architecture = read_architecture({"layers": [written]}, {"faulty": kind}, "tested")

    with pytest.raises(ArchitectureError) as refusal:
        step_after(architecture)

    assert (refusal.value.path, refusal.value.why) == ("layers[0][0]", why)


def test_an_exception_in_a_component_is_wrapped_without_quoting_the_row():
    class Breaking(Faulty):
        fault: ClassVar[str] = "breaks"

    layers = [{"type": "generator", "model": MODEL}, {"type": "faulty"}]
    architecture = read_architecture(
        {"layers": layers}, {**COMPONENT_TYPES, "faulty": Breaking}, "tested"
    )

    with pytest.raises(ArchitectureError) as broken:
        step_after(architecture, k0_0_0_0="one")

    here = r"layers\[1\]\[0\]: the component faulty raised ValueError in .*test_planner.py:\d+"
    assert re.fullmatch(here, str(broken.value))


class Sieve(Component):
    """Keeps nothing, and says nothing."""

    selects: ClassVar[bool] = True

    type: Literal["sieve"]

    def run(self, context):
        del context
        return Contribution(candidates=()), ()
        yield

    def call_count(self, candidates):
        del candidates
        return CountRange(0, 0)

    def output_count(self, candidates):
        del candidates
        return CountRange(0, 0)


def test_an_item_fails_if_a_layer_keeps_no_candidate_without_a_warning():
    layers = [
        {"type": "generator", "model": "m"},
        {"type": "sieve"},
        {"type": "fuser", "model": "m"},
    ]
    architecture = read_architecture(
        {"layers": layers}, {**COMPONENT_TYPES, "sieve": Sieve}, "tested"
    )

    assert step_after(architecture, k0_0_0_0="one") == Failed(1, "no candidate is left")


def test_components_of_a_layer_see_the_same_candidates():
    architecture = an_architecture("generator", ["critic", "fuser"])

    step = step_after(architecture, k0_0_0_0="one", k1_0_0_0="[1] weak")

    assert isinstance(step, CallsNeeded)
    assert asked(step) == ["1 1 0 0"]
    assert "weak" not in step.calls[0].messages[-1].content


def test_identical_generators_get_their_own_samples_in_any_layer():
    pair = {"type": "generator", "samples": 2}
    architecture = an_architecture([pair, pair], "generator")

    first = step_after(architecture)
    last = step_after(architecture, k0_0_0_0="a", k0_0_1_0="b", k0_1_0_0="c", k0_1_1_0="d")

    assert isinstance(first, CallsNeeded)
    assert isinstance(last, CallsNeeded)
    assert [call.sample for call in first.calls + last.calls] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("kind", "replies"),
    [
        ("critic", {"k1_0_0_0": "[1] weak"}),
        ("unit_test_generator", {"k1_0_0_0": '["it adds up"]'}),
        ("ranker", {"k1_0_0_0": "Answer: [1]"}),
    ],
)
def test_a_repeated_component_asks_for_another_sample(kind, replies):
    architecture = an_architecture("generator", kind, kind)

    first = step_after(architecture, k0_0_0_0="a")
    second = step_after(architecture, k0_0_0_0="a", **replies)

    assert isinstance(first, CallsNeeded)
    assert isinstance(second, CallsNeeded)
    (one,), (other,) = first.calls, second.calls
    assert one.messages == other.messages
    assert (one.sample, other.sample) == (0, 1)
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model": "cheap"}, {"model": "also"}),
        ({"model": "cheap"}, {"model": "scripted/plausible"}),
        ({"retries": 0}, {"retries": 1}),
        ({"overflow": "error"}, {"overflow": "truncate"}),
        ({"use_critiques": False}, {}),
        ({"shuffle": True}, {}),
    ],
)
def test_components_with_identical_requests_get_their_own_samples(one, other):
    models = {"cheap": {"model": "scripted/plausible"}, "also": {"model": "scripted/plausible"}}
    pair = [{"type": "fuser", **one}, {"type": "fuser", **other}]

    step = step_after(an_architecture("generator", pair, models=models), k0_0_0_0="a")

    assert isinstance(step, CallsNeeded)
    assert len({call.messages for call in step.calls}) == 1
    assert len({call.fingerprint for call in step.calls}) == 2


@given(architecture=architectures(), seed=st.integers())
def test_calls_that_make_an_items_candidates_never_share_a_fingerprint(architecture, seed):
    fingerprints = []

    def answer(call):
        if call.component_type in ("generator", "fuser"):
            fingerprints.append(call.fingerprint)
        return answers(seed)(call)

    run_item(architecture, QUESTION, answer)

    assert len(set(fingerprints)) == len(fingerprints)


@st.composite
def narrow(draw: st.DrawFn) -> Architecture:
    """Any architecture, whose models mostly have windows that not everything fits."""
    architecture = draw(architectures())
    sizes = st.none() | st.integers(400, 1600)
    windows = {name: draw(sizes) for name in architecture.model_names}
    known = {name: size for name, size in windows.items() if size is not None}
    return replace(architecture, context_windows=known)


def rambling(seed):
    """The same provider, whose texts are of very different lengths."""
    answer = answers(seed)

    def longer(call):
        reply = answer(call)
        size = sum(call.key) * 1009 % 1500
        return (
            replace(reply, text=reply.text + "s" * size)
            if call.reply_format is None and reply.text
            else reply
        )

    return longer


@examples(3)
@given(architecture=narrow(), seed=st.integers(), random=st.randoms())
def test_any_order_of_replies_gives_the_end_of_run_item(architecture, seed, random):
    answer = rambling(seed)
    end, settled = run_item(architecture, QUESTION, answer)

    replies: dict[CallKey, Reply] = {}
    while isinstance(step := plan_item(architecture, QUESTION, replies), CallsNeeded):
        assert replies.keys().isdisjoint(call.key for call in step.calls)
        for call in random.sample(step.calls, random.randint(1, len(step.calls))):
            replies[call.key] = answer(call)

    assert step == end
    assert replies == settled


@examples(2)
@given(architecture=narrow(), seed=st.integers(), random=st.randoms())
def test_a_planner_with_memory_returns_the_steps_of_plan_item(architecture, seed, random):
    answer, other = rambling(seed), rambling(seed + 1)
    planner, replies = ItemPlanner(architecture, QUESTION), dict[CallKey, Reply]()

    step = plan_item(architecture, QUESTION, replies)
    while True:
        assert planner.next_step(replies) == step
        if not isinstance(step, CallsNeeded):
            break
        if replies and random.random() < 0.1:
            # A retry removes a reply or replaces it.
            key = random.choice(list(replies))
            del replies[key]
            answer = other
        else:
            for call in random.sample(step.calls, random.randint(1, len(step.calls))):
                replies[call.key] = answer(call)
        step = plan_item(architecture, QUESTION, replies)

    planner.close()


@given(architecture=narrow(), seed=st.integers(), random=st.randoms())
def test_surplus_replies_and_their_order_change_nothing(architecture, seed, random):
    end, settled = run_item(architecture, QUESTION, rambling(seed))
    more = {
        CallKey(layer, component, slot, 99): Reply("nobody asked")
        for layer in range(6)
        for component in range(3)
        for slot in range(4)
    }
    items = list((more | settled).items())
    random.shuffle(items)

    assert plan_item(architecture, QUESTION, dict(items)) == end


@given(architecture=narrow(), seed=st.integers(), random=st.randoms())
def test_replies_of_a_later_layer_are_ignored(architecture, seed, random):
    _, settled = run_item(architecture, QUESTION, rambling(seed))
    known = {key: reply for key, reply in settled.items() if random.random() < 0.8}

    step = plan_item(architecture, QUESTION, known)

    if isinstance(step, CallsNeeded):
        (layer,) = {call.key.layer for call in step.calls}
        earlier = {key: reply for key, reply in known.items() if key.layer <= layer}
        assert plan_item(architecture, QUESTION, earlier) == step


@given(architecture=narrow(), seed=st.integers())
def test_every_item_ends_within_the_maximum_of_calls(architecture, seed):
    most = sum(flow.max_calls for flow in layer_flows(architecture))
    replies: dict[CallKey, Reply] = {}

    while isinstance(step := plan_item(architecture, QUESTION, replies), CallsNeeded):
        assert step.calls
        assert len({call.key for call in step.calls}) == len(step.calls)
        replies |= {call.key: rambling(seed)(call) for call in step.calls}
        assert len(replies) <= most

    assert plan_item(architecture, QUESTION, replies) == step


@given(architecture=narrow(), seed=st.integers())
def test_every_failed_or_unparsed_reply_has_a_warning(architecture, seed):
    end, settled = run_item(architecture, QUESTION, rambling(seed))

    passed, _ = replay_item(architecture, QUESTION, settled)
    done = [reply for key, reply in settled.items() if key.layer < len(passed)]
    again = [key for key in settled if key.layer < len(passed) and key.reask]
    kinds = [warning.kind for warning in end.warnings]
    assert all(warning.why for warning in end.warnings)
    assert kinds.count("failed") == sum(reply.failure is not None for reply in done)
    assert kinds.count("unparsed") >= len(again)


def test_replay_returns_the_completed_layers():
    architecture = an_architecture(
        {"type": "generator", "samples": 2}, ["critic", "ranker"], "fuser"
    )
    replies = {
        CallKey(0, 0, 0, 0): Reply("one"),
        CallKey(0, 0, 1, 0): Reply("two"),
        CallKey(1, 0, 0, 0): Reply("[1] weak [2] long"),
        CallKey(1, 0, 0, 1): Reply("[1] weak\n[2] long"),
        CallKey(1, 1, 0, 0): Reply("Answer: [2] > [1]"),
    }  # fmt: skip

    passed, step = replay_item(architecture, QUESTION, replies)

    assert step == plan_item(architecture, QUESTION, replies)
    assert asked(step) == ["2 0 0 0"]
    first, second = passed
    assert (first.layer, first.before.candidates) == (0, ())
    assert second.before == first.after
    assert [d.component for d in second.results] == [0, 1]
    assert [warning.kind for d in second.results for warning in d.warnings] == ["unparsed"]
    assert second.results[0].contribution.critiques == {"0.0.0": "weak", "0.0.1": "long"}
    assert [(c.id, c.critique) for c in second.after.candidates] == [
        ("0.0.1", "long"),
        ("0.0.0", "weak"),
    ]


def test_a_warning_names_its_component():
    architecture = an_architecture("generator", ["critic", {"type": "ranker", "retries": 0}])

    step = step_after(
        architecture, k0_0_0_0="one", k1_0_0_0="[1] weak", k1_1_0_0="I like it."
    )  # fmt: skip

    assert isinstance(step, Answer)
    assert {(warning.layer, warning.component) for warning in step.warnings} == {(1, 1)}


def narrowed(*layers: Any, context: int) -> Architecture:
    """The layers with a model of that window, whose prompts must not be shortened."""
    models = {"narrow": {"model": MODEL, "context": context}}
    defaults = {"model": MODEL, "max_tokens": 256, "overflow": "error"}
    return an_architecture(*layers, models=models, defaults=defaults)


@pytest.mark.parametrize(
    "kind",
    [
        "generator",
        "critic",
        "ranker",
        "fuser",
        "verifier",
        "unit_test_generator",
        "unit_test_evaluator",
    ],
)
def test_a_first_prompt_that_is_too_long_fails_the_item_before_its_layer_makes_calls(kind):
    layers = [
        ["generator", "unit_test_generator"],
        ["generator", {"type": kind, "model": "narrow"}],
    ]

    step = step_after(narrowed(*layers, context=300), k0_0_0_0="one", k0_1_0_0='["it adds up"]')

    assert isinstance(step, Failed)
    assert step.layer == 1
    assert re.fullmatch(
        r"the prompt takes about \d+ tokens, and the model's window leaves 44", step.why
    )


def test_max_prompt_tokens_is_the_model_s_window_minus_max_tokens():
    fusers = [{"type": "fuser", "model": "narrow", "max_tokens": 100}, "fuser"]

    step = step_after(narrowed("generator", fusers, context=300), k0_0_0_0="one")

    assert isinstance(step, Failed)
    assert "window leaves 200" in step.why
    assert isinstance(
        step_after(narrowed("generator", "fuser", context=300), k0_0_0_0="one"), CallsNeeded
    )


def test_a_later_prompt_that_is_too_long_waits_for_the_calls_of_its_layer():
    verifier = {"type": "verifier", "model": "narrow"}
    architecture = narrowed("generator", [verifier, "critic"], context=256 + 600)
    argued = {"k0_0_0_0": "one", "k1_0_0_0": "It holds. " * 200}

    early = step_after(architecture, **argued)
    late = step_after(architecture, **argued, k1_1_0_0="[1] weak")

    assert asked(step_after(architecture, k0_0_0_0="one")) == ["1 0 0 0", "1 1 0 0"]
    assert asked(early) == ["1 1 0 0"]
    assert isinstance(late, Failed)
    assert (late.layer, late.warnings) == (1, ())
    assert "window leaves 600" in late.why


def test_a_first_prompt_that_is_too_long_is_the_reason_before_later_ones():
    wordy = {"type": "verifier", "model": "narrow"}
    stuck = {"type": "critic", "model": "narrow", "max_tokens": 256 + 600}
    architecture = narrowed("generator", [wordy, stuck], context=256 + 600)

    first = step_after(architecture, k0_0_0_0="one")
    more = step_after(architecture, k0_0_0_0="one", k1_0_0_0="It holds. " * 200)

    assert isinstance(first, Failed)
    assert "window leaves 0" in first.why
    assert more == first


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
        replace(CALL, reply_format=ReplyFormat("root ::= [0-9]", "4")),
        replace(CALL, reply_format=ReplyFormat(None, "4", schema='{"type": "integer"}')),
        replace(CALL, key=CallKey(0, 0, 0, 1)),
    ],
)
def test_the_fingerprint_covers_all_that_determines_a_reply(other):
    assert other.fingerprint != CALL.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, key=CallKey(3, 1, 4, 0)),
        replace(CALL, reply_format=ReplyFormat(None, "4", costliest_example="5", padding_offset=1)),
        replace(CALL, component_type="fuser"),
        replace(CALL, model=Model(model=CALL.model.model, rpm=9, context=99)),
    ],
)
def test_the_fingerprint_ignores_the_position_of_a_call(other):
    assert other.fingerprint == CALL.fingerprint


def test_any_text_has_a_fingerprint():
    calls = [a_call(text) for text in ("", "\0", "\ud800", "\udfff", "?")]

    assert len({call.fingerprint for call in calls}) == 5


def test_keys_sort_in_planning_order_and_survive_str_and_parse():
    keys = [CallKey(10, 0, 0, 0), CallKey(2, 3, 10, 0), CallKey(2, 3, 4, 1), CallKey(2, 3, 4, 0)]

    assert sorted(keys) == keys[::-1]
    assert [CallKey.parse(str(k)) for k in keys] == keys
    assert str(keys[2]) == "2.3.4.1"


def test_bounds_of_components_add_up():
    ranker, generator = a_component("ranker", retries=2), a_component("generator", samples=4)

    both = ranker.call_count(3) + generator.call_count(3)

    assert both == CountRange(5, 5)
    assert both * 3 == CountRange(15, 15)
    assert ranker.max_call_count(3) == 3
    assert [str(CountRange(1, 1)), str(CountRange(1, 2000))] == ["1", "1-2,000"]
