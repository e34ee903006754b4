"""Validates an architecture, and warns where it breaks the paper's construction rules."""

from collections.abc import Iterator

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import Component
from archon_batch.archon.flow import LayerFlow, layer_flows
from archon_batch.errors import ArchitectureError

#: More calls are a typing error, such as 100 x 100 x 100 samples.
MAX_CALLS_PER_ROW = 10_000

#: Keys that must not exceed the number of incoming candidates.
_COUNT_KEYS = ("top_k", "first_k")

#: Types that the paper uses in later layers only, one per layer.
_LATER_TYPES = ("critic", "ranker", "verifier", "unit_test_generator", "unit_test_evaluator")


def validate_architecture(architecture: Architecture) -> None:
    """Check that every component gets what it requires.

    Raises:
        ArchitectureError: a component does not; ``path`` names it.
    """
    if not architecture.layers:
        raise ArchitectureError("", "layers", "there is no layer")
    available: frozenset[str] = frozenset()
    calls = 0
    for layer_index, (layer, flow) in enumerate(
        zip(architecture.layers, layer_flows(architecture), strict=True)
    ):
        path = f"layers[{layer_index}]"
        if not layer:
            raise ArchitectureError("", path, "the layer is empty")
        for index, component in enumerate(layer):
            _validate_requires(component, available, f"{path}[{index}]")
            _validate_counts(component, flow, f"{path}[{index}]")
        if not layer_index and not any(component.produces for component in layer):
            why = "the first layer produces nothing that a later layer could use"
            raise ArchitectureError("", path, why)
        calls += flow.calls.high
        if calls > MAX_CALLS_PER_ROW:
            why = (
                f"a row would need up to {calls:,} calls; the most allowed is {MAX_CALLS_PER_ROW:,}"
            )
            raise ArchitectureError("", path, why)
        available = _available_after(layer, available)
    if "candidates" not in available:
        raise ArchitectureError("", "layers", "no layer produces a candidate for the answer")


def _validate_requires(component: Component, available: frozenset[str], path: str) -> None:
    for name in sorted(component.effective_requires() - available):
        always = name in component.requires
        component_name = f"a {component.type}" if always else f"a {component.type} with these keys"
        why = (
            f"{component_name} needs {name.replace('_', ' ')}, and no layer before it produces any"
        )
        raise ArchitectureError("", path, f"{why}{_REMEDIES.get(name, '')}")


_REMEDIES = {
    "candidates": "; a generator makes some",
    "critiques": "; a critic right before it writes some",
    "unit_tests": "; a unit_test_generator writes some",
    "code_tests": "; a unit_test_generator with kind: code writes some",
}


def _validate_counts(component: Component, flow: LayerFlow, path: str) -> None:
    for key in _COUNT_KEYS:
        count = getattr(component, key, None)
        if count is not None and count > flow.candidates_in.high:
            why = f"{count} is more than the {flow.candidates_in.high} candidates that can arrive"
            raise ArchitectureError("", f"{path}.{key}", why)


def _available_after(layer: Layer, available: frozenset[str]) -> frozenset[str]:
    """What later layers can use. Critiques disappear with their candidates."""
    after = available.union(*(component.effective_produces() for component in layer))
    if any(
        "unit_tests" in c.produces and "code_tests" not in c.effective_produces() for c in layer
    ):
        # Statements are mixed with the code, or replace it.
        after -= {"code_tests"}
    return after - {"critiques"} if _replaces_candidates(layer) else after


def _replaces_candidates(layer: Layer) -> bool:
    """Whether no incoming candidate is kept."""
    produces = any("candidates" in component.produces for component in layer)
    return produces and not any(component.selects for component in layer)


def rule_warnings(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """The paths and reasons of broken construction rules of the paper (section 3.2)."""
    unread = ""
    flows = list(layer_flows(architecture))
    for layer_index, (layer, flow) in enumerate(zip(architecture.layers, flows, strict=True)):
        path = f"layers[{layer_index}]"
        yield from ((path, why) for why in _layer_warnings(layer, layer_index, flow))
        yield from ((path, why) for why in _unit_test_warnings(architecture, layer_index))
        if any(_reads_critiques(component) for component in layer):
            unread = ""
        if any("critiques" in component.produces for component in layer):
            unread = path
        if unread and _replaces_candidates(layer):
            yield unread, _UNREAD_CRITIQUES
            unread = ""
    if unread:
        yield unread, _UNREAD_CRITIQUES
    last = flows[-1].candidates_out.high
    if last > 1:
        why = f"up to {last} candidates are left at the end, and the first is the answer"
        yield "layers", f"{why}; a ranker with top_k: 1, a voter or a fuser leaves one"


_UNREAD_CRITIQUES = "no ranker or fuser reads these critiques before their candidates are replaced"


def _reads_critiques(component: Component) -> bool:
    return "critiques" in component.reads and getattr(component, "use_critiques", None) is not False


def _layer_warnings(layer: Layer, layer_index: int, flow: LayerFlow) -> Iterator[str]:
    types = sorted({component.type for component in layer})
    if len(types) > 1:
        yield (
            f"the paper has one type of component in a layer, here are {', '.join(types)}; "
            "all of them see the same candidates, and not each other's results"
        )
    if layer_index and "generator" in types:
        lost = flow.candidates_in.high and _replaces_candidates(layer)
        yield (
            "the paper has generators in the first layer only"
            f"{'; the candidates before are lost' if lost else ''}"
        )
    for other in types:
        if not layer_index and other in _LATER_TYPES:
            yield f"the paper begins with generators; its {other} comes after them"
        if len(layer) > 1 and other in _LATER_TYPES:
            yield f"the paper has one {other} in a layer, and nothing beside it"


def _unit_test_warnings(architecture: Architecture, layer_index: int) -> Iterator[str]:
    def has(type_: str, index: int) -> bool:
        layers = architecture.layers[index : index + 1]
        return any(component.type == type_ for layer in layers for component in layer)

    if has("unit_test_generator", layer_index) and not has("unit_test_evaluator", layer_index + 1):
        yield "the paper has a unit_test_evaluator in the layer right after a unit_test_generator"
    if has("unit_test_evaluator", layer_index) and not has(
        "unit_test_generator", max(layer_index - 1, 0)
    ):
        yield "the paper has a unit_test_generator in the layer right before a unit_test_evaluator"
