"""Builds the architecture of a point of a search space."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archon_batch.archon import (
    COMPONENT_TYPES,
    Architecture,
    Component,
    CountRange,
    LayerFlow,
    Model,
    layer_flow,
    validate_architecture,
    validate_data,
)
from archon_batch.errors import ArchitectureError
from archon_batch.search.axes import Point, Value
from archon_batch.search.space import Space

Layer = tuple[Component, ...]


#: Why a point has no valid architecture.
NO_GENERATOR = "no generator"
UNUSED_CANDIDATES = "candidates that no component uses"
UNUSED_CRITIQUES = "critiques that no component uses"


class ArchitectureBuilder:
    """Builds the architectures of one space; equal components and layers are the same object."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._components: dict[tuple[object, ...], Component] = {}
        #: By the ids of the components: hashing their fields would dominate the running time.
        self._layers: dict[tuple[int, ...], Layer] = {}
        self._flows: dict[tuple[int, int, int], LayerFlow] = {}

    def build(self, point: Point) -> Architecture:
        """The architecture of the point.

        Raises:
            ArchitectureError: the point is invalid: no component uses some of its candidates or
                critiques, or it needs more fusers than the space has; ``why`` says which.
        """
        return self._architecture(architecture_name(point), self.build_layers(point).layers)

    def build_layers(self, point: Point) -> "LayerStack":
        """The layers of the point, with their counts of candidates and calls.

        Raises:
            ArchitectureError: as ``build`` does.
        """
        chosen = point.as_data()
        review, evaluation = str(chosen["review"]), str(chosen["evaluation"])
        top_k, fusions = int(chosen.get("top_k", 1)), int(chosen["fusions"])
        stack = LayerStack(self)
        stack.add(self._generators(self._samples(chosen), float(chosen["temperature"])))
        for fusion in range(1, fusions + 1):
            last = fusion == fusions
            self._add_review(stack, review, top_k)
            if last:
                self._add_evaluation(stack, evaluation, ends=False)
            stack.add(self._fusers(1 if last else int(chosen[f"width {fusion}"])))
        if not fusions:
            self._add_review(stack, review, top_k)
            if stack.layers[-1][0].type == "critic":
                raise ArchitectureError("", "layers", UNUSED_CRITIQUES)
            self._add_evaluation(stack, evaluation, ends=True)
        if stack.candidates_out.high > 1:
            raise ArchitectureError("", "layers", UNUSED_CANDIDATES)
        return stack

    def single_model(self, model: str, samples: int = 1) -> Architecture:
        """One model called once, or ``samples`` times with a majority vote (self-consistency)."""
        stack = LayerStack(self)
        stack.add(self._generators({model: samples}, self.space.axes.temperature[0]))
        if samples > 1:
            stack.add((self._component("voter", extract=self.space.roles.voter),))
        return self._architecture(f"{model}-{samples}" if samples > 1 else model, stack.layers)

    def fuse_models(self, generators: Sequence[str], fuser: str) -> Architecture:
        """A fuser over one candidate of each generator."""
        stack = LayerStack(self)
        stack.add(self._generators(dict.fromkeys(generators, 1), self.space.axes.temperature[0]))
        stack.add((self._component("fuser", model=fuser),))
        return self._architecture(f"fused-by-{fuser}", stack.layers)

    def all_models(self, models: Iterable[str]) -> Architecture:
        """A layer with one generator per model."""
        stack = LayerStack(self)
        stack.add(self._generators(dict.fromkeys(models, 1), self.space.axes.temperature[0]))
        return self._architecture(self.space.name, stack.layers)

    def shared_layer(self, components: Sequence[Component]) -> Layer:
        """The layer of these components; the same components give the same object."""
        return self._layers.setdefault(tuple(map(id, components)), tuple(components))

    def flow_of_layer(self, layer: Layer, arriving: CountRange) -> LayerFlow:
        key = (id(layer), arriving.low, arriving.high)
        if key not in self._flows:
            self._flows[key] = layer_flow(layer, arriving)
        return self._flows[key]

    def _architecture(self, name: str, layers: Sequence[Layer]) -> Architecture:
        named = [getattr(component, "model", "") for layer in layers for component in layer]
        models: dict[str, Model] = {
            n: self.space.models[n] for n in named if n in self.space.models
        }
        windows = {n: m.context for n, m in models.items() if m.context is not None}
        architecture = Architecture(name, models, tuple(layers), windows)
        validate_architecture(architecture)
        return architecture

    def _samples(self, chosen: Mapping[str, Value]) -> dict[str, int]:
        space = self.space
        if space.samples_by_generator:
            return {name: int(chosen[f"samples of {name}"]) for name in space.samples_by_generator}
        best = space.roles.generators[: int(chosen["generators"])]
        return dict.fromkeys(best, int(chosen["samples"]))

    def _generators(self, samples: Mapping[str, int], temperature: float) -> Layer:
        layer = tuple(
            self._component("generator", model=model, samples=count, temperature=temperature)
            for model, count in samples.items()
            if count
        )
        if not layer:
            raise ArchitectureError("", "layers[0]", NO_GENERATOR)
        return layer

    def _add_review(self, stack: "LayerStack", review: str, top_k: int) -> None:
        if review in ("critic", "both"):
            stack.add((self._component("critic", model=self.space.roles.critic),))
        arriving = stack.candidates_out.high
        # Ranking a single candidate would waste a call.
        if review in ("ranker", "both") and arriving > 1:
            top_k = min(top_k, arriving)
            stack.add((self._component("ranker", model=self.space.roles.ranker, top_k=top_k),))

    def _add_evaluation(self, stack: "LayerStack", evaluation: str, *, ends: bool) -> None:
        roles, arriving = self.space.roles, stack.candidates_out.high
        # A single candidate is the answer and wins every vote.
        if arriving == 1 and (ends or evaluation == "voter"):
            return
        if evaluation == "verifier":
            keys = {"first_k": 1} if ends else {}
            stack.add((self._component("verifier", model=roles.verifier, **keys),))
        elif evaluation == "unit_tests":
            keys = {"top_k": 1} if ends else {}
            stack.add((self._component("unit_test_generator", model=roles.unit_tests),))
            stack.add((self._component("unit_test_evaluator", model=roles.unit_tests, **keys),))
        elif evaluation == "voter":
            stack.add((self._component("voter", extract=roles.voter),))

    def _fusers(self, width: int) -> Layer:
        fusers = self.space.fusers[:width]
        if len(fusers) < width:
            raise ArchitectureError("", "layers", f"more than {len(fusers)} fusers")
        return tuple(self._component("fuser", model=model) for model in fusers)

    def _component(self, component_type: str, **fields: Any) -> Component:  # noqa: ANN401
        key = (component_type, *fields.items())
        if key not in self._components:
            model = COMPONENT_TYPES[component_type]
            defaults = {k: v for k, v in self.space.defaults.items() if k in model.model_fields}
            data = {"type": component_type, **defaults, **fields}
            self._components[key] = validate_data(model, data, component_type)
        return self._components[key]


class LayerStack:
    """Layers of an architecture under construction, with their counts of candidates and calls."""

    def __init__(self, builder: ArchitectureBuilder) -> None:
        self.layers: list[Layer] = []
        #: One per layer: candidates in and out, and calls.
        self.flows: list[LayerFlow] = []
        #: Candidates after the last layer.
        self.candidates_out = CountRange(0, 0)
        #: Calls per row at most, without re-asks.
        self.max_calls = 0
        self._builder = builder

    def add(self, components: Sequence[Component]) -> None:
        layer = self._builder.shared_layer(components)
        flow = self._builder.flow_of_layer(layer, self.candidates_out)
        self.layers.append(layer)
        self.flows.append(flow)
        self.candidates_out = flow.candidates_out
        self.max_calls += flow.calls.high


def architecture_name(point: Point) -> str:
    """A name for the architecture of the point, unique in its space."""
    data = json.dumps(point.values)
    return f"point-{hashlib.sha256(data.encode()).hexdigest()[:8]}"


def architecture_digest(architecture: Architecture) -> str:
    """The SHA-256 of the architecture without its name, in hex."""
    data = {**architecture.to_dict(), "name": ""}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
