"""What an architecture must and should be: data that can flow, and the paper's construction rules."""

from collections.abc import Iterator

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import Component
from archon_batch.archon.flow import LayerFlow, layer_flows
from archon_batch.errors import ArchitectureError

#: A row that needs more calls than this is a slip of the pen: 100 x 100 x 100 samples, say.
MAX_CALLS_PER_ROW = 10_000

#: Keys that count candidates, of which there cannot be more than arrive.
_COUNT_KEYS = ("top_k", "first_k")

#: What the paper has in later layers, one to a layer.
_LATER_TYPES = ("critic", "ranker", "verifier", "unit_test_generator", "unit_test_evaluator")


def validate_architecture(architecture: Architecture) -> None:
    """Check that every component will have what it needs.

    Raises:
        ArchitectureError: some component would not; ``place`` names it.
    """
    if not architecture.layers:
        raise ArchitectureError("", "layers", "there is no layer")
    there: frozenset[str] = frozenset()
    calls = 0
    for depth, (layer, flow) in enumerate(
        zip(architecture.layers, layer_flows(architecture), strict=True)
    ):
        at = f"layers[{depth}]"
        if not layer:
            raise ArchitectureError("", at, "the layer is empty")
        for place, component in enumerate(layer):
            _validate_requires(component, there, f"{at}[{place}]")
            _validate_counts(component, flow, f"{at}[{place}]")
        if not depth and not any(component.produces for component in layer):
            why = "the first layer makes nothing that a later one could use"
            raise ArchitectureError("", at, why)
        calls += flow.calls.high
        if calls > MAX_CALLS_PER_ROW:
            why = (
                f"a row would need up to {calls:,} calls; the most allowed is {MAX_CALLS_PER_ROW:,}"
            )
            raise ArchitectureError("", at, why)
        there = _available_after(layer, there)
    if "candidates" not in there:
        raise ArchitectureError("", "layers", "no layer makes a candidate to answer with")


def _validate_requires(component: Component, available: frozenset[str], path: str) -> None:
    for need in sorted(component.effective_requires() - available):
        who = component.type if need in component.requires else f"{component.type} as it is written"
        why = f"a {who} needs {need.replace('_', ' ')}, and no layer before it leaves any"
        raise ArchitectureError("", path, f"{why}{_REMEDIES.get(need, '')}")


#: What would help.
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
    """What later layers find: critiques go with the candidates that they are about."""
    after = available.union(*(component.effective_produces() for component in layer))
    if any(
        "unit_tests" in c.produces and "code_tests" not in c.effective_produces() for c in layer
    ):
        # Statements stand among the tests, or in their place.
        after -= {"code_tests"}
    return after - {"critiques"} if _replaces_candidates(layer) else after


def _replaces_candidates(layer: Layer) -> bool:
    """Whether none of the candidates that arrive go on."""
    makes = any("candidates" in component.produces for component in layer)
    return makes and not any(component.selects for component in layer)


def rule_warnings(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """The construction rules of the paper (section 3.2) that are broken, each with its place."""
    unread = ""
    along = list(layer_flows(architecture))
    for depth, (layer, flow) in enumerate(zip(architecture.layers, along, strict=True)):
        at = f"layers[{depth}]"
        yield from ((at, why) for why in _layer_warnings(layer, depth, flow))
        yield from ((at, why) for why in _unit_test_warnings(architecture, depth))
        if any(_reads_critiques(component) for component in layer):
            unread = ""
        if any("critiques" in component.produces for component in layer):
            unread = at
        if unread and _replaces_candidates(layer):
            yield unread, _UNREAD_CRITIQUES
            unread = ""
    if unread:
        yield unread, _UNREAD_CRITIQUES
    left = along[-1].candidates_out.high
    if left > 1:
        why = f"up to {left} candidates are left at the end, and the first is the answer"
        yield "layers", f"{why}; a ranker with top_k: 1, a voter or a fuser would leave one"


_UNREAD_CRITIQUES = "no ranker or fuser reads these critiques before their candidates go"


def _reads_critiques(component: Component) -> bool:
    return "critiques" in component.reads and getattr(component, "use_critiques", None) is not False


def _layer_warnings(layer: Layer, layer_index: int, flow: LayerFlow) -> Iterator[str]:
    types = sorted({component.type for component in layer})
    if len(types) > 1:
        yield (
            f"the paper has one type of component in a layer, here are {', '.join(types)}; "
            "they see what arrives, and nothing of each other"
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
    def has(wanted: str, at: int) -> bool:
        return any(c.type == wanted for layer in architecture.layers[at : at + 1] for c in layer)

    if has("unit_test_generator", layer_index) and not has("unit_test_evaluator", layer_index + 1):
        yield "the paper has a unit_test_evaluator in the layer right after a unit_test_generator"
    if has("unit_test_evaluator", layer_index) and not has(
        "unit_test_generator", max(layer_index - 1, 0)
    ):
        yield "the paper has a unit_test_generator in the layer right before a unit_test_evaluator"
