"""An Archon architecture: layers of components, and the models they name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from archon_batch.archon.component import Component, ModelComponent
from archon_batch.archon.model import Model

Layer = tuple[Component, ...]


@dataclass(frozen=True)
class Architecture:
    name: str
    #: The aliases that components may name.
    models: Mapping[str, Model]
    layers: tuple[Layer, ...]
    #: The context windows that are known, in tokens, by the names that components use.
    context_windows: Mapping[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[int, int, Component]]:
        """Every component with its layer and its place there."""
        for depth, layer in enumerate(self.layers):
            for place, component in enumerate(layer):
                yield depth, place, component

    @cached_property
    def model_components(self) -> tuple[tuple[int, int, ModelComponent], ...]:
        """The components that ask a model, with layer and place."""
        return tuple((d, p, c) for d, p, c in self if isinstance(c, ModelComponent))

    @cached_property
    def model_names(self) -> tuple[str, ...]:
        """The names that components use, each once, in the order of first use."""
        return tuple(dict.fromkeys(component.model for _, _, component in self.model_components))

    def model(self, name: str) -> Model:
        """The model behind an alias, or the one of that very name."""
        return self._models_by_name[name]

    @cached_property
    def _models_by_name(self) -> Mapping[str, Model]:
        return {n: self.models.get(n) or Model(model=n) for n in self.model_names}

    @cached_property
    def sample_offsets(self) -> Mapping[tuple[int, int], int]:
        """By layer and place: how many alike samples the components before it take.

        Two components that are written alike may send the same requests, such as two generators
        of any layers or two critics of the same candidates; they must not be handed the same
        completions.
        """
        offsets: dict[tuple[int, int], int] = {}
        taken: dict[object, int] = {}
        for depth, place, component in self.model_components:
            model = self.model(component.model)
            # The rest of what a request shows differs where it has to: to be counted as alike
            # costs nothing.
            alike = (
                component.type,
                component.temperature,
                component.max_tokens,
                model.model,
                model.api_base,
            )
            offsets[depth, place] = taken.get(alike, 0)
            taken[alike] = offsets[depth, place] + getattr(component, "samples", 1)
        return offsets

    def to_dict(self) -> dict[str, object]:
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
