"""What an architecture must and should be: data that can flow, and the paper's construction rules."""

from collections.abc import Iterator

from archon_batch.archon.architecture import Architecture, Layer
from archon_batch.errors import ArchitectureError

#: A row that needs more calls than this is a slip of the pen: 100 x 100 x 100 samples, say.
MOST_CALLS = 10_000


def refuse_broken(architecture: Architecture) -> None:
    """Check that every component will have what it needs.

    Raises:
        ArchitectureError: some component would not; ``place`` names it.
    """
    if not architecture.layers:
        raise ArchitectureError("", "layers", "there is no layer")
    candidates, calls = 0, 0
    for depth, layer in enumerate(architecture.layers):
        if not layer:
            raise ArchitectureError("", f"layers[{depth}]", "the layer is empty")
        for place, component in enumerate(layer):
            if component.needs_candidates and not candidates:
                raise ArchitectureError(
                    "",
                    f"layers[{depth}][{place}]",
                    f"a {component.type} needs candidates, and no layer before it makes any",
                )
        calls += sum(component.calls(candidates).high for component in layer)
        if calls > MOST_CALLS:
            raise ArchitectureError(
                "",
                f"layers[{depth}]",
                f"a row would need up to {calls:,} calls; the most allowed is {MOST_CALLS:,}",
            )
        candidates = leaving(layer, candidates)
    if not candidates:
        raise ArchitectureError("", "layers", "no layer makes a candidate to answer with")
    for depth, place, component in architecture:
        top_k = getattr(component, "top_k", None)
        arriving = list(arrivals(architecture))[depth]
        if top_k is not None and top_k > arriving:
            raise ArchitectureError(
                "",
                f"layers[{depth}][{place}].top_k",
                f"{top_k} is more than the {arriving} candidates that arrive",
            )


def leaving(layer: Layer, candidates: int) -> int:
    """How many candidates a layer gives, at the most, when so many come in."""
    made = sum(c.leaves(candidates) for c in layer if c.makes_candidates)
    choosers = [c for c in layer if c.chooses_candidates]
    if not made and not choosers:
        return candidates
    # Two that choose may choose the same, or not.
    return made + min(candidates, sum(c.leaves(candidates) for c in choosers))


def arrivals(architecture: Architecture) -> Iterator[int]:
    """For each layer, how many candidates come in, at the most."""
    candidates = 0
    for layer in architecture.layers:
        yield candidates
        candidates = leaving(layer, candidates)


def warnings(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """The construction rules of the paper (section 3.2) that are broken, each with its place."""
    criticised = False
    for depth, layer in enumerate(architecture.layers):
        at = f"layers[{depth}]"
        types = sorted({component.type for component in layer})
        if len(types) > 1:
            yield at, f"the paper has one type of component in a layer, here are {', '.join(types)}"
        for component in layer:
            if depth and component.type == "generator":
                yield (
                    at,
                    "the paper has generators in the first layer only; the candidates before are lost",
                )
            if not component.makes_candidates and len(layer) > 1:
                yield at, f"the paper has a {component.type} alone in its layer"
        if any(c.reads_critiques for c in layer):
            criticised = False
        if any(c.writes_critiques for c in layer):
            criticised = True
    if criticised:
        yield "layers", "no ranker or fuser reads the last critiques"
    if leaving_at_end(architecture) > 1:
        yield (
            "layers",
            f"{leaving_at_end(architecture)} candidates are left at the end; the first is the answer",
        )


def leaving_at_end(architecture: Architecture) -> int:
    """How many candidates are left when all layers are done."""
    *_, arriving = arrivals(architecture)
    return leaving(architecture.layers[-1], arriving)
