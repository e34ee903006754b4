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
    ground = SearchState(SPACE.search_axes, POINTS, seed)
    tried: list[Observation] = []
    while len(tried) < trials:
        batch = ALGORITHMS[name](ground, tried, min(at_once, trials - len(tried)))  # type: ignore[index]
        if not batch:
            break
        tried += [Observation(point, height(point), 0.0) for point in batch]
    return tried


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_all_proposals_are_distinct_points_of_the_space(name: str) -> None:
    tried = [one.point for one in searched(name, 24)]

    assert len(tried) == len(set(tried)) == 24
    assert set(tried) <= set(POINTS)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_same_seed_gives_the_same_order(name: str) -> None:
    assert searched(name, 18) == searched(name, 18)


@pytest.mark.parametrize("name", ["bayes", "greedy", "random"])
def test_another_seed_gives_other_points(name: str) -> None:
    assert searched(name, 12) != searched(name, 12, seed=1)


@pytest.mark.parametrize("name", ["greedy", "random", "grid"])
def test_an_algorithm_tries_every_point_of_a_space(name: str) -> None:
    tried = searched(name, len(POINTS) + 10, at_once=40)

    assert {one.point for one in tried} == set(POINTS)
    assert len(tried) == len(POINTS)


def test_bayes_tries_every_point_of_a_small_space() -> None:
    few = a_space(samples=[1, 2, 3])
    ground = SearchState(few.search_axes, enumerate_space(few).points, 0)
    tried: list[Observation] = []

    while batch := ALGORITHMS["bayes"](ground, tried, 3):
        tried += [Observation(point, 0.0) for point in batch]

    assert {one.point for one in tried} == set(ground.points)


def test_greedy_finds_the_maximum_of_a_single_hill() -> None:
    tried = searched("greedy", 70, at_once=1)

    assert max(one.value for one in tried) == max(map(height, POINTS))


def test_bayes_beats_random_on_a_single_hill() -> None:
    tried = searched("bayes", 40)

    early = sum(one.value for one in tried[:14]) / 14
    late = sum(one.value for one in tried[-14:]) / 14
    assert late > early + 0.1


def test_bayes_optimises_score_and_cost_together() -> None:
    ground = SearchState(SPACE.search_axes, POINTS, 0, pareto=True)
    tried = [Observation(p, height(p), float(p["samples"])) for p in POINTS[:30]]

    found = ALGORITHMS["bayes"](ground, tried, 2)

    assert len(set(found)) == 2
    assert not {one.point for one in tried} & set(found)


def test_without_optuna_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(bayes, "find_spec", lambda _name: None)

    with pytest.raises(InputError, match=r"pip install archon-batch\[search\]"):
        bayes.check_optuna_installed()
