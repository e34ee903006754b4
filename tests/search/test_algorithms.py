import pytest

from archon_batch.errors import InputError
from archon_batch.search import bayes
from archon_batch.search.algorithms import ALGORITHMS
from archon_batch.search.axes import Point
from archon_batch.search.enumerate_space import enumerate_space
from archon_batch.search.search_state import Observation, SearchState
from tests.search.spaces import a_space

SPACE = a_space(samples=[1, 2, 3, 4, 5], temperature=[0.1, 0.3, 0.5, 0.7, 0.9], fusions=[1, 2],
                widths=[1, 2], review=["none", "critic"])  # fmt: skip
POINTS = enumerate_space(SPACE).points


def height(point: Point) -> float:
    """A single hill with its maximum at three generators, four samples and 0.3."""
    off = float(abs(int(point["generators"]) - 3)) + abs(int(point["samples"]) - 4)
    off += abs(float(point["temperature"]) - 0.3) * 5
    return 1 - off / 10 - 0.05 * (point["fusions"] == 2) + 0.05 * (point["review"] == "critic")


def searched(name: str, trials: int, *, seed: int = 0, at_once: int = 4) -> list[Observation]:
    state = SearchState(SPACE.search_axes, POINTS, seed)
    observations: list[Observation] = []
    while len(observations) < trials:
        batch = ALGORITHMS[name](state, observations, min(at_once, trials - len(observations)))  # type: ignore[index]
        if not batch:
            break
        observations += [Observation(point, height(point), 0.0) for point in batch]
    return observations


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_all_proposals_are_distinct_points_of_the_space(name: str) -> None:
    observations = [one.point for one in searched(name, 24)]

    assert len(observations) == len(set(observations)) == 24
    assert set(observations) <= set(POINTS)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_same_seed_gives_the_same_order(name: str) -> None:
    assert searched(name, 18) == searched(name, 18)


@pytest.mark.parametrize("name", ["bayes", "greedy", "random"])
def test_another_seed_gives_other_points(name: str) -> None:
    assert searched(name, 12) != searched(name, 12, seed=1)


@pytest.mark.parametrize("name", ["greedy", "random", "grid"])
def test_an_algorithm_tries_every_point_of_a_space(name: str) -> None:
    observations = searched(name, len(POINTS) + 10, at_once=40)

    assert {one.point for one in observations} == set(POINTS)
    assert len(observations) == len(POINTS)


def test_bayes_tries_every_point_of_a_small_space() -> None:
    few = a_space(samples=[1, 2, 3])
    state = SearchState(few.search_axes, enumerate_space(few).points, 0)
    observations: list[Observation] = []

    while batch := ALGORITHMS["bayes"](state, observations, 3):
        observations += [Observation(point, 0.0) for point in batch]

    assert {one.point for one in observations} == set(state.points)


def test_greedy_finds_the_maximum_of_a_single_hill() -> None:
    observations = searched("greedy", 70, at_once=1)

    assert max(one.value for one in observations) == max(map(height, POINTS))


def test_bayes_beats_random_on_a_single_hill() -> None:
    observations = searched("bayes", 40)

    early = sum(one.value for one in observations[:14]) / 14
    late = sum(one.value for one in observations[-14:]) / 14
    assert late > early + 0.1


def test_bayes_optimises_score_and_cost_together() -> None:
    state = SearchState(SPACE.search_axes, POINTS, 0, pareto=True)
    observations = [Observation(p, height(p), float(p["samples"])) for p in POINTS[:30]]

    points = ALGORITHMS["bayes"](state, observations, 2)

    assert len(set(points)) == 2
    assert not {one.point for one in observations} & set(points)


def test_without_optuna_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(bayes, "find_spec", lambda _name: None)

    with pytest.raises(InputError, match=r"pip install archon-batch\[search\]"):
        bayes.check_optuna_installed()
