"""An Archon architecture: layers of components, and the models that they use."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from archon_batch.archon.component import Component, ModelComponent
from archon_batch.archon.model import Model

Layer = tuple[Component, ...]


@dataclass(frozen=True)
class Architecture:
    name: str
    #: By alias.
    models: Mapping[str, Model]
    layers: tuple[Layer, ...]
    #: The known context windows in tokens, by the names that components use.
    context_windows: Mapping[str, int] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[int, int, Component]]:
        """Every component with its layer index and its index in the layer."""
        for layer_index, layer in enumerate(self.layers):
            for index, component in enumerate(layer):
                yield layer_index, index, component

    @cached_property
    def model_components(self) -> tuple[tuple[int, int, ModelComponent], ...]:
        """The components that use a model, with layer index and component index."""
        return tuple((n, i, c) for n, i, c in self if isinstance(c, ModelComponent))

    @cached_property
    def model_names(self) -> tuple[str, ...]:
        """The model names and aliases that components use, in the order of first use."""
        return tuple(dict.fromkeys(component.model for _, _, component in self.model_components))

    def model(self, name: str) -> Model:
        """The model with this alias or name."""
        return self._models_by_name[name]

    @cached_property
    def _models_by_name(self) -> Mapping[str, Model]:
        return {n: self.models.get(n) or Model(model=n) for n in self.model_names}

    @cached_property
    def sample_offsets(self) -> Mapping[tuple[int, int], int]:
        """By layer and component index: the first sample number of the component.

        Two components with the same settings may send identical requests, such as two generators,
        or two critics of the same candidates. Each must get its own completions.
        """
        offsets: dict[tuple[int, int], int] = {}
        taken: dict[object, int] = {}
        for layer, index, component in self.model_components:
            model = self.model(component.model)
            # Further fields may differ: an offset that is not needed does no harm.
            settings = (
                component.type,
                component.temperature,
                component.max_tokens,
                model.model,
                model.api_base,
            )
            offsets[layer, index] = taken.get(settings, 0)
            taken[settings] = offsets[layer, index] + getattr(component, "samples", 1)
        return offsets

    def to_dict(self) -> dict[str, object]:
        """Plain data for ``read_architecture``; a job stores it."""
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
