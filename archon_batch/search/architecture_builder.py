"""From a point of a space to its architecture."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archon_batch.archon import (
    KINDS,
    Architecture,
    Bounds,
    Component,
    Flow,
    Model,
    checked,
    flow_of,
    refuse_broken,
)
from archon_batch.errors import ArchitectureError
from archon_batch.search.axes import Point, Value
from archon_batch.search.space import Space

Layer = tuple[Component, ...]


#: Why a point is no architecture of its own.
NO_GENERATOR = "no generator is left"
UNSEEN = "candidates that nothing looks at"
UNREAD = "critiques that nothing reads"


class Builder:
    """Makes the architectures of one space; alike components and layers are made once."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._made: dict[tuple[object, ...], Component] = {}
        #: By the components' own identities: to hash what they hold takes longer than all the rest.
        self._layers: dict[tuple[int, ...], Layer] = {}
        self._flows: dict[tuple[int, int, int], Flow] = {}

    def build(self, point: Point) -> Architecture:
        """The architecture of the point.

        Raises:
            ArchitectureError: it is none: nothing looks at some of its candidates or critiques, or
                it has more fusers than there are; ``why`` says so.
        """
        return self._architecture(name_of(point), self.draft(point).layers)

    def draft(self, point: Point) -> "Draft":
        """The layers of the point, and what they come to.

        Raises:
            ArchitectureError: as ``build`` does.
        """
        chosen = point.as_data()
        review, evaluation = str(chosen["review"]), str(chosen["evaluation"])
        top_k, fusions = int(chosen.get("top_k", 1)), int(chosen["fusions"])
        draft = Draft(self)
        draft.add(self._generators(self._samples(chosen), float(chosen["temperature"])))
        for fusion in range(1, fusions + 1):
            last = fusion == fusions
            self._review(draft, review, top_k)
            if last:
                self._evaluate(draft, evaluation, ends=False)
            draft.add(self._fusers(1 if last else int(chosen[f"width {fusion}"])))
        if not fusions:
            self._review(draft, review, top_k)
            if draft.layers[-1][0].type == "critic":
                raise ArchitectureError("", "layers", UNREAD)
            self._evaluate(draft, evaluation, ends=True)
        if draft.leaving.high > 1:
            raise ArchitectureError("", "layers", UNSEEN)
        return draft

    def alone(self, model: str, samples: int = 1) -> Architecture:
        """One model, asked once; or several times, and what most samples come to."""
        draft = Draft(self)
        draft.add(self._generators({model: samples}, self.space.axes.temperature[0]))
        if samples > 1:
            draft.add((self._one("voter", extract=self.space.roles.voter),))
        return self._architecture(f"{model}-{samples}" if samples > 1 else model, draft.layers)

    def fused(self, generators: Sequence[str], fuser: str) -> Architecture:
        """What a fuser makes of one candidate of each generator."""
        draft = Draft(self)
        draft.add(self._generators(dict.fromkeys(generators, 1), self.space.axes.temperature[0]))
        draft.add((self._one("fuser", model=fuser),))
        return self._architecture(f"fused-by-{fuser}", draft.layers)

    def everyone(self, models: Iterable[str]) -> Architecture:
        """Each of the models, asked once."""
        draft = Draft(self)
        draft.add(self._generators(dict.fromkeys(models, 1), self.space.axes.temperature[0]))
        return self._architecture(self.space.name, draft.layers)

    def layer(self, components: Sequence[Component]) -> Layer:
        """The layer of these, the same object for the same components."""
        return self._layers.setdefault(tuple(map(id, components)), tuple(components))

    def flow(self, layer: Layer, arriving: Bounds) -> Flow:
        key = (id(layer), arriving.low, arriving.high)
        if key not in self._flows:
            self._flows[key] = flow_of(layer, arriving)
        return self._flows[key]

    def _architecture(self, name: str, layers: Sequence[Layer]) -> Architecture:
        named = [getattr(component, "model", "") for layer in layers for component in layer]
        models: dict[str, Model] = {
            n: self.space.models[n] for n in named if n in self.space.models
        }
        windows = {n: m.context for n, m in models.items() if m.context is not None}
        architecture = Architecture(name, models, tuple(layers), windows)
        refuse_broken(architecture)
        return architecture

    def _samples(self, chosen: Mapping[str, Value]) -> dict[str, int]:
        space = self.space
        if space.mixed:
            return {name: int(chosen[f"samples of {name}"]) for name in space.mixed}
        best = space.roles.generators[: int(chosen["generators"])]
        return dict.fromkeys(best, int(chosen["samples"]))

    def _generators(self, samples: Mapping[str, int], temperature: float) -> Layer:
        found = tuple(
            self._one("generator", model=model, samples=count, temperature=temperature)
            for model, count in samples.items()
            if count
        )
        if not found:
            raise ArchitectureError("", "layers[0]", NO_GENERATOR)
        return found

    def _review(self, draft: "Draft", review: str, top_k: int) -> None:
        if review in ("critic", "both"):
            draft.add((self._one("critic", model=self.space.roles.critic),))
        arriving = draft.leaving.high
        # To put one candidate in order is a call for nothing.
        if review in ("ranker", "both") and arriving > 1:
            kept = min(top_k, arriving)
            draft.add((self._one("ranker", model=self.space.roles.ranker, top_k=kept),))

    def _evaluate(self, draft: "Draft", evaluation: str, *, ends: bool) -> None:
        roles, arriving = self.space.roles, draft.leaving.high
        # One candidate is the answer, whatever is said of it, and has every vote.
        if arriving == 1 and (ends or evaluation == "voter"):
            return
        if evaluation == "verifier":
            keys = {"first_k": 1} if ends else {}
            draft.add((self._one("verifier", model=roles.verifier, **keys),))
        elif evaluation == "unit_tests":
            keys = {"top_k": 1} if ends else {}
            draft.add((self._one("unit_test_generator", model=roles.unit_tests),))
            draft.add((self._one("unit_test_evaluator", model=roles.unit_tests, **keys),))
        elif evaluation == "voter":
            draft.add((self._one("voter", extract=roles.voter),))

    def _fusers(self, width: int) -> Layer:
        fusers = self.space.fusers[:width]
        if len(fusers) < width:
            raise ArchitectureError("", "layers", f"more than {len(fusers)} fusers")
        return tuple(self._one("fuser", model=model) for model in fusers)

    def _one(self, kind: str, **keys: Any) -> Component:  # noqa: ANN401
        key = (kind, *keys.items())
        if key not in self._made:
            fields = KINDS[kind].model_fields
            defaults = {k: v for k, v in self.space.defaults.items() if k in fields}
            self._made[key] = checked(KINDS[kind], {"type": kind, **defaults, **keys}, kind)
        return self._made[key]


class Draft:
    """Layers one after the other, and what they come to."""

    def __init__(self, builder: Builder) -> None:
        self.layers: list[Layer] = []
        #: What arrives at each of them, leaves it and is asked there.
        self.flows: list[Flow] = []
        #: Candidates after the last of them.
        self.leaving = Bounds(0, 0)
        #: At the most, when every reply can be read.
        self.calls = 0
        self._builder = builder

    def add(self, components: Sequence[Component]) -> None:
        layer = self._builder.layer(components)
        flow = self._builder.flow(layer, self.leaving)
        self.layers.append(layer)
        self.flows.append(flow)
        self.leaving = flow.leaving
        self.calls += flow.calls.high


def name_of(point: Point) -> str:
    """A name for the point's architecture: a word that tells it from the others of its space."""
    data = json.dumps(point.values)
    return f"found-{hashlib.sha256(data.encode()).hexdigest()[:8]}"


def identity(architecture: Architecture) -> str:
    """The SHA-256 of all that an architecture does: alike ones are one, whatever their names."""
    data = {**architecture.as_data(), "name": ""}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
