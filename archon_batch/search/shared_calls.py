"""What architectures of a space ask alike, so that it is paid for once."""

from collections import Counter
from collections.abc import Iterable, Mapping

from archon_batch.search.architecture_builder import Builder
from archon_batch.search.axes import Point

#: What tells a request from others on the same row: all layers above it, who asks, and how often.
Request = tuple[object, ...]


class Shared:
    """The requests of a space's architectures, told apart without asking anybody.

    Layers above that are alike hand down what is alike. Components that look at the question only
    ask the same in any architecture.
    """

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._known: dict[Point, Counter[Request]] = {}

    def requests(self, point: Point) -> Mapping[Request, int]:
        """The calls of a row of the point's architecture, by the request."""
        return self._known.get(point) or self._counted(point)

    def new(self, point: Point, seen: Mapping[Request, float]) -> float:
        """The share of the point's calls that are yet to be paid for.

        Args:
            point: of which the calls are.
            seen: the share of rows on which each request was made.
        """
        requests = self.requests(point)
        fresh = sum(n * (1 - seen.get(r, 0.0)) for r, n in requests.items())
        return fresh / sum(requests.values())

    def seen(self, tried: Iterable[tuple[Point, float]]) -> dict[Request, float]:
        """The share of rows on which each request was made, of points and the shares they saw."""
        found: dict[Request, float] = {}
        for point, share in tried:
            if point not in self._known:
                self._known[point] = self._counted(point)
            for request in self._known[point]:
                found[request] = max(found.get(request, 0.0), share)
        return found

    def _counted(self, point: Point) -> Counter[Request]:
        draft = self._builder.draft(point)
        above: tuple[int, ...] = ()
        found: Counter[Request] = Counter()
        for layer, flow in zip(draft.layers, draft.flows, strict=True):
            for component in layer:
                calls = component.calls(flow.arriving.high).high
                if component.type == "generator":
                    alike = component.model_copy(update={"samples": 1})
                    found.update((repr(alike), n) for n in range(calls))
                elif component.type == "unit_test_generator":
                    found[id(component),] += calls
                else:
                    found[above, id(component)] += calls
            above = (*above, id(layer))
        return found
