"""An Archon architecture: layers of components, and the models they name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from archon_batch.archon.component import Component
from archon_batch.archon.model import Model

Layer = tuple[Component, ...]


@dataclass(frozen=True)
class Architecture:
    name: str
    #: The aliases that components may name.
    models: Mapping[str, Model]
    layers: tuple[Layer, ...]

    def __iter__(self) -> Iterator[tuple[int, int, Component]]:
        """Every component with its layer and its place there."""
        for depth, layer in enumerate(self.layers):
            for place, component in enumerate(layer):
                yield depth, place, component

    @cached_property
    def model_names(self) -> tuple[str, ...]:
        """The names that components use, each once, in the order of first use."""
        return tuple(dict.fromkeys(component.model for _, _, component in self))

    def model(self, name: str) -> Model:
        """The model behind an alias, or the one of that very name."""
        return self._resolved[name]

    @cached_property
    def _resolved(self) -> Mapping[str, Model]:
        return {n: self.models.get(n) or Model(model=n) for n in self.model_names}

    @cached_property
    def sample_offsets(self) -> Mapping[tuple[int, int], int]:
        """By layer and place: how many alike samples the components before it take.

        Two generators that are written alike must not be handed the same completions. Generators
        see the same question wherever they stand; other components see the same only in a layer.
        """
        offsets: dict[tuple[int, int], int] = {}
        taken: dict[object, int] = {}
        for depth, place, component in self:
            model = self.model(component.model)
            alike = (
                # All that can show in a request; the rest is how often, and what follows.
                component.model_dump_json(exclude={"model", "samples", "retries"}),
                (model.model, model.api_base),
                depth if component.needs_candidates else None,
            )
            offsets[depth, place] = taken.get(alike, 0)
            taken[alike] = offsets[depth, place] + getattr(component, "samples", 1)
        return offsets

    def as_data(self) -> dict[str, object]:
        """The architecture as plain data that reads back as the same: what a job keeps."""
        return {
            "name": self.name,
            "models": {
                n: m.model_dump(mode="json", exclude_none=True) for n, m in self.models.items()
            },
            "layers": [
                [c.model_dump(mode="json", exclude_none=True) for c in layer]
                for layer in self.layers
            ],
        }
