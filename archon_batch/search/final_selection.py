"""The end of a search: choose the winner on held-out rows and compare it with baselines."""

from collections.abc import Callable, Iterator, Sequence

from archon_batch.archon import Architecture
from archon_batch.money import NanoUsd
from archon_batch.search.architecture_builder import ArchitectureBuilder, architecture_digest
from archon_batch.search.objective import Objective, any_row_scored, mean_score, rank_trials
from archon_batch.search.pareto import pareto_front
from archon_batch.search.request import SearchRequest, TrialRunner
from archon_batch.search.trial import SearchResult, Trial, TrialLog
from archon_batch.search.trial_jobs import RowOutcomes, SearchRow, TrialRequest, mean_calls

#: The largest number of self-consistency samples.
_MAX_SAMPLES = 100


class FinalSelection:
    def __init__(
        self,
        runner: TrialRunner,
        request: SearchRequest,
        trial_log: TrialLog,
        report_progress: Callable[[str], None],
    ) -> None:
        self._runner = runner
        self._request = request
        self._trial_log = trial_log
        self._report_progress = report_progress
        self._objective = Objective(request)
        #: Held-out rows that choose among the finalists, and rows that the result is reported on.
        self._choice_rows, self._report_rows = split_held_out(request.held_out, request.finalists)

    def finish(self, result: SearchResult) -> SearchResult:
        """Add the winner, its held-out scores and the baselines to the result."""
        request = self._request
        result.trials = self._trial_log.trials
        counts = self._runner.call_counts
        result.paid_calls, result.cached_calls = counts.paid, counts.cached
        result.sequential_calls = round(
            sum(mean_calls(t.dev) * len(request.dev) for t in self._trial_log.trials if t.dev)
        )
        done = [t for t in self._trial_log.trials if t.stage == "trial" and t.state == "done"]
        if not done or not any_row_scored(self._trial_log.trials):
            return result
        if all(t.usd is not None for t in done):
            result.pareto_front = pareto_front(
                done, lambda t: mean_score(t.dev), lambda t: t.usd or 0.0
            )
        best = result.pareto_front if request.pareto and result.pareto_front else rank_trials(done)
        result.finalists = best[: request.finalists]
        self._choice_rows, self._report_rows = split_held_out(
            request.held_out, len(result.finalists)
        )
        result.winner = self._choose_winner(result.finalists)
        self._evaluate_winner(result)
        self._run_self_consistency(result)
        result.held_out_calls = self._runner.call_counts.paid - result.paid_calls
        return result

    def _choose_winner(self, finalists: Sequence[Trial]) -> Trial:
        """The finalist that is best on the choice rows.

        Choosing on the report rows would overestimate the winner's score.
        """
        rows = self._choice_rows
        if rows:
            self._report_progress(f"{len(finalists)} finalists on {len(rows):,} selection rows")
            for trial, outcomes in self._run("choice", finalists, rows):
                trial.choice = outcomes
                self._trial_log.save(trial)
        complete = [t for t in finalists if len(t.choice) == len(rows)]
        # ``max`` resolves ties by the ranking on the dev rows.
        return max(complete or finalists, key=lambda t: self._objective.value_of(t.choice))

    def _evaluate_winner(self, result: SearchResult) -> None:
        best = [t for t in (result.winner, result.best_single) if t is not None]
        self._report_progress(
            f"{len(best)} architectures on {len(self._report_rows):,} held-out rows"
        )
        self._run_on_held_out(best)

    def _run_on_held_out(self, trials: Sequence[Trial]) -> None:
        for trial, outcomes in self._run("held-out", trials, self._report_rows):
            trial.held_out = outcomes
            self._trial_log.save(trial)

    def _run(
        self, stage: str, trials: Sequence[Trial], rows: Sequence[SearchRow]
    ) -> Iterator[tuple[Trial, RowOutcomes]]:
        requests = [TrialRequest(f"{t.number}.{stage}", t.architecture, rows) for t in trials]
        return zip(trials, self._runner.run(requests), strict=True)

    def _run_self_consistency(self, result: SearchResult) -> None:
        """Run self-consistency of the best single model at the same cost as the winner."""
        winner, single, space = result.winner, result.best_single, self._request.space
        if winner is None or single is None or space.roles.voter is None:
            return
        winner_cost, single_cost = winner.usd, single.usd
        if not single_cost or winner_cost is None:
            winner_cost, single_cost = mean_calls(winner.dev), mean_calls(single.dev)
        samples = min(_MAX_SAMPLES, round(winner_cost / single_cost)) if single_cost else 1
        if samples < 2:  # noqa: PLR2004
            return
        architecture = ArchitectureBuilder(space).single_model(single.label, samples)
        existing = next(
            (t for t in self._trial_log.trials if _same_architecture(t.architecture, architecture)),
            None,
        )
        result.self_consistency = existing or self._trial_log.add(
            "held_out", f"{single.label} x {samples}", architecture
        )
        if not result.self_consistency.held_out:
            self._run_on_held_out([result.self_consistency])
        if existing is None:
            result.self_consistency.state = "done"
            self._trial_log.save(result.self_consistency)

    def expected_cost(self, result: SearchResult) -> NanoUsd:
        """The expected cost of the held-out rows, estimated from the best trials so far."""
        done = [t for t in self._trial_log.trials if t.stage == "trial" and t.state == "done"]
        leaders = [t.usd or 0.0 for t in rank_trials(done)[: self._request.finalists]]
        # Any leader may win; self-consistency costs the same as the winner.
        report = 2 * max(leaders, default=0.0)
        report += (result.best_single.usd or 0.0) if result.best_single else 0.0
        usd = sum(leaders) * len(self._choice_rows) + report * len(self._report_rows)
        return NanoUsd(round(usd * 1e9))


def split_held_out(
    held_out: Sequence[SearchRow], finalists: int
) -> tuple[Sequence[SearchRow], Sequence[SearchRow]]:
    """The rows that choose among the finalists, and the rows that the winner is reported on."""
    half = len(held_out) // 2 if finalists > 1 else 0
    return held_out[:half], held_out[half:]


def _same_architecture(one: Architecture, other: Architecture) -> bool:
    return architecture_digest(one) == architecture_digest(other)
