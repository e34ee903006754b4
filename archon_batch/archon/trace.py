"""The story of an item: what each component did so far, as the replies on record tell it."""

from collections.abc import Mapping
from dataclasses import dataclass

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import CallKey, Reply
from archon_batch.archon.component import Component, ModelComponent
from archon_batch.archon.describe import describe_step
from archon_batch.archon.planner import Answer, CallsNeeded, Failed, replay_item
from archon_batch.archon.state import ComponentWarning, Question, State


@dataclass(frozen=True, slots=True)
class ComponentTrace:
    type: str
    #: The model's own name; None when it asks none.
    model: str | None
    #: In words; None while its layer is not done.
    description: str | None = None
    warnings: tuple[ComponentWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerTrace:
    components: tuple[ComponentTrace, ...]
    #: None while the layer is not done.
    after: State | None = None


@dataclass(frozen=True, slots=True)
class ItemTrace:
    #: Those that are done, and then the one where the item waits or gave up, if it does there.
    layers: tuple[LayerTrace, ...]
    #: What the item needs next, or its end.
    next_step: CallsNeeded | Answer | Failed


def trace_item(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> ItemTrace:
    """What has come of the replies."""
    passed, step = replay_item(architecture, question, replies)
    layers = []
    for layer in passed:
        components = architecture.layers[layer.layer]
        told = [
            ComponentTrace(
                component.type,
                _model_name(architecture, component),
                describe_step(component, layer.before, done),
                done.warnings,
            )
            for component, done in zip(components, layer.results, strict=True)
        ]
        layers.append(LayerTrace(tuple(told), layer.after))
    here = len(passed)
    if isinstance(step, CallsNeeded) or (isinstance(step, Failed) and step.layer == here):
        begun = [
            ComponentTrace(c.type, _model_name(architecture, c)) for c in architecture.layers[here]
        ]
        layers.append(LayerTrace(tuple(begun)))
    return ItemTrace(tuple(layers), step)


def _model_name(architecture: Architecture, component: Component) -> str | None:
    if not isinstance(component, ModelComponent):
        return None
    return architecture.model(component.model).model
