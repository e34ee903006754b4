"""From a point of a space to its architecture."""

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


#: Why a point is no architecture of its own.
NO_GENERATOR = "no generator is left"
UNUSED_CANDIDATES = "candidates that nothing looks at"
UNUSED_CRITIQUES = "critiques that nothing reads"


class ArchitectureBuilder:
    """Makes the architectures of one space; alike components and layers are made once."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._components: dict[tuple[object, ...], Component] = {}
        #: By the components' own identities: to hash what they hold takes longer than all the rest.
        self._layers: dict[tuple[int, ...], Layer] = {}
        self._flows: dict[tuple[int, int, int], LayerFlow] = {}

    def build(self, point: Point) -> Architecture:
        """The architecture of the point.

        Raises:
            ArchitectureError: it is none: nothing looks at some of its candidates or critiques, or
                it has more fusers than there are; ``why`` says so.
        """
        return self._architecture(architecture_name(point), self.build_layers(point).layers)

    def build_layers(self, point: Point) -> "LayerStack":
        """The layers of the point, and what they come to.

        Raises:
            ArchitectureError: as ``build`` does.
        """
        chosen = point.as_data()
        review, evaluation = str(chosen["review"]), str(chosen["evaluation"])
        top_k, fusions = int(chosen.get("top_k", 1)), int(chosen["fusions"])
        draft = LayerStack(self)
        draft.add(self._generators(self._samples(chosen), float(chosen["temperature"])))
        for fusion in range(1, fusions + 1):
            last = fusion == fusions
            self._add_review(draft, review, top_k)
            if last:
                self._add_evaluation(draft, evaluation, ends=False)
            draft.add(self._fusers(1 if last else int(chosen[f"width {fusion}"])))
        if not fusions:
            self._add_review(draft, review, top_k)
            if draft.layers[-1][0].type == "critic":
                raise ArchitectureError("", "layers", UNUSED_CRITIQUES)
            self._add_evaluation(draft, evaluation, ends=True)
        if draft.candidates_out.high > 1:
            raise ArchitectureError("", "layers", UNUSED_CANDIDATES)
        return draft

    def single_model(self, model: str, samples: int = 1) -> Architecture:
        """One model, asked once; or several times, and what most samples come to."""
        draft = LayerStack(self)
        draft.add(self._generators({model: samples}, self.space.axes.temperature[0]))
        if samples > 1:
            draft.add((self._component("voter", extract=self.space.roles.voter),))
        return self._architecture(f"{model}-{samples}" if samples > 1 else model, draft.layers)

    def fuse_models(self, generators: Sequence[str], fuser: str) -> Architecture:
        """What a fuser makes of one candidate of each generator."""
        draft = LayerStack(self)
        draft.add(self._generators(dict.fromkeys(generators, 1), self.space.axes.temperature[0]))
        draft.add((self._component("fuser", model=fuser),))
        return self._architecture(f"fused-by-{fuser}", draft.layers)

    def all_models(self, models: Iterable[str]) -> Architecture:
        """Each of the models, asked once."""
        draft = LayerStack(self)
        draft.add(self._generators(dict.fromkeys(models, 1), self.space.axes.temperature[0]))
        return self._architecture(self.space.name, draft.layers)

    def shared_layer(self, components: Sequence[Component]) -> Layer:
        """The layer of these, the same object for the same components."""
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
        found = tuple(
            self._component("generator", model=model, samples=count, temperature=temperature)
            for model, count in samples.items()
            if count
        )
        if not found:
            raise ArchitectureError("", "layers[0]", NO_GENERATOR)
        return found

    def _add_review(self, draft: "LayerStack", review: str, top_k: int) -> None:
        if review in ("critic", "both"):
            draft.add((self._component("critic", model=self.space.roles.critic),))
        arriving = draft.candidates_out.high
        # To put one candidate in order is a call for nothing.
        if review in ("ranker", "both") and arriving > 1:
            kept = min(top_k, arriving)
            draft.add((self._component("ranker", model=self.space.roles.ranker, top_k=kept),))

    def _add_evaluation(self, draft: "LayerStack", evaluation: str, *, ends: bool) -> None:
        roles, arriving = self.space.roles, draft.candidates_out.high
        # One candidate is the answer, whatever is said of it, and has every vote.
        if arriving == 1 and (ends or evaluation == "voter"):
            return
        if evaluation == "verifier":
            keys = {"first_k": 1} if ends else {}
            draft.add((self._component("verifier", model=roles.verifier, **keys),))
        elif evaluation == "unit_tests":
            keys = {"top_k": 1} if ends else {}
            draft.add((self._component("unit_test_generator", model=roles.unit_tests),))
            draft.add((self._component("unit_test_evaluator", model=roles.unit_tests, **keys),))
        elif evaluation == "voter":
            draft.add((self._component("voter", extract=roles.voter),))

    def _fusers(self, width: int) -> Layer:
        fusers = self.space.fusers[:width]
        if len(fusers) < width:
            raise ArchitectureError("", "layers", f"more than {len(fusers)} fusers")
        return tuple(self._component("fuser", model=model) for model in fusers)

    def _component(self, kind: str, **keys: Any) -> Component:  # noqa: ANN401
        key = (kind, *keys.items())
        if key not in self._components:
            fields = COMPONENT_TYPES[kind].model_fields
            defaults = {k: v for k, v in self.space.defaults.items() if k in fields}
            self._components[key] = validate_data(
                COMPONENT_TYPES[kind], {"type": kind, **defaults, **keys}, kind
            )
        return self._components[key]


class LayerStack:
    """Layers one after the other, and what they come to."""

    def __init__(self, builder: ArchitectureBuilder) -> None:
        self.layers: list[Layer] = []
        #: What arrives at each of them, leaves it and is asked there.
        self.flows: list[LayerFlow] = []
        #: Candidates after the last of them.
        self.candidates_out = CountRange(0, 0)
        #: At the most, when every reply can be read.
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
    """A name for the point's architecture: a word that tells it from the others of its space."""
    data = json.dumps(point.values)
    return f"found-{hashlib.sha256(data.encode()).hexdigest()[:8]}"


def architecture_digest(architecture: Architecture) -> str:
    """The SHA-256 of all that an architecture does: alike ones are one, whatever their names."""
    data = {**architecture.to_dict(), "name": ""}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
