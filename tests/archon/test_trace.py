"""The trace of an item."""

from dataclasses import replace

from archon_batch.archon import Answer, CallKey, CallsNeeded, Failed, Reply, run_item, trace_item
from tests.builders import MODEL, a_question, a_random_architecture, an_architecture, answers

QUESTION = a_question()
SMALL = {"small": {"model": "scripted/small"}}


def replied(**settled):
    """Replies by the keys of their calls, written as ``k0_0_1_0``."""
    return {
        CallKey.parse(name[1:].replace("_", ".")): Reply(text) for name, text in settled.items()
    }


def test_a_trace_has_each_layer_with_descriptions_and_state():
    architecture = an_architecture(
        [{"type": "generator", "samples": 2}, {"type": "generator", "model": "small"}],
        {"type": "voter", "extract": "text"},
        models=SMALL,
    )
    _, replies = run_item(architecture, QUESTION, lambda call: Reply(f"text {call.key.component}"))

    trace = trace_item(architecture, QUESTION, replies)

    first, second = trace.layers
    assert [(c.type, c.model, c.description) for c in first.components] == [
        ("generator", MODEL, "made 2 candidates"),
        ("generator", "scripted/small", "made 1 candidate"),
    ]
    assert [(c.type, c.model, c.description) for c in second.components] == [
        ("voter", None, "2 of 3 votes for text 0"),
    ]
    assert first.after is not None
    assert second.after is not None
    assert [c.id for c in first.after.candidates] == ["0.0.0", "0.0.1", "0.1.0"]
    assert [(c.id, c.scores) for c in second.after.candidates] == [("0.0.0", {"votes": 2.0})]
    assert isinstance(trace.next_step, Answer)
    assert (trace.next_step.text, trace.next_step.candidate_id) == ("text 0", "0.0.0")


def test_a_trace_has_the_warnings_of_each_component():
    architecture = an_architecture({"type": "generator", "samples": 2}, "ranker")
    _, replies = run_item(
        architecture,
        QUESTION,
        lambda call: Reply("yes" if call.component_type == "generator" else "no order"),
    )

    (_, ranked) = trace_item(architecture, QUESTION, replies).layers

    (ranker,) = ranked.components
    assert [warning.kind for warning in ranker.warnings] == ["unparsed"] * 3 + ["skipped"]


def test_the_waiting_layer_is_in_the_trace_without_descriptions():
    architecture = an_architecture(
        {"type": "generator", "samples": 2}, ["critic", "ranker"], "fuser"
    )

    nothing = trace_item(architecture, QUESTION, {})
    half = trace_item(
        architecture, QUESTION, replied(k0_0_0_0="a", k0_0_1_0="b", k1_1_0_0="[2] > [1]")
    )

    (first,) = nothing.layers
    assert (first.components[0].description, first.after) == (None, None)
    done, waiting = half.layers
    assert done.components[0].description == "made 2 candidates"
    assert [(c.type, c.description) for c in waiting.components] == [
        ("critic", None),
        ("ranker", None),
    ]
    assert waiting.after is None
    assert isinstance(half.next_step, CallsNeeded)
    assert [str(call.key) for call in half.next_step.calls] == ["1.0.0.0"]


def test_the_last_layer_of_a_failed_item_has_no_candidates():
    architecture = an_architecture("generator", "fuser")
    _, replies = run_item(architecture, QUESTION, lambda _: Reply(None, failure="refused: no"))

    trace = trace_item(architecture, QUESTION, replies)

    (only,) = trace.layers
    assert only.components[0].description == "made no candidate"
    assert only.after is not None
    assert only.after.candidates == ()
    assert isinstance(trace.next_step, Failed)
    assert (trace.next_step.layer, trace.next_step.why) == (0, "refused: no")


def test_a_layer_with_a_prompt_that_is_too_long_is_the_last_without_descriptions():
    architecture = an_architecture("generator", {"type": "fuser", "overflow": "error"}, "fuser")
    architecture = replace(architecture, context_windows={MODEL: 1000})

    trace = trace_item(architecture, QUESTION, replied(k0_0_0_0="long " * 1000))

    assert [(layer.components[0].description, layer.after is None) for layer in trace.layers] == [
        ("made 1 candidate", False),
        (None, True),
    ]
    assert isinstance(trace.next_step, Failed)
    assert trace.next_step.layer == 1


def test_every_component_of_any_completed_layer_is_described():
    for seed in range(60):
        architecture = a_random_architecture(seed, [MODEL])
        step, replies = run_item(architecture, QUESTION, answers(seed))

        trace = trace_item(architecture, QUESTION, replies)

        assert trace.next_step == step
        for layer, components in zip(trace.layers, architecture.layers, strict=False):
            assert [c.type for c in layer.components] == [c.type for c in components]
            assert all(component.description for component in layer.components)
