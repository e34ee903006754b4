"""Runs a search: baselines, trials with early stopping, and the final selection."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from archon_batch.archon import Architecture
from archon_batch.errors import InputError
from archon_batch.money import NanoUsd
from archon_batch.search.architecture_builder import ArchitectureBuilder
from archon_batch.search.axes import Point
from archon_batch.search.early_stopping import best_rival, is_significantly_worse, rungs
from archon_batch.search.enumerate_space import RowEstimator, enumerate_space
from archon_batch.search.final_selection import FinalSelection
from archon_batch.search.objective import Objective, all_complete, any_row_scored, rank_trials
from archon_batch.search.request import SearchRequest, TrialRunner
from archon_batch.search.search_state import Observation, SearchState
from archon_batch.search.shared_calls import SharedCalls
from archon_batch.search.space import Space
from archon_batch.search.trial import SearchResult, Trial, TrialLog
from archon_batch.search.trial_jobs import SearchRow, TrialRequest
from archon_batch.store import TrialRecord

#: Generators whose candidates rank the fusers: the paper's ten.
_MAX_FUSED_MODELS = 10
#: The search ends if this many trials scored 0 on every row.
_MAX_ZERO_TRIALS = 10
_STAGE_LABELS = {"model": "single models", "fuser": "fusers"}


class ArchitectureSearch:
    def __init__(
        self,
        runner: TrialRunner,
        request: SearchRequest,
        *,
        estimate_row: RowEstimator | None = None,
        record_trial: Callable[[TrialRecord], None] = lambda _record: None,
        report_progress: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self._runner = runner
        self._request = request
        self._estimate_row = estimate_row
        self._report_progress = report_progress
        self._trial_log = TrialLog(record_trial, request.seed)
        self._objective = Objective(request)
        self._final_selection = FinalSelection(runner, request, self._trial_log, report_progress)
        self._points: tuple[Point, ...] = ()
        #: Unresponsive models whose architectures are excluded.
        self._excluded_models: frozenset[str] = frozenset()

    def run(self) -> SearchResult:
        """Run the baselines and the trials, then select the winner on held-out rows.

        Raises:
            InputError: the space has no valid architecture, or a job of the search is stopped.
        """
        request = self._request
        result = self._enumerate_space(request.space)
        singles = self._responsive_only(
            self._run_baselines("model", self._single_models(request.space.roles.generators))
        )
        fusers = self._run_baselines("fuser", self._fusers(singles)) if singles else []
        if not all_complete([*singles, *fusers]):
            result.end_reason, result.is_budget_exhausted = (
                "the budget was used up by the baselines",
                True,
            )
            return self._final_selection.finish(result)
        space = request.space.with_ranking(
            self._unresponsive_last(
                [t.label for t in rank_trials(singles)], request.space.roles.generators
            ),
            self._unresponsive_last([t.label for t in rank_trials(fusers)], request.space.fusers),
        )
        if self._estimate_row is not None:
            # The best models may cost more than those named first.
            result = self._enumerate_space(space)
        self._exclude_unresponsive_models(space)
        result.best_single = rank_trials(singles)[0]
        result.end_reason = self._run_trials(space, result)
        result.is_budget_exhausted = result.end_reason.startswith("the budget")
        result.unresponsive_models = tuple(sorted(self._runner.call_counts.unresponsive_models))
        return self._final_selection.finish(result)

    def _enumerate_space(self, space: Space) -> SearchResult:
        counted = enumerate_space(space, self._estimate_row)
        self._points = counted.points
        if not counted.points:
            reasons = "; ".join(f"{why}: {n:,}" for why, n in counted.excluded.items())
            raise InputError(f"{space.name}: no architecture of the space is valid: {reasons}")
        return SearchResult("", False, counted.combinations, len(counted.points), counted.excluded)

    # Unresponsive models

    def _responsive_only(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials of responsive models; all of them if the budget ended before any reply.

        Raises:
            InputError: no model replied.
        """
        responsive = [
            t
            for t in trials
            if self._model_name(t.label) not in self._runner.call_counts.unresponsive_models
        ]
        if trials and not responsive and all_complete(trials):
            raise InputError(
                f"{self._request.space.name}: no generator replied to any of its calls"
            )
        return responsive or list(trials)

    def _model_name(self, name: str) -> str:
        model = self._request.space.models.get(name)
        return name if model is None else model.model

    def _unresponsive_last(self, ranked: Sequence[str], named: Sequence[str]) -> list[str]:
        """Ranked models, then the rest of ``named``; unresponsive models at the end."""
        unresponsive = self._runner.call_counts.unresponsive_models
        ordered = [*ranked, *(name for name in named if name not in ranked)]
        return sorted(ordered, key=lambda name: self._model_name(name) in unresponsive)

    def _exclude_unresponsive_models(self, space: Space) -> None:
        """Exclude architectures with an unresponsive model, and report each such model once.

        Raises:
            InputError: no architecture is left.
        """
        new = self._runner.call_counts.unresponsive_models - self._excluded_models
        if not new:
            return
        self._excluded_models |= new
        builder, before = ArchitectureBuilder(space), len(self._points)
        self._points = tuple(
            p for p in self._points if not self._uses_excluded_model(builder.build(p))
        )
        excluded = before - len(self._points)
        for model in sorted(new):
            calls = self._runner.call_counts.by_model[model]
            self._report_progress(f"{model} replied to none of its {calls:,} calls and is excluded")
        self._report_progress(f"{excluded:,} of {before:,} architectures use it and are excluded")
        for trial in self._trial_log.trials:
            if trial.stage == "trial" and self._uses_excluded_model(trial.architecture):
                # Its score is due to its other models.
                trial.state = "excluded"
                self._trial_log.save(trial)
        if not self._points:
            raise InputError(
                f"{space.name}: every architecture uses {', '.join(sorted(new))}, which replied to "
                "none of its calls; add another model, or choices without it"
            )

    def _uses_excluded_model(self, architecture: Architecture) -> bool:
        models = {architecture.model(name).model for name in architecture.model_names}
        return not models.isdisjoint(self._excluded_models)

    # Baselines

    def _single_models(self, models: Sequence[str]) -> Iterator[tuple[str, Architecture]]:
        builder = ArchitectureBuilder(self._request.space)
        return ((model, builder.single_model(model)) for model in models)

    def _fusers(self, singles: Sequence[Trial]) -> Iterator[tuple[str, Architecture]]:
        space, builder = self._request.space, ArchitectureBuilder(self._request.space)
        if len(space.fusers) < 2 or not all_complete(singles):  # noqa: PLR2004
            return iter(())
        best = [t.label for t in rank_trials(singles)][:_MAX_FUSED_MODELS]
        unresponsive = self._runner.call_counts.unresponsive_models
        responsive = [
            model for model in space.fusers if self._model_name(model) not in unresponsive
        ]
        return ((model, builder.fuse_models(best, model)) for model in responsive)

    def _run_baselines(
        self, stage: str, baselines: Iterator[tuple[str, Architecture]]
    ) -> list[Trial]:
        trials = [
            self._trial_log.add(stage, label, architecture) for label, architecture in baselines
        ]
        if trials:
            self._report_progress(f"baselines: {len(trials)} {_STAGE_LABELS[stage]}")
        for first in range(0, len(trials), self._request.at_once):
            batch = trials[first : first + self._request.at_once]
            self._run_missing_rows(batch, self._request.dev, NanoUsd(0))
            for trial in batch:
                self._finish_trial(trial)
        return trials

    # Trials

    def _run_trials(self, space: Space, result: SearchResult) -> str:
        """Run trials until the search ends; return the reason in words."""
        request, builder = self._request, ArchitectureBuilder(space)
        shared_calls = SharedCalls(builder)
        observations: list[Observation] = []
        without_improvement = 0
        while len(observations) < request.trials:
            state = SearchState(
                space.search_axes, self._points, request.seed, request.pareto, shared_calls
            )
            count = min(request.at_once, request.trials - len(observations))
            points = request.propose(state, observations, count)
            if not points:
                return f"all {len(self._points):,} architectures were tried"
            budget_to_keep = self._final_selection.expected_cost(result)
            left = self._runner.budget_left
            if left is not None and left <= budget_to_keep:
                if not any(
                    t.state == "done" and t.stage == "trial" for t in self._trial_log.trials
                ):
                    return "the budget is too small for one architecture and its held-out rows"
                return "the budget: the rest is needed for the held-out rows"
            batch = [self._trial_log.add("trial", "", builder.build(p), p) for p in points]
            best = max((one.value for one in observations), default=float("-inf"))
            self._run_rungs(batch, budget_to_keep)
            self._exclude_unresponsive_models(space)
            if any(trial.state == "unfinished" for trial in batch):
                return "the budget: the rest is needed for the held-out rows"
            observations += [
                Observation(_require_point(t), t.value or 0.0, t.usd, len(t.dev) / len(request.dev))
                for t in batch
            ]
            if len(observations) >= _MAX_ZERO_TRIALS and not any_row_scored(self._trial_log.trials):
                return f"{len(observations)} trials, and no row scored above 0"
            improved = any(t.value is not None and t.value > best for t in batch)
            without_improvement = 0 if improved else without_improvement + len(batch)
            top = max(observations, key=lambda one: one.value)
            self._report_progress(
                f"{len(observations)} of {request.trials} trials, best so far {top.value:.3f}"
            )
            if request.patience is not None and without_improvement >= request.patience:
                return f"{without_improvement} trials without improvement"
        return f"{len(observations)} trials"

    def _run_rungs(self, batch: Sequence[Trial], budget_to_keep: NanoUsd) -> None:
        """Run a batch rung by rung; drop trials that are significantly worse than the best."""
        request = self._request
        running = list(batch)
        for rung in rungs(len(request.dev)) if request.halving else (len(request.dev),):
            self._run_missing_rows(running, request.dev[:rung], budget_to_keep)
            complete = [t for t in running if len(t.dev) == rung]
            last = rung == len(request.dev)
            continuing = [t for t in complete if not last and not self._is_worse(t, complete)]
            for trial in running:
                if trial not in continuing:
                    self._finish_trial(trial)
            running = continuing

    def _is_worse(self, trial: Trial, batch: Sequence[Trial]) -> bool:
        done = [t for t in self._trial_log.trials if t.stage == "trial" and t.state == "done"]
        best = best_rival(trial, [*done, *batch], self._objective)
        seed = (self._request.seed, trial.number, len(trial.dev))
        return best is not None and is_significantly_worse(
            trial.dev, best.dev, self._objective, *seed
        )

    def _run_missing_rows(
        self, trials: Sequence[Trial], rows: Sequence[SearchRow], budget_to_keep: NanoUsd
    ) -> None:
        """Run each trial on those rows that it has not run yet."""
        requests = []
        for trial in trials:
            missing = [row for row in rows if row.id not in trial.dev]
            label = f"{trial.number}.{len(rows)}"
            requests.append(TrialRequest(label, trial.architecture, missing))
        for trial, outcomes in zip(trials, self._runner.run(requests, budget_to_keep), strict=True):
            trial.dev.update(outcomes)

    def _finish_trial(self, trial: Trial) -> None:
        """Set the final state of the trial and its value for the search algorithm."""
        request = self._request
        complete = len(trial.dev) == len(request.dev)
        rung_sizes = rungs(len(request.dev)) if request.halving and trial.stage == "trial" else ()
        if complete:
            trial.state = "done"
            trial.value = self._objective.value_of(trial.dev)
        elif len(trial.dev) in rung_sizes:
            trial.state = "dropped"
            trial.value = self._extrapolated_value(trial)
        else:
            trial.state = "unfinished"
        self._trial_log.save(trial)

    def _extrapolated_value(self, trial: Trial) -> float:
        """The value of the best trial plus the mean difference to it on the rows that both ran."""
        values = self._objective.row_values(trial.dev)
        done = [t for t in self._trial_log.trials if t.state == "done" and t.value is not None]
        best = max(done, key=lambda t: t.value or 0.0, default=None)
        if best is None or best.value is None:
            return fmean(values.values())
        best_values = self._objective.row_values(best.dev)
        return best.value + fmean(values[row] - best_values[row] for row in values)


def _require_point(trial: Trial) -> Point:
    if trial.point is None:
        raise ValueError(trial.label)
    return trial.point
