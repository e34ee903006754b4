"""The trace of an item: what each component did so far, replayed from the stored replies."""

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
    #: The name of the model, not its alias; None if the component uses none.
    model: str | None
    #: What the component did; None while its layer is incomplete.
    description: str | None = None
    warnings: tuple[ComponentWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerTrace:
    components: tuple[ComponentTrace, ...]
    #: None while the layer is incomplete.
    after: State | None = None


@dataclass(frozen=True, slots=True)
class ItemTrace:
    #: The completed layers, then the current layer if the item waits or failed there.
    layers: tuple[LayerTrace, ...]
    next_step: CallsNeeded | Answer | Failed


def trace_item(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> ItemTrace:
    """Replay the item, and describe what each component did."""
    completed, step = replay_item(architecture, question, replies)
    layers = []
    for layer in completed:
        components = tuple(
            ComponentTrace(
                component.type,
                _model_name(architecture, component),
                describe_step(component, layer.before, result),
                result.warnings,
            )
            for component, result in zip(
                architecture.layers[layer.layer], layer.results, strict=True
            )
        )
        layers.append(LayerTrace(components, layer.after))
    current = len(completed)
    if isinstance(step, CallsNeeded) or (isinstance(step, Failed) and step.layer == current):
        started = tuple(
            ComponentTrace(component.type, _model_name(architecture, component))
            for component in architecture.layers[current]
        )
        layers.append(LayerTrace(started))
    return ItemTrace(tuple(layers), step)


def _model_name(architecture: Architecture, component: Component) -> str | None:
    if not isinstance(component, ModelComponent):
        return None
    return architecture.model(component.model).model
