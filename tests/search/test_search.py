from dataclasses import replace

import pytest

from archon_batch.archon import Architecture
from archon_batch.errors import InputError
from archon_batch.search.architecture_builder import architecture_digest
from archon_batch.search.search import ArchitectureSearch
from archon_batch.search.trial_jobs import SearchRow
from archon_batch.store import TrialRecord
from tests.search.spaces import InMemoryRunner, a_request, a_space, cases

ONE = {"generators": ["one"], "fusers": ["one"]}


def by_size(architecture: Architecture, case: SearchRow) -> float:
    """More layers score better, and some rows are hard."""
    return float(int(case.id.partition("/")[2]) % 10 < 2 * len(architecture.layers))


def test_the_winner_is_the_best_and_is_reported_with_baselines() -> None:
    space = a_space(samples=[1, 2], fusions=[0, 1, 2], review=["none", "both"], evaluation="voter")

    request = a_request(space, "grid", trials=100, halving=False, held_out=cases(10, 1))
    result = ArchitectureSearch(InMemoryRunner(by_size), request).run()

    assert result.winner is not None
    assert len(result.winner.architecture.layers) >= 5
    assert result.winner.held_out.keys() == {f"1/{n}" for n in range(5, 10)}
    assert result.best_single is not None
    assert result.best_single.label == "one"
    assert result.self_consistency is not None
    assert result.self_consistency.held_out
    assert result.end_reason == f"all {result.architecture_count} architectures were tried"


def test_the_same_architecture_is_never_tried_twice() -> None:
    space = a_space(samples=[1, 2], fusions=[1, 2], review=["none", "both"])

    result = ArchitectureSearch(InMemoryRunner(by_size), a_request(space, "bayes", trials=30)).run()

    tried = [architecture_digest(t.architecture) for t in result.trials if t.stage == "trial"]
    assert len(tried) == len(set(tried))


def test_a_space_of_one_architecture_is_searched() -> None:
    space = a_space(roles=ONE, generators=1)

    result = ArchitectureSearch(InMemoryRunner(by_size), a_request(space)).run()

    assert result.architecture_count == 1
    assert result.end_reason == "all 1 architectures were tried"
    assert result.winner is not None


def test_a_space_without_a_valid_architecture_is_rejected_before_any_call() -> None:
    space = a_space(roles=ONE, generators=1, limits={"calls": 1})
    runner = InMemoryRunner(by_size)

    with pytest.raises(InputError, match=r"no architecture .* more than 1 calls per row: 1"):
        ArchitectureSearch(runner, a_request(space)).run()

    assert runner.ran == []


def test_a_search_with_only_zero_scores_ends_early_without_a_winner() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[1, 2])

    result = ArchitectureSearch(InMemoryRunner(), a_request(space, "grid", trials=100)).run()

    assert result.end_reason == "12 trials, and no row scored above 0"
    assert result.winner is None
    assert result.finalists == []


def test_different_rows_select_and_report_the_winner() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[1, 2], review=["none", "both"])
    lucky: list[str] = []

    def by_luck(architecture: Architecture, case: SearchRow) -> float:
        # On the first five held-out rows the second finalist is the best.
        if case.dataset_index == 1 and int(case.id.partition("/")[2]) < 5:
            lucky.append(architecture.name)
            return float(len(set(lucky)) == 2)
        return 0.5

    request = a_request(space, "grid", dev=cases(5), held_out=cases(10, 1))
    result = ArchitectureSearch(InMemoryRunner(by_luck), request).run()

    assert result.winner is result.finalists[1]
    assert [set(t.choice) for t in result.finalists] == [{f"1/{n}" for n in range(5)}] * 3
    assert set(result.winner.held_out) == {f"1/{n}" for n in range(5, 10)}
    assert result.best_single is not None
    assert set(result.best_single.held_out) == set(result.winner.held_out)
    assert not result.finalists[0].held_out


def test_a_single_finalist_is_reported_on_all_held_out_rows() -> None:
    request = a_request(a_space(samples=[1, 2]), finalists=1, held_out=cases(10, 1))

    result = ArchitectureSearch(InMemoryRunner(by_size), request).run()

    assert result.winner is not None
    assert len(result.winner.held_out) == 10
    assert not result.winner.choice


def test_a_budget_for_half_a_trial_ends_with_the_baselines() -> None:
    result = ArchitectureSearch(InMemoryRunner(by_size, budget=30), a_request(a_space())).run()

    assert result.is_budget_exhausted
    assert result.winner is None
    assert result.end_reason == "the budget was used up by the baselines"


def test_a_budget_leaves_enough_for_the_held_out_rows() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[1, 2])
    runner = InMemoryRunner(by_size, budget=150)

    result = ArchitectureSearch(runner, a_request(space, "grid", trials=100)).run()

    assert result.is_budget_exhausted
    assert result.end_reason.startswith("the budget: the rest is needed")
    assert result.winner is not None
    assert len(result.winner.choice) == len(result.winner.held_out) == 2
    assert runner.budget_left is not None
    assert runner.budget_left >= 0


def test_patience_ends_a_search_without_improvement() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[1, 2])

    result = ArchitectureSearch(InMemoryRunner(), a_request(space, trials=100, patience=5)).run()

    assert result.end_reason == "6 trials without improvement"


def test_the_cost_of_a_row_is_subtracted_from_its_score() -> None:
    space = a_space(samples=[1, 2, 3], fusions=[0, 1], evaluation=["none", "voter"])

    result = ArchitectureSearch(
        InMemoryRunner(by_size), a_request(space, "grid", trials=100, weight=1.0, amount="calls")
    ).run()

    assert result.winner is not None
    assert len(result.winner.architecture.layers) == 1


def test_the_minimum_over_datasets_counts() -> None:
    def by_dataset(architecture: Architecture, case: SearchRow) -> float:
        deep = len(architecture.layers) > 2
        return {0: float(deep), 1: float(not deep) * 0.5 + 0.2}[case.dataset_index]

    space = a_space(roles=ONE, generators=1, review=["none", "critic"])
    dev = [
        SearchRow(f"{o}/{n}", c.question, {}, o) for o in (0, 1) for n, c in enumerate(cases(10))
    ]
    request = a_request(space, "grid", dev=dev, held_out=dev[:2], halving=False)

    values = {}
    for worst in (False, True):
        result = ArchitectureSearch(InMemoryRunner(by_dataset), replace(request, worst=worst)).run()
        values[worst] = {
            len(t.architecture.layers): t.value for t in result.trials if t.stage == "trial"
        }

    assert values[False] == {2: pytest.approx(0.35), 3: pytest.approx(0.6)}
    assert values[True] == {2: 0.0, 3: pytest.approx(0.2)}


def test_the_pareto_front_has_the_undominated_trials() -> None:
    space = a_space(samples=[1, 2], fusions=[1, 2], review=["none", "both"])

    result = ArchitectureSearch(
        InMemoryRunner(by_size), a_request(space, "grid", pareto=True, halving=False)
    ).run()

    costs = [t.usd or 0.0 for t in result.pareto_front]
    values = [t.value or 0.0 for t in result.pareto_front]
    assert len(result.pareto_front) > 1
    assert costs == sorted(costs)
    assert values == sorted(values)


def test_a_trial_is_stored_before_it_runs() -> None:
    lines: list[TrialRecord] = []
    runner = InMemoryRunner(by_size)
    seen: list[int] = []

    def record(line: TrialRecord) -> None:
        lines.append(line)
        seen.append(len(runner.ran))

    ArchitectureSearch(runner, a_request(a_space()), record_trial=record).run()

    first = {line.number: at for line, at in zip(reversed(lines), reversed(seen), strict=True)}
    for n, at in first.items():
        ran = [i for i, (label, _) in enumerate(runner.ran) if label.startswith(f"{n}.")]
        assert at <= ran[0]


def test_the_same_search_runs_the_same_trials_with_cached_calls() -> None:
    space = a_space(roles=ONE, generators=1, samples=[1, 2, 3], fusions=[1, 2], widths=1,
                    review=["none", "critic"], temperature=[0.2, 0.7])  # fmt: skip
    request = a_request(space, "bayes", trials=15, dev=cases(5))
    runner = InMemoryRunner(by_size)

    first = ArchitectureSearch(runner, request).run()
    again = ArchitectureSearch(runner, request).run()

    assert [t.point for t in again.trials] == [t.point for t in first.trials]
    assert again.winner is not None
    assert first.winner is not None
    assert again.winner.point == first.winner.point
    # The counts include both searches; the second paid nothing.
    assert again.paid_calls == first.paid_calls + first.held_out_calls
