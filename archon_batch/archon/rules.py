"""What an architecture must and should be: data that can flow, and the paper's construction rules."""

from collections.abc import Iterator

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.archon.component import Component
from archon_batch.archon.flow import Flow, flows
from archon_batch.errors import ArchitectureError

#: A row that needs more calls than this is a slip of the pen: 100 x 100 x 100 samples, say.
MOST_CALLS = 10_000

#: Keys that count candidates, of which there cannot be more than arrive.
_COUNTS = ("top_k", "first_k")

#: What the paper has in later layers, one to a layer.
_LATER = ("critic", "ranker", "verifier", "unit_test_generator", "unit_test_evaluator")


def refuse_broken(architecture: Architecture) -> None:
    """Check that every component will have what it needs.

    Raises:
        ArchitectureError: some component would not; ``place`` names it.
    """
    if not architecture.layers:
        raise ArchitectureError("", "layers", "there is no layer")
    there: frozenset[str] = frozenset()
    calls = 0
    for depth, (layer, flow) in enumerate(
        zip(architecture.layers, flows(architecture), strict=True)
    ):
        at = f"layers[{depth}]"
        if not layer:
            raise ArchitectureError("", at, "the layer is empty")
        for place, component in enumerate(layer):
            _refuse_lacking(component, there, f"{at}[{place}]")
            _refuse_beyond(component, flow, f"{at}[{place}]")
        if not depth and not any(component.makes for component in layer):
            why = "the first layer makes nothing that a later one could use"
            raise ArchitectureError("", at, why)
        calls += flow.calls.high
        if calls > MOST_CALLS:
            why = f"a row would need up to {calls:,} calls; the most allowed is {MOST_CALLS:,}"
            raise ArchitectureError("", at, why)
        there = _there_after(layer, there)
    if "candidates" not in there:
        raise ArchitectureError("", "layers", "no layer makes a candidate to answer with")


def _refuse_lacking(component: Component, there: frozenset[str], place: str) -> None:
    for need in sorted(component.demands() - there):
        who = component.type if need in component.needs else f"{component.type} as it is written"
        why = f"a {who} needs {need.replace('_', ' ')}, and no layer before it leaves any"
        raise ArchitectureError("", place, f"{why}{_SOURCE.get(need, '')}")


#: What would help.
_SOURCE = {
    "candidates": "; a generator makes some",
    "critiques": "; a critic right before it writes some",
    "unit_tests": "; a unit_test_generator writes some",
    "code_tests": "; a unit_test_generator with kind: code writes some",
}


def _refuse_beyond(component: Component, flow: Flow, place: str) -> None:
    for key in _COUNTS:
        count = getattr(component, key, None)
        if count is not None and count > flow.arriving.high:
            why = f"{count} is more than the {flow.arriving.high} candidates that can arrive"
            raise ArchitectureError("", f"{place}.{key}", why)


def _there_after(layer: Layer, there: frozenset[str]) -> frozenset[str]:
    """What later layers find: critiques go with the candidates that they are about."""
    after = there.union(*(component.provides() for component in layer))
    if any("unit_tests" in c.makes and "code_tests" not in c.provides() for c in layer):
        # Statements stand among the tests, or in their place.
        after -= {"code_tests"}
    return after - {"critiques"} if _replaces(layer) else after


def _replaces(layer: Layer) -> bool:
    """Whether none of the candidates that arrive go on."""
    makes = any("candidates" in component.makes for component in layer)
    return makes and not any(component.chooses for component in layer)


def warnings(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """The construction rules of the paper (section 3.2) that are broken, each with its place."""
    unread = ""
    along = list(flows(architecture))
    for depth, (layer, flow) in enumerate(zip(architecture.layers, along, strict=True)):
        at = f"layers[{depth}]"
        yield from ((at, why) for why in _of_layer(layer, depth, flow))
        yield from ((at, why) for why in _of_pair(architecture, depth))
        if any(_reads_critiques(component) for component in layer):
            unread = ""
        if any("critiques" in component.makes for component in layer):
            unread = at
        if unread and _replaces(layer):
            yield unread, _UNREAD
            unread = ""
    if unread:
        yield unread, _UNREAD
    left = along[-1].leaving.high
    if left > 1:
        why = f"up to {left} candidates are left at the end, and the first is the answer"
        yield "layers", f"{why}; a ranker with top_k: 1, a voter or a fuser would leave one"


_UNREAD = "no ranker or fuser reads these critiques before their candidates go"


def _reads_critiques(component: Component) -> bool:
    return "critiques" in component.uses and getattr(component, "use_critiques", None) is not False


def _of_layer(layer: Layer, depth: int, flow: Flow) -> Iterator[str]:
    types = sorted({component.type for component in layer})
    if len(types) > 1:
        yield (
            f"the paper has one type of component in a layer, here are {', '.join(types)}; "
            "they see what arrives, and nothing of each other"
        )
    if depth and "generator" in types:
        lost = flow.arriving.high and _replaces(layer)
        yield (
            "the paper has generators in the first layer only"
            f"{'; the candidates before are lost' if lost else ''}"
        )
    for other in types:
        if not depth and other in _LATER:
            yield f"the paper begins with generators; its {other} comes after them"
        if len(layer) > 1 and other in _LATER:
            yield f"the paper has one {other} in a layer, and nothing beside it"


def _of_pair(architecture: Architecture, depth: int) -> Iterator[str]:
    def has(wanted: str, at: int) -> bool:
        return any(c.type == wanted for layer in architecture.layers[at : at + 1] for c in layer)

    if has("unit_test_generator", depth) and not has("unit_test_evaluator", depth + 1):
        yield "the paper has a unit_test_evaluator in the layer right after a unit_test_generator"
    if has("unit_test_evaluator", depth) and not has("unit_test_generator", max(depth - 1, 0)):
        yield "the paper has a unit_test_generator in the layer right before a unit_test_evaluator"
