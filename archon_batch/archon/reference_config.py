"""Configurations of the paper's reference implementation: from its plain data to an Architecture.

It ignores what it does not know and checks next to nothing. What is written there is taken as it
takes it, and whatever that leaves out or changes is told.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeGuard

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.component import Component
from archon_batch.archon.components import KINDS
from archon_batch.archon.flow import flows
from archon_batch.archon.schema import nearest, read_architecture
from archon_batch.errors import ArchitectureError

#: A place, and what is to be said of it.
Told = tuple[str, str]

#: Of a value, how many candidates arrive at most and whether critiques do: what stands there
#: instead, and why; or None.
_Judge = Callable[[Any, int, bool], tuple[object, str] | None]

#: By its ``model_type``, how litellm's names of that provider's models begin.
_PREFIXES = {
    "Together_API": "together_ai/",
    "OpenAI_API": "openai/",
    "Anthropic_API": "anthropic/",
    "Groq_API": "groq/",
    "Google_API": "gemini/",
    "Bedrock_API": "bedrock/",
    "vLLM": "hosted_vllm/",
}
#: Of Hugging Face's Text Generation Inference the model is the address of a server.
_TGI, _TGI_MODEL = "tgi", "huggingface/tgi"
_PAIRRM = "llm-blender/PairRM"

#: What we have at the top too: a configuration can be given addresses and prices as it is.
_TOP = ("name", "models", "defaults")
#: Keys of its components that are not ours; but for first_pass they do nothing there any more.
_THEIRS = frozenset({
    "batch_num", "checkpoint", "first_pass", "fuse_generations_count", "max_context_length",
    "ranker_batch_size", "ranker_config", "top_k_generations",
})  # fmt: skip


def is_reference(data: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether an architecture file's data is a configuration of the reference."""
    layers = data.get("layers") if isinstance(data, dict) else None
    if not isinstance(layers, list):
        return False
    entries = [entry for layer in layers if isinstance(layer, list) for entry in layer]
    return any(
        _holds_models(entry) or (isinstance(entry, dict) and "model_type" in entry)
        for entry in (*layers, *entries)
    )


def read_reference(
    data: Mapping[str, Any], kinds: Mapping[str, type[Component]] = KINDS, name: str = ""
) -> tuple[Architecture, tuple[Told, ...]]:
    """The architecture of a configuration, and what is to be said of how it is taken.

    Raises:
        ArchitectureError: something in it is wrong; ``place`` says where, as in a file of ours.
    """
    translation = _Translation(kinds, data.get("models"))
    architecture = read_architecture(translation.top(data), kinds, name)
    told = translation.told
    while True:
        # Without a first_k fewer candidates may arrive further on.
        architecture, more = _adapted(architecture, "first_k", _first_k)
        told += more
        if not more:
            break
    for key, judge in (("top_k", _top_k), ("use_critiques", _use_critiques)):
        architecture, more = _adapted(architecture, key, judge)
        told += more
    return architecture, tuple(told)


@dataclass
class _Translation:
    kinds: Mapping[str, type[Component]]
    #: The aliases that the file itself gives, if it does.
    models: object
    told: list[Told] = field(default_factory=list)
    #: The servers that it names by their addresses.
    servers: dict[str, dict[str, str]] = field(default_factory=dict)

    def top(self, data: Mapping[str, Any]) -> dict[str, object]:
        if data.get("custom"):
            why = (
                "components of one's own are Python code: a package registers each under the "
                "entry point archon_batch.components, and then this can be left out"
            )
            raise ArchitectureError("", "custom", why)
        layers = [self._layer(layer, f"layers[{n}]") for n, layer in enumerate(data["layers"])]
        for key in data:
            if key not in (*_TOP, "layers", "custom"):
                self.told.append((str(key), f"{key} means nothing here; it is left out"))
        ours = {key: data[key] for key in _TOP if key in data}
        if self.servers and isinstance(self.models, dict | None):
            ours["models"] = {**self.servers, **self._given()}
        return {**ours, "layers": layers}

    def _layer(self, layer: object, at: str) -> object:
        if isinstance(layer, dict) and _holds_models(layer):
            for key, value in layer.items():
                if key != "models" and (key, value) != ("branches", 1):
                    why = f"{key} means nothing of a layer: each component stands there once"
                    self.told.append((f"{at}.{key}", why))
            layer = layer["models"]
        if isinstance(layer, list):
            return [self._component(entry, f"{at}[{n}]") for n, entry in enumerate(layer)]
        return self._component(layer, f"{at}[0]")

    def _component(self, entry: object, at: str) -> object:
        name = entry.get("type") if isinstance(entry, dict) else None
        kind = self.kinds.get(name) if isinstance(name, str) else None
        if not isinstance(entry, dict) or kind is None:
            return entry  # it is refused when it is read
        ours = dict(entry)
        provider = ours.pop("model_type", None)
        if "model_type" in entry and "model" in ours:
            ours["model"] = self._model(ours["model"], provider, at)
        if name == "unit_test_evaluator" and ours.pop("first_pass", False):
            ours["first_k"] = ours.get("first_k") or 1
        for key in [key for key in ours if key not in kind.model_fields]:
            del ours[key]
            if key in _THEIRS or any(key in other.model_fields for other in self.kinds.values()):
                why = f"{key} means nothing on a {name}; it is left out"
            else:
                hint = nearest(key, kind.model_fields)
                why = f"unknown key, which the reference leaves out as well; {hint}"
            self.told.append((f"{at}.{key}", why))
        return ours

    def _model(self, model: object, provider: object, at: str) -> object:
        """The model's name as litellm has it, or an alias."""
        if model == _PAIRRM:
            why = (
                f"{_PAIRRM} takes no messages: it scores pairs of texts, and cannot be asked; "
                "a ranker with a model that answers would do"
            )
            raise ArchitectureError("", f"{at}.model", why)
        if not isinstance(model, str) or not model:
            return model  # it is refused when it is read
        if provider == _TGI:
            return self._server(model, at)
        if not isinstance(provider, str) or provider not in _PREFIXES:
            hint = nearest(provider, [*_PREFIXES, _TGI])
            why = (
                f"no provider {provider!r:.60}; {hint}; for an endpoint of one's own leave this out, "
                "and give its model and api_base under models"
            )
            raise ArchitectureError("", f"{at}.model_type", why)
        prefix = _PREFIXES[provider]
        name = model if model.startswith(prefix) else prefix + model
        if provider == "vLLM" and name not in self._given():
            why = f"a server is asked for it here: give {name} under models, with its api_base"
            self.told.append((f"{at}.model", why))
        return name

    def _server(self, url: str, at: str) -> str:
        """The alias of the model at that address."""
        if not url.startswith(("http://", "https://")):
            why = f"with {_TGI} it is an address such as http://localhost:8080, found {url!r:.60}"
            raise ArchitectureError("", f"{at}.model", why)
        base = url.rstrip("/").removesuffix("/v1")
        server = {"model": _TGI_MODEL, "api_base": f"{base}/v1"}
        for alias, known in self.servers.items():
            if known == server:
                return alias
        taken = {*self.servers, *self._given()}
        names = (f"{_TGI}-{n}" if n > 1 else _TGI for n in count(1))
        alias = next(name for name in names if name not in taken)
        self.servers[alias] = server
        return alias

    def _given(self) -> dict[str, object]:
        return self.models if isinstance(self.models, dict) else {}


def _holds_models(layer: object) -> bool:
    """Whether it is a layer of the old form: a mapping that has the components under ``models``."""
    return isinstance(layer, dict) and "models" in layer and "type" not in layer


def _top_k(value: int, arriving: int, _: bool) -> tuple[object, str] | None:
    # Of none there is nothing to choose: that is refused for its own reason.
    if not 0 < arriving < value:
        return None
    why = f"{value} is more than the {arriving} candidates that can arrive; it counts as {arriving}"
    return arriving, why


def _first_k(value: int, arriving: int, _: bool) -> tuple[object, str] | None:
    if not 0 < arriving < value:
        return None
    return None, f"{value} is more than the {arriving} candidates that can arrive; it is left out"


def _use_critiques(value: bool, _: int, critiques: bool) -> tuple[object, str] | None:
    if value == critiques:
        return None
    if critiques:
        return value, "the reference shows critiques all the same; here they are not shown"
    return None, "there are no critiques here; it is left out, as it has no effect in the reference"


def _adapted(
    architecture: Architecture, key: str, judge: _Judge
) -> tuple[Architecture, list[Told]]:
    """With the values under a key that a judge has instead, and what it says of them."""
    told: list[Told] = []
    layers = []
    critiques = False
    for depth, (layer, flow) in enumerate(
        zip(architecture.layers, flows(architecture), strict=True)
    ):
        components = []
        for place, component in enumerate(layer):
            value = getattr(component, key, None)
            found = None if value is None else judge(value, flow.arriving.high, critiques)
            if found is None:
                components.append(component)
                continue
            instead, why = found
            components.append(component.model_copy(update={key: instead}))
            told.append((f"layers[{depth}][{place}].{key}", why))
        layers.append(tuple(components))
        critiques = critiques or any("critiques" in c.makes for c in layer)
        if any("candidates" in c.makes for c in layer) and not any(c.chooses for c in layer):
            critiques = False
    return replace(architecture, layers=tuple(layers)), told
