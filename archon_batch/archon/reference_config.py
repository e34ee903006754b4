"""Imports configurations of the paper's reference implementation.

The reference implementation ignores unknown keys and validates almost nothing. The import gives a
configuration the meaning that it has there, with a note on every key that it drops or changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeGuard

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.component import Component
from archon_batch.archon.components import COMPONENT_TYPES
from archon_batch.archon.flow import layer_flows
from archon_batch.archon.schema import read_architecture, suggestion
from archon_batch.errors import ArchitectureError

#: The path of a key, and what the import did with it.
ConversionNote = tuple[str, str]

#: From a value, the most incoming candidates, and whether there are critiques: the new value and the
#: reason, or None.
_Adjustment = Callable[[Any, int, bool], tuple[object, str] | None]

#: By ``model_type``: the prefix of the provider's models in litellm.
_PREFIXES = {
    "Together_API": "together_ai/",
    "OpenAI_API": "openai/",
    "Anthropic_API": "anthropic/",
    "Groq_API": "groq/",
    "Google_API": "gemini/",
    "Bedrock_API": "bedrock/",
    "vLLM": "hosted_vllm/",
}
#: For Hugging Face's Text Generation Inference, the model is the address of a server.
_TGI, _TGI_MODEL = "tgi", "huggingface/tgi"
_PAIRRM = "llm-blender/PairRM"

#: Top-level keys of ours, so that a configuration can have addresses and prices.
_TOP_KEYS = ("name", "models", "defaults")
#: Keys that only the reference has. All but first_pass have no effect there.
_REFERENCE_KEYS = frozenset({
    "batch_num", "checkpoint", "first_pass", "fuse_generations_count", "max_context_length",
    "ranker_batch_size", "ranker_config", "top_k_generations",
})  # fmt: skip


def is_reference_config(data: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether the data of an architecture file is a configuration of the reference."""
    layers = data.get("layers") if isinstance(data, dict) else None
    if not isinstance(layers, list):
        return False
    entries = [entry for layer in layers if isinstance(layer, list) for entry in layer]
    return any(
        _holds_models(entry) or (isinstance(entry, dict) and "model_type" in entry)
        for entry in (*layers, *entries)
    )


def read_reference_config(
    data: Mapping[str, Any],
    component_types: Mapping[str, type[Component]] = COMPONENT_TYPES,
    name: str = "",
) -> tuple[Architecture, tuple[ConversionNote, ...]]:
    """The architecture of a configuration, and notes on dropped or changed keys.

    Raises:
        ArchitectureError: the configuration is wrong; ``path`` says where.
    """
    translation = _Converter(component_types, data.get("models"))
    architecture = read_architecture(translation.convert(data), component_types, name)
    notes = translation.notes
    while True:
        # Dropping a first_k changes the number of candidates in later layers.
        architecture, more = _adjust_values(architecture, "first_k", _adjust_first_k)
        notes += more
        if not more:
            break
    for key, judge in (("top_k", _adjust_top_k), ("use_critiques", _adjust_use_critiques)):
        architecture, more = _adjust_values(architecture, key, judge)
        notes += more
    return architecture, tuple(notes)


@dataclass
class _Converter:
    component_types: Mapping[str, type[Component]]
    #: The value of ``models`` in the file, if it has one.
    models: object
    notes: list[ConversionNote] = field(default_factory=list)
    #: By alias: the models that the file names by the address of a server.
    servers: dict[str, dict[str, str]] = field(default_factory=dict)

    def convert(self, data: Mapping[str, Any]) -> dict[str, object]:
        if data.get("custom"):
            why = (
                "components of one's own are Python code: a package registers each under the "
                "entry point archon_batch.components, and then this can be left out"
            )
            raise ArchitectureError("", "custom", why)
        layers = [
            self._convert_layer(layer, f"layers[{n}]") for n, layer in enumerate(data["layers"])
        ]
        for key in data:
            if key not in (*_TOP_KEYS, "layers", "custom"):
                self.notes.append((str(key), f"{key} means nothing here; it is left out"))
        ours = {key: data[key] for key in _TOP_KEYS if key in data}
        if self.servers and isinstance(self.models, dict | None):
            ours["models"] = {**self.servers, **self._given_models()}
        return {**ours, "layers": layers}

    def _convert_layer(self, layer: object, path: str) -> object:
        if isinstance(layer, dict) and _holds_models(layer):
            for key, value in layer.items():
                if key != "models" and (key, value) != ("branches", 1):
                    why = f"{key} means nothing of a layer: each component stands there once"
                    self.notes.append((f"{path}.{key}", why))
            layer = layer["models"]
        if isinstance(layer, list):
            return [self._convert_component(entry, f"{path}[{n}]") for n, entry in enumerate(layer)]
        return self._convert_component(layer, f"{path}[0]")

    def _convert_component(self, entry: object, path: str) -> object:
        name = entry.get("type") if isinstance(entry, dict) else None
        kind = self.component_types.get(name) if isinstance(name, str) else None
        if not isinstance(entry, dict) or kind is None:
            return entry  # read_architecture rejects it
        ours = dict(entry)
        provider = ours.pop("model_type", None)
        if "model_type" in entry and "model" in ours:
            ours["model"] = self._convert_model(ours["model"], provider, path)
        if name == "unit_test_evaluator" and ours.pop("first_pass", False):
            ours["first_k"] = ours.get("first_k") or 1
        for key in [key for key in ours if key not in kind.model_fields]:
            del ours[key]
            if key in _REFERENCE_KEYS or any(
                key in other.model_fields for other in self.component_types.values()
            ):
                why = f"{key} means nothing on a {name}; it is left out"
            else:
                hint = suggestion(key, kind.model_fields)
                why = f"unknown key, which the reference leaves out as well; {hint}"
            self.notes.append((f"{path}.{key}", why))
        return ours

    def _convert_model(self, model: object, provider: object, path: str) -> object:
        """The model's name in litellm, or an alias."""
        if model == _PAIRRM:
            why = (
                f"{_PAIRRM} takes no messages: it scores pairs of texts, and cannot be asked; "
                "a ranker with a model that answers would do"
            )
            raise ArchitectureError("", f"{path}.model", why)
        if not isinstance(model, str) or not model:
            return model  # read_architecture rejects it
        if provider == _TGI:
            return self._server_alias(model, path)
        if not isinstance(provider, str) or provider not in _PREFIXES:
            hint = suggestion(provider, [*_PREFIXES, _TGI])
            why = (
                f"no provider {provider!r:.60}; {hint}; for an endpoint of one's own leave this out, "
                "and give its model and api_base under models"
            )
            raise ArchitectureError("", f"{path}.model_type", why)
        prefix = _PREFIXES[provider]
        name = model if model.startswith(prefix) else prefix + model
        if provider == "vLLM" and name not in self._given_models():
            why = f"a server is asked for it here: give {name} under models, with its api_base"
            self.notes.append((f"{path}.model", why))
        return name

    def _server_alias(self, url: str, path: str) -> str:
        """The alias of the model at that address."""
        if not url.startswith(("http://", "https://")):
            why = f"with {_TGI} it is an address such as http://localhost:8080, found {url!r:.60}"
            raise ArchitectureError("", f"{path}.model", why)
        base = url.rstrip("/").removesuffix("/v1")
        server = {"model": _TGI_MODEL, "api_base": f"{base}/v1"}
        for alias, known in self.servers.items():
            if known == server:
                return alias
        taken = {*self.servers, *self._given_models()}
        names = (f"{_TGI}-{n}" if n > 1 else _TGI for n in count(1))
        alias = next(name for name in names if name not in taken)
        self.servers[alias] = server
        return alias

    def _given_models(self) -> dict[str, object]:
        return self.models if isinstance(self.models, dict) else {}


def _holds_models(layer: object) -> bool:
    """Whether it is a layer in the old format: a mapping with the components under ``models``."""
    return isinstance(layer, dict) and "models" in layer and "type" not in layer


def _adjust_top_k(value: int, candidates_in: int, _: bool) -> tuple[object, str] | None:
    # A layer without candidates is an error of its own.
    if not 0 < candidates_in < value:
        return None
    why = f"{value} is more than the {candidates_in} candidates that can arrive; it counts as {candidates_in}"
    return candidates_in, why


def _adjust_first_k(value: int, candidates_in: int, _: bool) -> tuple[object, str] | None:
    if not 0 < candidates_in < value:
        return None
    return (
        None,
        f"{value} is more than the {candidates_in} candidates that can arrive; it is left out",
    )


def _adjust_use_critiques(value: bool, _: int, critiques: bool) -> tuple[object, str] | None:
    if value == critiques:
        return None
    if critiques:
        return value, "the reference shows critiques all the same; here they are not shown"
    return None, "there are no critiques here; it is left out, as it has no effect in the reference"


def _adjust_values(
    architecture: Architecture, key: str, adjust: _Adjustment
) -> tuple[Architecture, list[ConversionNote]]:
    """Replace the values of a key in all components by ``adjust``, with notes."""
    notes: list[ConversionNote] = []
    layers = []
    critiques = False
    for layer_index, (layer, flow) in enumerate(
        zip(architecture.layers, layer_flows(architecture), strict=True)
    ):
        components = []
        for index, component in enumerate(layer):
            value = getattr(component, key, None)
            adjusted = None if value is None else adjust(value, flow.candidates_in.high, critiques)
            if adjusted is None:
                components.append(component)
                continue
            new_value, why = adjusted
            components.append(component.model_copy(update={key: new_value}))
            notes.append((f"layers[{layer_index}][{index}].{key}", why))
        layers.append(tuple(components))
        critiques = critiques or any("critiques" in c.produces for c in layer)
        if any("candidates" in c.produces for c in layer) and not any(c.selects for c in layer):
            critiques = False
    return replace(architecture, layers=tuple(layers)), notes
