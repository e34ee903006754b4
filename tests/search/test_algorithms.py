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
    """One hill, whose top is at three generators, four samples and 0.3."""
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
def test_no_point_is_tried_twice_and_all_are_of_the_space(name: str) -> None:
    tried = [one.point for one in searched(name, 24)]

    assert len(tried) == len(set(tried)) == 24
    assert set(tried) <= set(POINTS)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_same_seed_tries_the_same_in_the_same_order(name: str) -> None:
    assert searched(name, 18) == searched(name, 18)


@pytest.mark.parametrize("name", ["bayes", "greedy", "random"])
def test_another_seed_tries_others(name: str) -> None:
    assert searched(name, 12) != searched(name, 12, seed=1)


@pytest.mark.parametrize("name", ["greedy", "random", "grid"])
def test_a_space_is_tried_to_its_last_point(name: str) -> None:
    tried = searched(name, len(POINTS) + 10, at_once=40)

    assert {one.point for one in tried} == set(POINTS)
    assert len(tried) == len(POINTS)


def test_bayes_tries_a_small_space_to_its_last_point() -> None:
    few = a_space(samples=[1, 2, 3])
    ground = SearchState(few.search_axes, enumerate_space(few).points, 0)
    tried: list[Observation] = []

    while batch := ALGORITHMS["bayes"](ground, tried, 3):
        tried += [Observation(point, 0.0) for point in batch]

    assert {one.point for one in tried} == set(ground.points)


def test_greedy_climbs_a_hill_to_its_top() -> None:
    tried = searched("greedy", 70, at_once=1)

    assert max(one.value for one in tried) == max(map(height, POINTS))


def test_bayes_learns_where_the_hill_is() -> None:
    tried = searched("bayes", 40)

    early = sum(one.value for one in tried[:14]) / 14
    late = sum(one.value for one in tried[-14:]) / 14
    assert late > early + 0.1


def test_bayes_takes_a_front_of_score_and_cost() -> None:
    ground = SearchState(SPACE.search_axes, POINTS, 0, pareto=True)
    tried = [Observation(p, height(p), float(p["samples"])) for p in POINTS[:30]]

    found = ALGORITHMS["bayes"](ground, tried, 2)

    assert len(set(found)) == 2
    assert not {one.point for one in tried} & set(found)


def test_without_optuna_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(bayes, "find_spec", lambda _name: None)

    with pytest.raises(InputError, match=r"pip install archon-batch\[search\]"):
        bayes.check_optuna_installed()
