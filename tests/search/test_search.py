from dataclasses import replace

import pytest

from archon_batch.archon import Architecture
from archon_batch.errors import InputError
from archon_batch.search.architecture_builder import architecture_digest
from archon_batch.search.search import ArchitectureSearch
from archon_batch.search.trial_jobs import SearchRow
from archon_batch.store import TrialRecord
from tests.search.spaces import Played, a_plan, a_space, cases

ONE = {"generators": ["one"], "fusers": ["one"]}


def by_size(architecture: Architecture, case: SearchRow) -> float:
    """More layers score better, and some rows are hard."""
    return float(int(case.id.partition("/")[2]) % 10 < 2 * len(architecture.layers))


def test_the_winner_is_the_best_and_is_reported_with_baselines() -> None:
    space = a_space(samples=[1, 2], fusions=[0, 1, 2], review=["none", "both"], evaluation="voter")

    plan = a_plan(space, "grid", trials=100, halving=False, held_out=cases(10, 1))
    found = ArchitectureSearch(Played(by_size), plan).run()

    assert found.winner is not None
    assert len(found.winner.architecture.layers) >= 5
    assert found.winner.held_out.keys() == {f"1/{n}" for n in range(5, 10)}
    assert found.best_single is not None
    assert found.best_single.label == "one"
    assert found.self_consistency is not None
    assert found.self_consistency.held_out
    assert found.end_reason == f"all {found.architecture_count} architectures were tried"


def test_the_same_architecture_is_never_tried_twice() -> None:
    space = a_space(samples=[1, 2], fusions=[1, 2], review=["none", "both"])

    found = ArchitectureSearch(Played(by_size), a_plan(space, "bayes", trials=30)).run()

    tried = [architecture_digest(t.architecture) for t in found.trials if t.stage == "trial"]
    assert len(tried) == len(set(tried))


def test_a_space_of_one_architecture_is_searched() -> None:
    space = a_space(roles=ONE, generators=1)

    found = ArchitectureSearch(Played(by_size), a_plan(space)).run()

    assert found.architecture_count == 1
    assert found.end_reason == "all 1 architectures were tried"
    assert found.winner is not None


def test_a_space_without_a_valid_architecture_is_rejected_before_any_call() -> None:
    space = a_space(roles=ONE, generators=1, limits={"calls": 1})
    played = Played(by_size)

    with pytest.raises(InputError, match=r"no architecture .* more than 1 calls per row: 1"):
        ArchitectureSearch(played, a_plan(space)).run()

    assert played.ran == []


def test_a_search_with_only_zero_scores_ends_early_without_a_winner() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[1, 2])

    found = ArchitectureSearch(Played(), a_plan(space, "grid", trials=100)).run()

    assert found.end_reason == "12 trials, and no row scored above 0"
    assert found.winner is None
    assert found.finalists == []


def test_different_rows_select_and_report_the_winner() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[1, 2], review=["none", "both"])
    lucky: list[str] = []

    def by_luck(architecture: Architecture, case: SearchRow) -> float:
        # On the first five held-out rows the second finalist is the best.
        if case.dataset_index == 1 and int(case.id.partition("/")[2]) < 5:
            lucky.append(architecture.name)
            return float(len(set(lucky)) == 2)
        return 0.5

    plan = a_plan(space, "grid", dev=cases(5), held_out=cases(10, 1))
    found = ArchitectureSearch(Played(by_luck), plan).run()

    assert found.winner is found.finalists[1]
    assert [set(t.choice) for t in found.finalists] == [{f"1/{n}" for n in range(5)}] * 3
    assert set(found.winner.held_out) == {f"1/{n}" for n in range(5, 10)}
    assert found.best_single is not None
    assert set(found.best_single.held_out) == set(found.winner.held_out)
    assert not found.finalists[0].held_out


def test_a_single_finalist_is_reported_on_all_held_out_rows() -> None:
    plan = a_plan(a_space(samples=[1, 2]), finalists=1, held_out=cases(10, 1))

    found = ArchitectureSearch(Played(by_size), plan).run()

    assert found.winner is not None
    assert len(found.winner.held_out) == 10
    assert not found.winner.choice


def test_a_budget_for_half_a_trial_ends_with_the_baselines() -> None:
    found = ArchitectureSearch(Played(by_size, budget=30), a_plan(a_space())).run()

    assert found.is_budget_exhausted
    assert found.winner is None
    assert found.end_reason == "the budget was used up by the baselines"


def test_a_budget_leaves_enough_for_the_held_out_rows() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[1, 2])
    played = Played(by_size, budget=150)

    found = ArchitectureSearch(played, a_plan(space, "grid", trials=100)).run()

    assert found.is_budget_exhausted
    assert found.end_reason.startswith("the budget: the rest is needed")
    assert found.winner is not None
    assert len(found.winner.choice) == len(found.winner.held_out) == 2
    assert played.budget_left is not None
    assert played.budget_left >= 0


def test_patience_ends_a_search_without_improvement() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[1, 2])

    found = ArchitectureSearch(Played(), a_plan(space, trials=100, patience=5)).run()

    assert found.end_reason == "6 trials without improvement"


def test_the_cost_of_a_row_is_subtracted_from_its_score() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[0, 1], evaluation=["none", "voter"])

    found = ArchitectureSearch(
        Played(by_size), a_plan(space, "grid", trials=100, weight=1.0, amount="calls")
    ).run()

    assert found.winner is not None
    assert len(found.winner.architecture.layers) == 1


def test_the_minimum_over_datasets_counts() -> None:
    def by_dataset(architecture: Architecture, case: SearchRow) -> float:
        deep = len(architecture.layers) > 2
        return {0: float(deep), 1: float(not deep) * 0.5 + 0.2}[case.dataset_index]

    space = a_space(roles=ONE, generators=1, review=["none", "critic"])
    dev = [
        SearchRow(f"{o}/{n}", c.question, {}, o) for o in (0, 1) for n, c in enumerate(cases(10))
    ]
    plan = a_plan(space, "grid", dev=dev, held_out=dev[:2], halving=False)

    values = {}
    for worst in (False, True):
        found = ArchitectureSearch(Played(by_dataset), replace(plan, worst=worst)).run()
        values[worst] = {
            len(t.architecture.layers): t.value for t in found.trials if t.stage == "trial"
        }

    assert values[False] == {2: pytest.approx(0.35), 3: pytest.approx(0.6)}
    assert values[True] == {2: 0.0, 3: pytest.approx(0.2)}


def test_the_pareto_front_has_the_undominated_trials() -> None:
    space = a_space(samples=[1, 2], fusions=[1, 2], review=["none", "both"])

    found = ArchitectureSearch(
        Played(by_size), a_plan(space, "grid", pareto=True, halving=False)
    ).run()

    costs = [t.usd or 0.0 for t in found.pareto_front]
    values = [t.value or 0.0 for t in found.pareto_front]
    assert len(found.pareto_front) > 1
    assert costs == sorted(costs)
    assert values == sorted(values)


def test_a_trial_is_stored_before_it_runs() -> None:
    lines: list[TrialRecord] = []
    played = Played(by_size)
    seen: list[int] = []

    def record(line: TrialRecord) -> None:
        lines.append(line)
        seen.append(len(played.ran))

    ArchitectureSearch(played, a_plan(a_space()), record_trial=record).run()

    first = {line.number: at for line, at in zip(reversed(lines), reversed(seen), strict=True)}
    for n, at in first.items():
        ran = [i for i, (label, _) in enumerate(played.ran) if label.startswith(f"{n}.")]
        assert at <= ran[0]


def test_the_same_search_runs_the_same_trials_with_cached_calls() -> None:
    space = a_space(roles=ONE, generators=1, samples=[1, 2, 3], fusions=[1, 2], widths=1,
                    review=["none", "critic"], temperature=[0.2, 0.7])  # fmt: skip
    plan = a_plan(space, "bayes", trials=15, dev=cases(5))
    played = Played(by_size)

    first = ArchitectureSearch(played, plan).run()
    again = ArchitectureSearch(played, plan).run()

    assert [t.point for t in again.trials] == [t.point for t in first.trials]
    assert again.winner is not None
    assert first.winner is not None
    assert again.winner.point == first.winner.point
    # The counts include both searches; the second paid nothing.
    assert again.paid_calls == first.paid_calls + first.held_out_calls
