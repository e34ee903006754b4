"""What architectures of a space ask alike, so that it is paid for once."""

from collections import Counter
from collections.abc import Iterable, Mapping

from archon_batch.search.architecture_builder import ArchitectureBuilder
from archon_batch.search.axes import Point

#: What tells a request from others on the same row: all layers above it, who asks, and how often.
RequestKey = tuple[object, ...]


class SharedCalls:
    """The requests of a space's architectures, told apart without asking anybody.

    Layers above that are alike hand down what is alike. Components that look at the question only
    ask the same in any architecture.
    """

    def __init__(self, builder: ArchitectureBuilder) -> None:
        self._builder = builder
        self._requests_by_point: dict[Point, Counter[RequestKey]] = {}

    def requests(self, point: Point) -> Mapping[RequestKey, int]:
        """The calls of a row of the point's architecture, by the request."""
        return self._requests_by_point.get(point) or self._count_requests(point)

    def unpaid_share(self, point: Point, coverage: Mapping[RequestKey, float]) -> float:
        """The share of the point's calls that are yet to be paid for.

        Args:
            point: of which the calls are.
            coverage: the share of rows on which each request was made.
        """
        requests = self.requests(point)
        fresh = sum(n * (1 - coverage.get(r, 0.0)) for r, n in requests.items())
        return fresh / sum(requests.values())

    def request_coverage(self, tried: Iterable[tuple[Point, float]]) -> dict[RequestKey, float]:
        """The share of rows on which each request was made, of points and the shares they saw."""
        found: dict[RequestKey, float] = {}
        for point, share in tried:
            if point not in self._requests_by_point:
                self._requests_by_point[point] = self._count_requests(point)
            for request in self._requests_by_point[point]:
                found[request] = max(found.get(request, 0.0), share)
        return found

    def _count_requests(self, point: Point) -> Counter[RequestKey]:
        draft = self._builder.build_layers(point)
        above: tuple[int, ...] = ()
        found: Counter[RequestKey] = Counter()
        for layer, flow in zip(draft.layers, draft.flows, strict=True):
            for component in layer:
                calls = component.call_count(flow.candidates_in.high).high
                if component.type == "generator":
                    alike = component.model_copy(update={"samples": 1})
                    found.update((repr(alike), n) for n in range(calls))
                elif component.type == "unit_test_generator":
                    found[id(component),] += calls
                else:
                    found[above, id(component)] += calls
            above = (*above, id(layer))
        return found
