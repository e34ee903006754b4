"""Which trials are dropped after few rows, with given scores, over many seeds."""

import random
from collections.abc import Callable, Sequence

import pytest

from archon_batch.money import NanoUsd
from archon_batch.search.early_stopping import best_rival, is_significantly_worse
from archon_batch.search.objective import Objective
from archon_batch.search.search import ArchitectureSearch
from archon_batch.search.trial import Trial
from archon_batch.search.trial_jobs import CallCounts, RowOutcome, RowOutcomes, TrialRequest
from tests.builders import an_architecture
from tests.search.spaces import a_request, a_space, cases

SPACE = a_space(samples=[1, 2, 3, 4, 5], fusions=[1, 2], review=["none", "critic"])
OBJECTIVE = Objective(a_request(SPACE, dev=cases(50)))
#: What the rule states of one as good as the best, over both looks.
STATED = 0.25
#: Trials before the first of the search itself.
STAGE_0 = 5


class FixedScoreRunner:
    """Returns given scores without making calls."""

    budget_left = None

    def __init__(self, score: Callable[[TrialRequest, str], float]) -> None:
        self.call_counts = CallCounts()
        self._score = score

    def run(
        self,
        requests: Sequence[TrialRequest],
        budget_to_keep: NanoUsd = NanoUsd(0),  # noqa: B008
    ) -> list[RowOutcomes]:
        del budget_to_keep
        return [
            {c.id: RowOutcome(self._score(one, c.id), 1, 0, 0.0) for c in one.rows}
            for one in requests
        ]


def outcomes(scores: Sequence[float], usd: float = 0.0) -> RowOutcomes:
    return {f"0/{n}": RowOutcome(score, 1, 0, usd) for n, score in enumerate(scores)}


def a_trial(n: int, scores: Sequence[float], state: str = "done", usd: float = 0.0) -> Trial:
    dev = outcomes(scores, usd)
    return Trial(n, "trial", "", an_architecture("generator"), state=state, dev=dev)


def worse(outcomes_of_trial: Sequence[float], best: Sequence[float], seed: int = 0) -> bool:
    return is_significantly_worse(outcomes(outcomes_of_trial), outcomes(best), OBJECTIVE, seed)


def test_a_trial_that_fails_where_the_best_succeeds_is_worse_after_five_rows() -> None:
    assert worse([0, 0, 0, 0, 0], [1, 1, 1, 1, 1])
    assert worse([0, 0, 1, 1, 0], [1, 1, 1, 1, 0])


@pytest.mark.parametrize("rows", [5, 16])
def test_a_trial_equal_to_the_best_or_one_row_behind_is_not_worse(rows: int) -> None:
    best = [1.0] * rows

    assert not any(worse(best, best, seed) for seed in range(20))
    assert not any(worse([0.0, *best[1:]], best, seed) for seed in range(20))
    assert not any(worse(best[::-1], best, seed) for seed in range(20))


def test_gains_on_some_rows_offset_losses_on_other_rows() -> None:
    assert not worse([1, 0, 0, 1, 0], [0, 1, 1, 0, 1])


def test_an_equal_trial_is_dropped_no_more_often_than_documented() -> None:
    for chance in (0.5, 0.8):
        dropped = 0
        for seed in range(600):
            rng = random.Random(seed)  # noqa: S311
            outcomes_of_trial, best = (
                [float(rng.random() < chance) for _ in range(16)] for _ in range(2)
            )
            dropped += worse(outcomes_of_trial[:5], best[:5], seed) or worse(
                outcomes_of_trial, best, seed
            )
        assert dropped / 600 <= STATED, chance


def test_a_trial_is_compared_with_the_best_that_ran_all_rows() -> None:
    outcomes_of_trial = a_trial(0, [0.5] * 5, "running")
    same_batch, poor, good = (
        a_trial(1, [1.0] * 5, "running"),
        a_trial(2, [0.1] * 50),
        a_trial(3, [0.4] * 50),
    )

    assert (
        best_rival(outcomes_of_trial, [outcomes_of_trial, same_batch, poor, good], OBJECTIVE)
        is good
    )
    assert best_rival(outcomes_of_trial, [outcomes_of_trial, same_batch], OBJECTIVE) is same_batch
    assert best_rival(outcomes_of_trial, [outcomes_of_trial], OBJECTIVE) is None


def test_in_a_pareto_search_a_more_expensive_trial_is_no_rival() -> None:
    objective = Objective(a_request(SPACE, dev=cases(50), pareto=True))
    outcomes_of_trial = a_trial(0, [0.5] * 5, "running", usd=2.0)
    expensive, cheap = a_trial(1, [0.9] * 50, usd=3.0), a_trial(2, [0.6] * 50, usd=1.0)

    assert best_rival(outcomes_of_trial, [outcomes_of_trial, expensive, cheap], objective) is cheap
    assert best_rival(outcomes_of_trial, [outcomes_of_trial, expensive], objective) is None


def test_the_minimum_over_datasets_is_compared_if_it_counts() -> None:
    dev = [*cases(8), *cases(8, 1)]
    scores = {"trial": (1.0, 0.4), "best": (0.6, 0.5)}
    results = {
        who: {c.id: RowOutcome(both[c.dataset_index], 1, 0, 0.0) for c in dev}
        for who, both in scores.items()
    }

    mean, worst = (Objective(a_request(SPACE, dev=dev, worst=worst)) for worst in (False, True))

    assert not is_significantly_worse(results["trial"], results["best"], mean, 0)
    assert is_significantly_worse(results["trial"], results["best"], worst, 0)


def tried(score: Callable[[TrialRequest, str], float], seed: int = 0) -> list[Trial]:
    request = a_request(SPACE, dev=cases(50), trials=8, at_once=4, seed=seed, finalists=1)
    return [
        t
        for t in ArchitectureSearch(FixedScoreRunner(score), request).run().trials
        if t.stage == "trial"
    ]


def test_poor_architectures_run_few_rows_and_equal_ones_run_all() -> None:
    found = tried(lambda wanted, _row: float(len(wanted.architecture.layers) > 2))

    rows = {(len(t.architecture.layers) > 2, t.state, len(t.dev)) for t in found}
    assert rows == {(True, "done", 50), (False, "dropped", 5)}


def test_noise_drops_the_best_no_more_often_than_documented() -> None:
    states: dict[float, list[str]] = {0.2: [], 0.6: [], 0.8: []}
    for seed in range(16):
        first = STAGE_0 + seed % 8

        def chance(n: int, first: int = first) -> float:
            return 0.8 if n == first else 0.2 if n % 2 else 0.6

        def score(wanted: TrialRequest, row: str, seed: int = seed) -> float:
            n = int(wanted.label.partition(".")[0])
            return float(random.Random(f"{seed} {n} {row}").random() < chance(n))  # noqa: S311

        for trial in tried(score, seed):
            states[chance(trial.number)].append(trial.state)

    assert len(states[0.8]) == 16
    assert states[0.8].count("dropped") / 16 <= STATED
    assert states[0.2].count("dropped") / len(states[0.2]) > 0.7
