"""The story of an item: what each component did so far, as the replies on record tell it."""

from collections.abc import Mapping
from dataclasses import dataclass

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import CallKey, Reply
from archon_batch.archon.component import Component, ModelComponent
from archon_batch.archon.course import Answer, Ask, GaveUp
from archon_batch.archon.describe import did
from archon_batch.archon.planner import trace
from archon_batch.archon.state import Question, Remark, State


@dataclass(frozen=True, slots=True)
class ComponentStory:
    type: str
    #: The model's own name; None when it asks none.
    model: str | None
    #: In words; None while its layer is not done.
    did: str | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerStory:
    components: tuple[ComponentStory, ...]
    #: None while the layer is not done.
    after: State | None = None


@dataclass(frozen=True, slots=True)
class Story:
    #: Those that are done, and then the one where the item waits or gave up, if it does there.
    layers: tuple[LayerStory, ...]
    #: What the item needs next, or its end.
    step: Ask | Answer | GaveUp


def story_of(
    architecture: Architecture, question: Question, replies: Mapping[CallKey, Reply]
) -> Story:
    """What has come of the replies."""
    passed, step = trace(architecture, question, replies)
    layers = []
    for layer in passed:
        components = architecture.layers[layer.layer]
        told = [
            ComponentStory(
                component.type,
                _model(architecture, component),
                did(component, layer.before, done),
                done.remarks,
            )
            for component, done in zip(components, layer.done, strict=True)
        ]
        layers.append(LayerStory(tuple(told), layer.after))
    here = len(passed)
    if isinstance(step, Ask) or (isinstance(step, GaveUp) and step.layer == here):
        begun = [ComponentStory(c.type, _model(architecture, c)) for c in architecture.layers[here]]
        layers.append(LayerStory(tuple(begun)))
    return Story(tuple(layers), step)


def _model(architecture: Architecture, component: Component) -> str | None:
    if not isinstance(component, ModelComponent):
        return None
    return architecture.model(component.model).model
