"""The course of a search: stage 0, trials from rung to rung, and the end."""

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

#: Models whose candidates are put together when fusers are ranked: the paper's ten.
_MAX_FUSED_MODELS = 10
#: Trials without a single point after which nothing is expected of more.
_MAX_ZERO_TRIALS = 10
_STAGE_LABELS = {"model": "alone", "fuser": "as fusers"}


class ArchitectureSearch:
    def __init__(
        self,
        runner: TrialRunner,
        request: SearchRequest,
        *,
        estimate_row: RowEstimator | None = None,
        record_trial: Callable[[TrialRecord], None] = lambda _line: None,
        report_progress: Callable[[str], None] = lambda _words: None,
    ) -> None:
        self._runner = runner
        self._request = request
        self._estimate_row = estimate_row
        #: Says on the way how far it is.
        self._report_progress = report_progress
        self._trial_log = TrialLog(record_trial, request.seed)
        self._objective = Objective(request)
        self._final_selection = FinalSelection(runner, request, self._trial_log, report_progress)
        self._points: tuple[Point, ...] = ()
        #: Models that replied to none of their calls.
        self._excluded_models: frozenset[str] = frozenset()

    def run(self) -> SearchResult:
        """Stage 0, the trials, and the best of them on rows that the search never saw.

        Raises:
            InputError: no architecture of the space is valid; or a provider's verdict stopped it.
        """
        plan = self._request
        found = self._enumerate_space(plan.space)
        singles = self._responsive_only(
            self._run_baselines("model", self._single_models(plan.space.roles.generators))
        )
        fusers = self._run_baselines("fuser", self._fusers(singles)) if singles else []
        if not all_complete([*singles, *fusers]):
            found.end_reason, found.is_budget_exhausted = "the budget was used up in stage 0", True
            return self._final_selection.finish(found)
        space = plan.space.with_ranking(
            self._unresponsive_last(
                [t.label for t in rank_trials(singles)], plan.space.roles.generators
            ),
            self._unresponsive_last([t.label for t in rank_trials(fusers)], plan.space.fusers),
        )
        if self._estimate_row is not None:
            # The best may be dearer than those that were named first.
            found = self._enumerate_space(space)
        self._exclude_unresponsive_models(space)
        found.best_single = rank_trials(singles)[0]
        found.end_reason = self._run_trials(space, found)
        found.is_budget_exhausted = found.end_reason.startswith("the budget")
        found.unresponsive_models = tuple(sorted(self._runner.call_counts.unresponsive_models))
        return self._final_selection.finish(found)

    def _enumerate_space(self, space: Space) -> SearchResult:
        counted = enumerate_space(space, self._estimate_row)
        self._points = counted.points
        if not counted.points:
            reasons = "; ".join(f"{why}: {n:,}" for why, n in counted.excluded.items())
            raise InputError(f"{space.name}: no architecture of the space is valid: {reasons}")
        return SearchResult("", False, counted.combinations, len(counted.points), counted.excluded)

    # Models that reply to nothing

    def _responsive_only(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials of models that replied; those of others count for nothing.

        Raises:
            InputError: no model replied.
        """
        heard = [
            t
            for t in trials
            if self._model_name(t.label) not in self._runner.call_counts.unresponsive_models
        ]
        if trials and not heard and all_complete(trials):
            raise InputError(
                f"{self._request.space.name}: no generator replied to any of its calls"
            )
        return heard or list(trials)

    def _model_name(self, name: str) -> str:
        model = self._request.space.models.get(name)
        return name if model is None else model.model

    def _unresponsive_last(self, best: Sequence[str], named: Sequence[str]) -> list[str]:
        """Those that were tried in their order, and then the others: of the silent the last."""
        silent = self._runner.call_counts.unresponsive_models
        ordered = [*best, *(name for name in named if name not in best)]
        return sorted(ordered, key=lambda name: self._model_name(name) in silent)

    def _exclude_unresponsive_models(self, space: Space) -> None:
        """Leave out the architectures that ask a model which replies to nothing; tell of it once.

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
        out = before - len(self._points)
        for model in sorted(new):
            calls = self._runner.call_counts.by_model[model]
            self._report_progress(
                f"{model} replied to none of its {calls:,} calls and leaves the search"
            )
        self._report_progress(f"{out:,} of {before:,} architectures ask it and are left out")
        for trial in self._trial_log.trials:
            if trial.stage == "trial" and self._uses_excluded_model(trial.architecture):
                # What it scored is the merit of the others.
                trial.state = "left"
                self._trial_log.save(trial)
        if not self._points:
            raise InputError(
                f"{space.name}: every architecture asks {', '.join(sorted(new))}, which replied to "
                "none of its calls; put in another model, or choices without it"
            )

    def _uses_excluded_model(self, architecture: Architecture) -> bool:
        models = {architecture.model(name).model for name in architecture.model_names}
        return not models.isdisjoint(self._excluded_models)

    # Stage 0

    def _single_models(self, models: Sequence[str]) -> Iterator[tuple[str, Architecture]]:
        builder = ArchitectureBuilder(self._request.space)
        return ((model, builder.single_model(model)) for model in models)

    def _fusers(self, singles: Sequence[Trial]) -> Iterator[tuple[str, Architecture]]:
        space, builder = self._request.space, ArchitectureBuilder(self._request.space)
        if len(space.fusers) < 2 or not all_complete(singles):  # noqa: PLR2004
            return iter(())
        best = [t.label for t in rank_trials(singles)][:_MAX_FUSED_MODELS]
        silent = self._runner.call_counts.unresponsive_models
        heard = [model for model in space.fusers if self._model_name(model) not in silent]
        return ((model, builder.fuse_models(best, model)) for model in heard)

    def _run_baselines(self, stage: str, wanted: Iterator[tuple[str, Architecture]]) -> list[Trial]:
        trials = [self._trial_log.add(stage, label, architecture) for label, architecture in wanted]
        if trials:
            self._report_progress(f"stage 0: {len(trials)} models {_STAGE_LABELS[stage]}")
        for at in range(0, len(trials), self._request.at_once):
            batch = trials[at : at + self._request.at_once]
            self._run_missing_rows(batch, self._request.dev, NanoUsd(0))
            for trial in batch:
                self._finish_trial(trial)
        return trials

    # The search itself

    def _run_trials(self, space: Space, result: SearchResult) -> str:
        """Try architectures until it ends; return why it does, in words."""
        plan, builder = self._request, ArchitectureBuilder(space)
        shared = SharedCalls(builder)
        tried: list[Observation] = []
        since = 0
        while len(tried) < plan.trials:
            ground = SearchState(space.search_axes, self._points, plan.seed, plan.pareto, shared)
            points = plan.propose(ground, tried, min(plan.at_once, plan.trials - len(tried)))
            if not points:
                return f"all {len(self._points):,} architectures were tried"
            keep = self._final_selection.expected_cost(result)
            left = self._runner.budget_left
            if left is not None and left <= keep:
                if not any(
                    t.state == "done" and t.stage == "trial" for t in self._trial_log.trials
                ):
                    return "the budget does not reach for an architecture and its held-out rows"
                return "the budget: what is left of it is for the held-out rows"
            batch = [self._trial_log.add("trial", "", builder.build(p), p) for p in points]
            best = max((t.value for t in tried), default=float("-inf"))
            self._run_rungs(batch, keep)
            self._exclude_unresponsive_models(space)
            if any(trial.state == "cut" for trial in batch):
                return "the budget: what is left of it is for the held-out rows"
            tried += [
                Observation(_require_point(t), t.value or 0.0, t.usd, len(t.dev) / len(plan.dev))
                for t in batch
            ]
            if len(tried) >= _MAX_ZERO_TRIALS and not any_row_scored(self._trial_log.trials):
                return f"{len(tried)} trials, and no row of any scored above 0"
            better = any(t.value is not None and t.value > best for t in batch)
            since = 0 if better else since + len(batch)
            top = max(tried, key=lambda one: one.value)
            self._report_progress(
                f"{len(tried)} of {plan.trials} trials, the best so far {top.value:.3f}"
            )
            if plan.patience is not None and since >= plan.patience:
                return f"{since} trials without a better one"
        return f"{len(tried)} trials"

    def _run_rungs(self, batch: Sequence[Trial], keep: NanoUsd) -> None:
        """Run a batch from rung to rung; who is worse than the best is dropped on the way."""
        plan = self._request
        going = list(batch)
        for rung in rungs(len(plan.dev)) if plan.halving else (len(plan.dev),):
            self._run_missing_rows(going, plan.dev[:rung], keep)
            whole = [t for t in going if len(t.dev) == rung]
            last = rung == len(plan.dev)
            staying = [t for t in whole if not last and not self._is_worse(t, whole)]
            for trial in going:
                if trial not in staying:
                    self._finish_trial(trial)
            going = staying

    def _is_worse(self, trial: Trial, beside: Sequence[Trial]) -> bool:
        done = [t for t in self._trial_log.trials if t.stage == "trial" and t.state == "done"]
        best = best_rival(trial, [*done, *beside], self._objective)
        seed = (self._request.seed, trial.number, len(trial.dev))
        return best is not None and is_significantly_worse(
            trial.dev, best.dev, self._objective, seed
        )

    def _run_missing_rows(
        self, trials: Sequence[Trial], rows: Sequence[SearchRow], keep: NanoUsd
    ) -> None:
        """Run the rows of these that each trial has not seen."""
        wanted = []
        for trial in trials:
            more = [case for case in rows if case.id not in trial.dev]
            wanted.append(TrialRequest(f"{trial.number}.{len(rows)}", trial.architecture, more))
        for trial, outcomes in zip(trials, self._runner.run(wanted, keep), strict=True):
            trial.dev.update(outcomes)

    def _finish_trial(self, trial: Trial) -> None:
        """Say how a trial ended, and what the algorithm is told of it."""
        plan = self._request
        whole = len(trial.dev) == len(plan.dev)
        asked = rungs(len(plan.dev)) if plan.halving and trial.stage == "trial" else ()
        trial.state = "done" if whole else "dropped" if len(trial.dev) in asked else "cut"
        if whole:
            trial.value = self._objective.value_of(trial.dev)
        elif trial.state == "dropped":
            trial.value = self._extrapolated_value(trial)
        self._trial_log.save(trial)

    def _extrapolated_value(self, trial: Trial) -> float:
        """What it would come to on all rows: as far below the best as it is on those it had."""
        ours = self._objective.row_values(trial.dev)
        done = [t for t in self._trial_log.trials if t.state == "done" and t.value is not None]
        best = max(done, key=lambda t: t.value or 0.0, default=None)
        if best is None or best.value is None:
            return fmean(ours.values())
        theirs = self._objective.row_values(best.dev)
        return best.value + fmean(ours[row] - theirs[row] for row in ours)

    # The end


def _require_point(trial: Trial) -> Point:
    if trial.point is None:
        raise ValueError(trial.label)
    return trial.point
