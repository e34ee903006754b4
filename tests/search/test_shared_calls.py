"""Shared calls of architectures, predicted without calls and compared with real runs."""

from typing import TYPE_CHECKING

import pytest

from archon_batch.search.algorithms import ALGORITHMS
from archon_batch.search.architecture_builder import ArchitectureBuilder
from archon_batch.search.enumerate_space import enumerate_space
from archon_batch.search.search_state import Observation, SearchState
from archon_batch.search.shared_calls import SharedCalls
from archon_batch.search.trial_jobs import TrialRequest
from tests.search.spaces import InMemoryRunner, a_space, cases

if TYPE_CHECKING:
    from archon_batch.search.axes import Point

# In these tests all aliases are of one model.
SPACE = a_space({"generators": ["one"], "fusers": ["one"]}, generators=1, samples=[1, 2, 3, 4],
                fusions=[0, 1, 2, 3], widths=1, review=["none", "critic", "both"],
                top_k=[1, 2], evaluation=["none", "unit_tests", "verifier", "voter"])  # fmt: skip
POINTS = enumerate_space(SPACE).points


def test_predicted_shared_calls_match_the_calls_made() -> None:
    builder = ArchitectureBuilder(SPACE)
    shared, runner = SharedCalls(builder), InMemoryRunner()
    observations: list[tuple[Point, float]] = []

    for point in POINTS[::3]:
        calls = sum(shared.requests(point).values())
        fresh = round(calls * shared.unpaid_share(point, shared.request_coverage(observations)))
        paid = runner.call_counts.paid
        runner.run([TrialRequest("", builder.build(point), cases(1))])
        observations.append((point, 1.0))
        # Equal replies by chance make the requests that follow from them equal too.
        assert runner.call_counts.paid - paid <= fresh
        if not runner.call_counts.cached:
            assert runner.call_counts.paid - paid == fresh

    assert runner.call_counts.cached


def test_rows_that_did_not_run_are_unpaid() -> None:
    shared, point = SharedCalls(ArchitectureBuilder(SPACE)), POINTS[-1]

    assert shared.unpaid_share(point, {}) == 1
    assert shared.unpaid_share(point, shared.request_coverage([(point, 0.1)])) == pytest.approx(0.9)
    assert shared.unpaid_share(point, shared.request_coverage([(point, 0.1), (point, 1.0)])) == 0


def test_bayes_prefers_points_that_are_paid_for() -> None:
    shared = SharedCalls(ArchitectureBuilder(SPACE))
    observations = [Observation(point, 0.5) for point in POINTS[::5]]
    seen = shared.request_coverage((one.point, one.row_share) for one in observations)

    def fresh(state: SearchState) -> float:
        return sum(
            shared.unpaid_share(p, seen) for p in ALGORITHMS["bayes"](state, observations, 4)
        )

    plain = sum(fresh(SearchState(SPACE.search_axes, POINTS, seed)) for seed in range(4))
    thrifty = sum(
        fresh(SearchState(SPACE.search_axes, POINTS, seed, shared_calls=shared))
        for seed in range(4)
    )
    assert thrifty < 0.8 * plain
