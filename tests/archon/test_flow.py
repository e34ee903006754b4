"""How many calls and candidates there are: foretold from the architecture, and counted in a run."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    Answer,
    Call,
    CountRange,
    Reply,
    count_calls,
    layer_flows,
    replay_item,
    run_item,
    validate_architecture,
)
from tests.builders import a_question, an_architecture, answers, architectures, examples

QUESTION = a_question()


def good(call: Call) -> Reply:
    return Reply(call.reply_format.example if call.reply_format else f"text {call.key}")


def bad(call: Call) -> Reply:
    """Every verdict goes against the candidate."""
    return (
        Reply(call.reply_format.costliest_example)
        if call.reply_format and call.reply_format.costliest_example
        else good(call)
    )


def asked(architecture, answer=good) -> Counter[int]:
    """How many calls each layer makes."""
    _, replies = run_item(architecture, QUESTION, answer)
    return Counter(key.layer for key in replies)


def among(count, bounds):
    return bounds.low <= count <= bounds.high


@examples(5)
@given(architecture=architectures(), seed=st.integers())
def test_a_run_makes_the_predicted_calls_and_candidates(architecture, seed):
    end, replies = run_item(architecture, QUESTION, answers(seed, failures=False, rubbish=False))

    passed, _ = replay_item(architecture, QUESTION, replies)
    made = Counter(key.layer for key in replies)
    assert isinstance(end, Answer)
    for flow, layer in zip(layer_flows(architecture), passed, strict=True):
        assert among(len(layer.before.candidates), flow.candidates_in)
        assert among(len(layer.after.candidates), flow.candidates_out)
        assert among(made[layer.layer], flow.calls)
    assert among(len(replies), count_calls(architecture))


@examples(2)
@given(architecture=architectures(), seed=st.integers(), failures=st.booleans())
def test_a_run_never_exceeds_the_maximum_of_calls(architecture, seed, failures):
    _, replies = run_item(architecture, QUESTION, answers(seed, failures=failures))

    passed, _ = replay_item(architecture, QUESTION, replies)
    made = Counter(key.layer for key in replies)
    along = list(layer_flows(architecture))
    assert all(made[layer] <= flow.max_calls for layer, flow in enumerate(along))
    for flow, layer in zip(along, passed, strict=False):
        assert len(layer.before.candidates) <= flow.candidates_in.high
        assert len(layer.after.candidates) <= flow.candidates_out.high


def test_two_selecting_components_keep_at_least_one_and_at_most_all_candidates():
    architecture = an_architecture({"type": "generator", "samples": 5}, "verifier", "verifier")

    first, *_, again = layer_flows(architecture)

    assert (first.calls, first.max_calls) == (CountRange(5, 5), 15)
    assert (again.candidates_in, again.calls, again.max_calls) == (
        CountRange(1, 5),
        CountRange(2, 10),
        30,
    )
    assert str(count_calls(architecture, rows=2)) == "34-50"


def unreadable(call: Call) -> Reply:
    """Nothing is read of it in the end, and every candidate is made in the last attempt."""
    retries = 2
    return good(call) if call.reply_format is None and call.key.reask == retries else Reply("")


@pytest.mark.parametrize(
    "layers",
    [
        [{"type": "generator", "samples": 3}, "critic", {"type": "ranker", "top_k": 2}, "fuser"],
        [{"type": "generator", "samples": 3}, {"type": "verifier", "samples": 2}],
        [{"type": "generator", "samples": 3}, {"type": "verifier", "first_k": 1}],
        ["generator", {"type": "unit_test_generator", "samples": 2}],
    ],
)
def test_the_maximum_of_calls_is_reached_if_no_reply_can_be_parsed(layers):
    architecture = an_architecture(*layers)

    made = asked(architecture, unreadable)

    assert [made[layer] for layer in range(len(layers))] == [
        f.max_calls for f in layer_flows(architecture)
    ]


def exactly(count: int) -> CountRange:
    return CountRange(count, count)


def table(n: int) -> list[tuple[dict[str, Any], CountRange, CountRange]]:
    """The paper's table 3 with no sample wasted: what is asked of n candidates, how many are left."""
    return [
        ({"type": "generator", "samples": 4}, exactly(4), exactly(4)),
        ({"type": "fuser"}, exactly(1), exactly(1)),
        ({"type": "fuser", "samples": 3}, exactly(3), exactly(3)),
        ({"type": "critic"}, exactly(1), exactly(n)),
        ({"type": "critic", "samples": 3}, exactly(3), exactly(n)),
        ({"type": "ranker"}, exactly(1), exactly(n)),
        ({"type": "ranker", "top_k": 1}, exactly(1), exactly(1)),
        ({"type": "ranker", "top_k": n}, exactly(1), exactly(n)),
        ({"type": "verifier"}, exactly(2 * n), CountRange(1, n)),
        ({"type": "verifier", "samples": 3}, exactly(2 * 3 * n), CountRange(1, n)),
        ({"type": "verifier", "first_k": 1}, CountRange(2, 2 * n), CountRange(1, n)),
        ({"type": "verifier", "samples": 3, "first_k": 1}, CountRange(6, 6 * n), CountRange(1, n)),
        ({"type": "verifier", "first_k": n}, exactly(2 * n), CountRange(1, n)),
        ({"type": "unit_test_generator"}, exactly(1), exactly(n)),
        ({"type": "unit_test_generator", "samples": 2}, exactly(2), exactly(n)),
        ({"type": "unit_test_evaluator"}, exactly(n), exactly(n)),
        ({"type": "unit_test_evaluator", "samples": 3}, exactly(3 * n), exactly(n)),
        ({"type": "unit_test_evaluator", "top_k": 1}, exactly(n), exactly(1)),
        ({"type": "unit_test_evaluator", "first_k": 1}, CountRange(1, n), CountRange(1, n)),
        ({"type": "unit_test_evaluator", "first_k": 1, "top_k": 1}, CountRange(1, n), exactly(1)),
        ({"type": "unit_test_evaluator", "first_k": n, "top_k": 1}, exactly(n), CountRange(1, n)),
        ({"type": "voter", "extract": "text"}, exactly(0), exactly(1)),
    ]


def verdicts(passes: Callable[[int], bool], samples: int) -> Callable[[Call], Reply]:
    """A provider that lets those candidates pass whose place it is asked about."""

    def answer(call: Call) -> Reply:
        place = call.key.request_index // samples // (2 if call.component_type == "verifier" else 1)
        return good(call) if call.key.layer < 2 or passes(place) else bad(call)

    return answer


@pytest.mark.parametrize(
    ("n", "component", "asks", "leaves"), [(n, *row) for n in (1, 2, 7) for row in table(n)]
)
def test_each_component_reaches_the_bounds_of_its_counts(n, component, asks, leaves):
    architecture = an_architecture(
        "unit_test_generator", {"type": "generator", "samples": n}, component
    )
    cases: list[Callable[[int], bool]] = [
        lambda _place: True,
        lambda _place: False,
        lambda place: place == 0,
        lambda place: place == n - 1,
    ]

    made, left = [], []
    for passes in cases:
        _, replies = run_item(architecture, QUESTION, verdicts(passes, component.get("samples", 1)))
        passed, _ = replay_item(architecture, QUESTION, replies)
        made.append(sum(key.layer == 2 for key in replies))
        left.append(len(passed[2].after.candidates))

    flow = list(layer_flows(architecture))[2]
    assert (flow.candidates_in, flow.calls, flow.candidates_out) == (exactly(n), asks, leaves)
    assert (min(made), max(made)) == (asks.low, asks.high)
    assert (min(left), max(left)) == (leaves.low, leaves.high)


@pytest.mark.parametrize("kind", ["verifier", "unit_test_evaluator"])
@pytest.mark.parametrize(("n", "first_k"), [(1, 1), (5, 1), (5, 3), (5, 5), (9, 4)])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_component_that_stops_early_makes_fewest_calls_if_the_first_candidates_pass(
    kind, n, first_k, samples
):
    architecture = an_architecture(
        "unit_test_generator",
        {"type": "generator", "samples": n},
        {"type": kind, "first_k": first_k, "samples": samples},
    )
    each = samples * (2 if kind == "verifier" else 1)

    least, most = asked(architecture, good)[2], asked(architecture, bad)[2]

    assert (least, most) == (each * first_k, each * n)
    assert list(layer_flows(architecture))[2].calls == CountRange(least, most)


@pytest.mark.parametrize("n", range(1, 6))
def test_waves_judge_no_more_candidates_than_judging_sequentially(n):
    for first_k, passes in product(range(1, n + 1), product([False, True], repeat=n)):
        architecture = an_architecture(
            {"type": "generator", "samples": n},
            "unit_test_generator",
            {"type": "unit_test_evaluator", "first_k": first_k},
        )

        made = asked(architecture, verdicts(passes.__getitem__, 1))[2]

        places = [place for place in range(n) if passes[place]]
        assert made == (places[first_k - 1] + 1 if len(places) >= first_k else n)


def itas(
    generators: int, samples: int, fusers: Sequence[int], *, critics: bool, judge: str, late: bool
) -> list[Any]:
    """An architecture of the paper's search space, the last fuser judged before or after critics."""
    layers: list[Any] = [[{"type": "generator", "samples": samples}] * generators]
    n = generators * samples
    for depth, width in enumerate([*fusers, 1]):
        ranked = ["critic", {"type": "ranker", "top_k": min(5, n)}] if critics else []
        judges: list[Any] = []
        if depth == len(fusers):
            judges = {
                "": [],
                "verifier": ["verifier"],
                "tests": ["unit_test_generator", "unit_test_evaluator"],
            }[judge]
        layers += [*ranked, *judges] if late else [*judges, *ranked]
        layers.append(["fuser"] * width)
        n = width
    return layers


@pytest.mark.parametrize("judge", ["", "verifier", "tests"])
@pytest.mark.parametrize("critics", [False, True])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("fusers", [(), (2,), (8, 4), (10, 6, 2)])
@pytest.mark.parametrize(("generators", "samples"), [(1, 1), (1, 5), (10, 1), (6, 4)])
def test_the_papers_search_space_has_the_calls_of_its_formula(
    generators, samples, fusers, critics, late, judge
):
    layers = itas(generators, samples, fusers, critics=critics, judge=judge, late=late)
    architecture = an_architecture(*layers)
    validate_architecture(architecture)

    c = 2 if critics else 0
    judged = fusers[-1] if fusers else generators * samples
    if critics and late:
        judged = min(5, judged)
    e = {"": 0, "verifier": 2 * judged, "tests": 1 + judged}[judge]
    formula = generators * samples + sum(c + r for r in fusers) + e + c + 1

    assert count_calls(architecture) == exactly(formula)
    assert asked(architecture).total() == formula


@pytest.mark.parametrize(
    ("layers", "counted"),
    [
        # The repository's best architecture for Arena-Hard: the critic follows the ranker.
        ([{"type": "generator", "samples": 10}, {"type": "ranker", "top_k": 5}, "critic", "fuser"], 13),
        ([[{"type": "generator", "samples": 3}] * 6, ["fuser"] * 8, ["fuser"] * 5, ["fuser"] * 3, "fuser"], 35),
        # Mixture of Agents: three layers of six models, and one final model.
        ([["generator"] * 6, ["fuser"] * 6, ["fuser"] * 6, "fuser"], 19),
        ([["generator"] * 8, "verifier"], 24),
        ([["generator"] * 8, "verifier", "fuser"], 25),
        ([["generator"] * 8, "critic", "ranker", "fuser"], 11),
    ],
)  # fmt: skip
def test_an_architecture_of_the_paper_has_the_published_calls(layers, counted):
    architecture = an_architecture(*layers)

    assert count_calls(architecture) == exactly(counted)
    assert asked(architecture, good).total() == asked(architecture, bad).total() == counted


def test_an_architecture_that_stops_early_makes_calls_by_its_verdicts():
    architecture = an_architecture(
        {"type": "unit_test_generator", "unit_test_cap": 5},
        {"type": "generator", "samples": 5},
        {"type": "unit_test_evaluator", "first_k": 3, "top_k": 1},
        {"type": "verifier", "first_k": 1},
    )

    # Three are kept if three pass, otherwise one.
    made = {
        frozenset(passing): asked(architecture, verdicts(passing.__contains__, 1)).total()
        for passing in ({0, 1, 2}, {0, 1, 3}, {0, 3, 4}, {2, 3, 4}, {1}, set())
    }

    assert count_calls(architecture) == CountRange(11, 17)
    assert list(made.values()) == [11, 12, 13, 17, 13, 13]
