"""The course of a search: stage 0, trials from rung to rung, and the end."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from archon_batch.archon import Architecture
from archon_batch.errors import InputError
from archon_batch.money import NanoUsd
from archon_batch.search import (
    Builder,
    Foreseen,
    Ground,
    Point,
    Shared,
    Space,
    Tried,
    census,
    rungs,
)
from archon_batch.search.early_stopping import best_to_beat, is_worse
from archon_batch.search.final_selection import Finale
from archon_batch.search.objective import Objective, are_whole, has_scored, ranked
from archon_batch.search.request import Plan, Runs
from archon_batch.search.trial import Book, Found, Trial
from archon_batch.search.trial_jobs import Case, Wanted
from archon_batch.store import TrialLine

#: Models whose candidates are put together when fusers are ranked: the paper's ten.
_FUSED = 10
#: Trials without a single point after which nothing is expected of more.
_IN_VAIN = 10
_STAGE = {"model": "alone", "fuser": "as fusers"}


class Search:
    def __init__(
        self,
        runs: Runs,
        plan: Plan,
        *,
        foreseen: Foreseen | None = None,
        record: Callable[[TrialLine], None] = lambda _line: None,
        tell: Callable[[str], None] = lambda _words: None,
    ) -> None:
        self._runs = runs
        self._plan = plan
        self._foreseen = foreseen
        #: Says on the way how far it is.
        self._tell = tell
        self._book = Book(record, plan.seed)
        self._objective = Objective(plan)
        self._finale = Finale(runs, plan, self._book, tell)
        self._points: tuple[Point, ...] = ()
        #: Models that replied to none of their calls.
        self._left_out: frozenset[str] = frozenset()

    def run(self) -> Found:
        """Stage 0, the trials, and the best of them on rows that the search never saw.

        Raises:
            InputError: no architecture of the space is valid; or a provider's verdict stopped it.
        """
        plan = self._plan
        found = self._counted(plan.space)
        singles = self._heard(self._stage("model", self._alone(plan.space.roles.generators)))
        fusers = self._stage("fuser", self._fusers(singles)) if singles else []
        if not are_whole([*singles, *fusers]):
            found.ended, found.paused = "the budget was used up in stage 0", True
            return self._finale.ended(found)
        space = plan.space.ranked(
            self._last_if_silent([t.label for t in ranked(singles)], plan.space.roles.generators),
            self._last_if_silent([t.label for t in ranked(fusers)], plan.space.fusers),
        )
        if self._foreseen is not None:
            # The best may be dearer than those that were named first.
            found = self._counted(space)
        self._leave(space)
        found.single = ranked(singles)[0]
        found.ended = self._search(space, found)
        found.paused = found.ended.startswith("the budget")
        found.silent = tuple(sorted(self._runs.tally.silent))
        return self._finale.ended(found)

    def _counted(self, space: Space) -> Found:
        counted = census(space, self._foreseen)
        self._points = counted.points
        if not counted.points:
            reasons = "; ".join(f"{why}: {n:,}" for why, n in counted.left_out.items())
            raise InputError(f"{space.name}: no architecture of the space is valid: {reasons}")
        return Found("", False, counted.combinations, len(counted.points), counted.left_out)

    # Models that reply to nothing

    def _heard(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials of models that replied; those of others count for nothing.

        Raises:
            InputError: no model replied.
        """
        heard = [t for t in trials if self._model(t.label) not in self._runs.tally.silent]
        if trials and not heard and are_whole(trials):
            raise InputError(f"{self._plan.space.name}: no generator replied to any of its calls")
        return heard or list(trials)

    def _model(self, name: str) -> str:
        model = self._plan.space.models.get(name)
        return name if model is None else model.model

    def _last_if_silent(self, best: Sequence[str], named: Sequence[str]) -> list[str]:
        """Those that were tried in their order, and then the others: of the silent the last."""
        silent = self._runs.tally.silent
        ordered = [*best, *(name for name in named if name not in best)]
        return sorted(ordered, key=lambda name: self._model(name) in silent)

    def _leave(self, space: Space) -> None:
        """Leave out the architectures that ask a model which replies to nothing; tell of it once.

        Raises:
            InputError: no architecture is left.
        """
        new = self._runs.tally.silent - self._left_out
        if not new:
            return
        self._left_out |= new
        builder, before = Builder(space), len(self._points)
        self._points = tuple(p for p in self._points if not self._asks(builder.build(p)))
        out = before - len(self._points)
        for model in sorted(new):
            calls = self._runs.tally.asked[model]
            self._tell(f"{model} replied to none of its {calls:,} calls and leaves the search")
        self._tell(f"{out:,} of {before:,} architectures ask it and are left out")
        for trial in self._book.trials:
            if trial.stage == "trial" and self._asks(trial.architecture):
                # What it scored is the merit of the others.
                trial.state = "left"
                self._book.put(trial)
        if not self._points:
            raise InputError(
                f"{space.name}: every architecture asks {', '.join(sorted(new))}, which replied to "
                "none of its calls; put in another model, or choices without it"
            )

    def _asks(self, architecture: Architecture) -> bool:
        models = {architecture.model(name).model for name in architecture.model_names}
        return not models.isdisjoint(self._left_out)

    # Stage 0

    def _alone(self, models: Sequence[str]) -> Iterator[tuple[str, Architecture]]:
        builder = Builder(self._plan.space)
        return ((model, builder.alone(model)) for model in models)

    def _fusers(self, singles: Sequence[Trial]) -> Iterator[tuple[str, Architecture]]:
        space, builder = self._plan.space, Builder(self._plan.space)
        if len(space.fusers) < 2 or not are_whole(singles):  # noqa: PLR2004
            return iter(())
        best = [t.label for t in ranked(singles)][:_FUSED]
        silent = self._runs.tally.silent
        heard = [model for model in space.fusers if self._model(model) not in silent]
        return ((model, builder.fused(best, model)) for model in heard)

    def _stage(self, stage: str, wanted: Iterator[tuple[str, Architecture]]) -> list[Trial]:
        trials = [self._book.new(stage, label, architecture) for label, architecture in wanted]
        if trials:
            self._tell(f"stage 0: {len(trials)} models {_STAGE[stage]}")
        for at in range(0, len(trials), self._plan.at_once):
            batch = trials[at : at + self._plan.at_once]
            self._extend(batch, self._plan.dev, NanoUsd(0))
            for trial in batch:
                self._close(trial)
        return trials

    # The search itself

    def _search(self, space: Space, found: Found) -> str:
        """Try architectures until it ends; return why it does, in words."""
        plan, builder = self._plan, Builder(space)
        shared = Shared(builder)
        tried: list[Tried] = []
        since = 0
        while len(tried) < plan.trials:
            ground = Ground(space.choices, self._points, plan.seed, plan.pareto, shared)
            points = plan.propose(ground, tried, min(plan.at_once, plan.trials - len(tried)))
            if not points:
                return f"all {len(self._points):,} architectures were tried"
            keep = self._finale.costs(found)
            left = self._runs.left
            if left is not None and left <= keep:
                if not any(t.state == "done" and t.stage == "trial" for t in self._book.trials):
                    return "the budget does not reach for an architecture and its held-out rows"
                return "the budget: what is left of it is for the held-out rows"
            batch = [self._book.new("trial", "", builder.build(p), p) for p in points]
            best = max((t.value for t in tried), default=float("-inf"))
            self._race(batch, keep)
            self._leave(space)
            if any(trial.state == "cut" for trial in batch):
                return "the budget: what is left of it is for the held-out rows"
            tried += [
                Tried(_point(t), t.value or 0.0, t.usd, len(t.dev) / len(plan.dev)) for t in batch
            ]
            if len(tried) >= _IN_VAIN and not has_scored(self._book.trials):
                return f"{len(tried)} trials, and no row of any scored above 0"
            better = any(t.value is not None and t.value > best for t in batch)
            since = 0 if better else since + len(batch)
            top = max(tried, key=lambda one: one.value)
            self._tell(f"{len(tried)} of {plan.trials} trials, the best so far {top.value:.3f}")
            if plan.patience is not None and since >= plan.patience:
                return f"{since} trials without a better one"
        return f"{len(tried)} trials"

    def _race(self, batch: Sequence[Trial], keep: NanoUsd) -> None:
        """Run a batch from rung to rung; who is worse than the best is dropped on the way."""
        plan = self._plan
        going = list(batch)
        for rung in rungs(len(plan.dev)) if plan.halving else (len(plan.dev),):
            self._extend(going, plan.dev[:rung], keep)
            whole = [t for t in going if len(t.dev) == rung]
            last = rung == len(plan.dev)
            staying = [t for t in whole if not last and not self._is_worse(t, whole)]
            for trial in going:
                if trial not in staying:
                    self._close(trial)
            going = staying

    def _is_worse(self, trial: Trial, beside: Sequence[Trial]) -> bool:
        done = [t for t in self._book.trials if t.stage == "trial" and t.state == "done"]
        best = best_to_beat(trial, [*done, *beside], self._objective)
        seed = (self._plan.seed, trial.n, len(trial.dev))
        return best is not None and is_worse(trial.dev, best.dev, self._objective, seed)

    def _extend(self, trials: Sequence[Trial], cases: Sequence[Case], keep: NanoUsd) -> None:
        """Run the rows of these that each trial has not seen."""
        wanted = []
        for trial in trials:
            more = [case for case in cases if case.id not in trial.dev]
            wanted.append(Wanted(f"{trial.n}.{len(cases)}", trial.architecture, more))
        for trial, outcomes in zip(trials, self._runs.run(wanted, keep), strict=True):
            trial.dev.update(outcomes)

    def _close(self, trial: Trial) -> None:
        """Say how a trial ended, and what the algorithm is told of it."""
        plan = self._plan
        whole = len(trial.dev) == len(plan.dev)
        asked = rungs(len(plan.dev)) if plan.halving and trial.stage == "trial" else ()
        trial.state = "done" if whole else "dropped" if len(trial.dev) in asked else "cut"
        if whole:
            trial.value = self._objective.of(trial.dev)
        elif trial.state == "dropped":
            trial.value = self._against_best(trial)
        self._book.put(trial)

    def _against_best(self, trial: Trial) -> float:
        """What it would come to on all rows: as far below the best as it is on those it had."""
        ours = self._objective.values(trial.dev)
        done = [t for t in self._book.trials if t.state == "done" and t.value is not None]
        best = max(done, key=lambda t: t.value or 0.0, default=None)
        if best is None or best.value is None:
            return fmean(ours.values())
        theirs = self._objective.values(best.dev)
        return best.value + fmean(ours[row] - theirs[row] for row in ours)

    # The end


def _point(trial: Trial) -> Point:
    if trial.point is None:
        raise ValueError(trial.label)
    return trial.point
