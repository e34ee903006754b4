"""Requests that architectures of a space share, so that each is paid for once."""

from collections import Counter
from collections.abc import Iterable, Mapping

from archon_batch.search.architecture_builder import ArchitectureBuilder
from archon_batch.search.axes import Point

#: Identifies a request on a row: the layers above it, the component, and the sample.
RequestKey = tuple[object, ...]


class SharedCalls:
    """The requests of the space's architectures, compared without making a call.

    Equal layers above a component give it equal input. Components that read only the question make
    the same requests in every architecture.
    """

    def __init__(self, builder: ArchitectureBuilder) -> None:
        self._builder = builder
        self._requests_by_point: dict[Point, Counter[RequestKey]] = {}

    def requests(self, point: Point) -> Mapping[RequestKey, int]:
        """Calls per row of the architecture of the point, by request."""
        return self._requests_by_point.get(point) or self._count_requests(point)

    def unpaid_share(self, point: Point, coverage: Mapping[RequestKey, float]) -> float:
        """The share of the point's calls that are not paid for yet.

        Args:
            point: a valid point.
            coverage: the share of rows on which each request was made.
        """
        requests = self.requests(point)
        unpaid = sum(n * (1 - coverage.get(r, 0.0)) for r, n in requests.items())
        return unpaid / sum(requests.values())

    def request_coverage(self, tried: Iterable[tuple[Point, float]]) -> dict[RequestKey, float]:
        """The share of rows on which each request was made, from points and their shares of rows."""
        coverage: dict[RequestKey, float] = {}
        for point, share in tried:
            if point not in self._requests_by_point:
                self._requests_by_point[point] = self._count_requests(point)
            for request in self._requests_by_point[point]:
                coverage[request] = max(coverage.get(request, 0.0), share)
        return coverage

    def _count_requests(self, point: Point) -> Counter[RequestKey]:
        stack = self._builder.build_layers(point)
        above: tuple[int, ...] = ()
        requests: Counter[RequestKey] = Counter()
        for layer, flow in zip(stack.layers, stack.flows, strict=True):
            for component in layer:
                calls = component.call_count(flow.candidates_in.high).high
                if component.type == "generator":
                    one_sample = component.model_copy(update={"samples": 1})
                    requests.update((repr(one_sample), n) for n in range(calls))
                elif component.type == "unit_test_generator":
                    requests[id(component),] += calls
                else:
                    requests[above, id(component)] += calls
            above = (*above, id(layer))
        return requests
