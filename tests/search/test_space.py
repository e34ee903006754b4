from collections import Counter

import pytest

from archon_batch.archon import count_calls, rule_warnings
from archon_batch.errors import ArchitectureError
from archon_batch.search.architecture_builder import ArchitectureBuilder, architecture_digest
from archon_batch.search.axes import Point
from archon_batch.search.enumerate_space import enumerate_space
from archon_batch.search.space_file import read_space
from tests.search.spaces import a_space
from tests.test_repository import ROOT

EVERYTHING = {
    "samples": [1, 2],
    "temperature": [0.2, 0.7],
    "fusions": [0, 1, 2],
    "widths": [1, 2],
    "review": ["none", "critic", "ranker", "both"],
    "top_k": [2, 3],
    "evaluation": ["none", "verifier", "unit_tests", "voter"],
}


def test_every_architecture_of_a_space_is_valid_by_the_rules_of_the_paper() -> None:
    space = a_space(**EVERYTHING)
    builder = ArchitectureBuilder(space)

    for point in enumerate_space(space).points:
        assert not list(rule_warnings(builder.build(point))), point


def test_enumerated_points_have_distinct_architectures() -> None:
    space = a_space(**EVERYTHING)
    builder = ArchitectureBuilder(space)
    enumeration = enumerate_space(space)

    names = Counter(architecture_digest(builder.build(point)) for point in enumeration.points)

    assert max(names.values()) == 1
    assert len(enumeration.points) + sum(enumeration.excluded.values()) == enumeration.combinations


def test_a_duplicate_has_the_architecture_of_another_point() -> None:
    space = a_space(**EVERYTHING)
    builder = ArchitectureBuilder(space)
    enumeration = enumerate_space(space)
    known = {architecture_digest(builder.build(point)) for point in enumeration.points}
    alike = 0

    for point in space.search_axes.all_points():
        try:
            alike += architecture_digest(builder.build(point)) in known
        except ArchitectureError as error:
            assert error.why in enumeration.excluded  # noqa: PT017

    assert alike == len(enumeration.points) + enumeration.excluded["duplicate"]


def test_the_space_of_the_paper_has_the_documented_size() -> None:
    # A tenth of the pairs of generators and samples, for speed; each pair has equally many points.
    space, _ = read_space(ROOT / "jobs" / "searches" / "archon.yaml")
    few = space.model_copy(
        update={"axes": space.axes.model_copy(update={"generators": (5,), "samples": (2, 5)})}
    )

    enumeration = enumerate_space(few)

    widths = 1 + 5 + 5**2 + 5**3
    assert len(enumeration.points) == widths * 2 * 3  # critic with ranker or not; three evaluations
    assert enumeration.excluded == {"more than 24 candidates": widths * 2 * 3}
    pairs = sum(g * s <= 24 for g in range(1, 11) for s in range(1, 6))
    assert f"{pairs * widths * 2 * 3:,} architectures" in (
        ROOT / "jobs" / "searches" / "archon.yaml"
    ).read_text("utf-8")


def test_architectures_above_the_limit_of_calls_are_excluded() -> None:
    whole = a_space(**EVERYTHING)
    few = a_space(limits={"calls": 8}, **EVERYTHING)
    counts = [
        count_calls(ArchitectureBuilder(whole).build(point)).high
        for point in enumerate_space(whole).points
    ]

    kept = enumerate_space(few)

    assert len(kept.points) == sum(count <= 8 for count in counts)


def test_limits_of_tokens_and_usd_use_the_forecast() -> None:
    space = a_space(limits={"tokens": 100, "usd": 1.0})

    enumeration = enumerate_space(
        space, lambda a: (90 + len(a.layers[0]) * 5, 0.7 * len(a.layers[0]))
    )

    assert [point["generators"] for point in enumeration.points] == [1]
    assert enumeration.excluded == {"more than $1 per row": 1, "more than 100 tokens per row": 1}


def test_a_point_has_no_value_on_an_axis_that_does_not_apply() -> None:
    space = a_space(fusions=[1, 3], widths=[1, 2], review=["none", "ranker"], top_k=[2, 3])

    point = space.search_axes.walk(lambda axis: axis.values[0])

    assert point.as_data() == {
        "generators": 1,
        "samples": 1,
        "temperature": 0.7,
        "fusions": 1,
        "evaluation": "none",
        "review": "none",
    }


def test_a_mix_gives_each_generator_its_own_samples() -> None:
    space = a_space(
        mix={"one": [0, 2], "two": [0, 1], "three": [0]}, fusions=0, evaluation=["voter"]
    )
    builder = ArchitectureBuilder(space)

    enumeration = [builder.build(point) for point in enumerate_space(space).points]

    made = [
        {getattr(c, "model", ""): getattr(c, "samples", 0) for c in a.layers[0]}
        for a in enumeration
    ]
    assert made == [{"two": 1}, {"one": 2}, {"one": 2, "two": 1}]


def test_distance_grows_with_the_difference_on_an_axis() -> None:
    axes = a_space(**EVERYTHING).search_axes
    points = list(axes.all_points())
    one, two, three = (
        next(p for p in points if p["generators"] == n and p["samples"] == 1) for n in (1, 2, 3)
    )

    assert axes.distance_between(one, one) == 0
    assert (
        axes.distance_between(one, two)
        == axes.distance_between(two, one)
        < axes.distance_between(one, three)
    )


@pytest.mark.parametrize("point", [{"generators": 1}, {"fusions": 2, "width 1": 4}])
def test_a_point_survives_a_round_trip_through_data(point: dict[str, int]) -> None:
    assert Point.from_data(point).as_data() == point
