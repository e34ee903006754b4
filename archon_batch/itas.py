"""Inference-time architecture search, the paper's ITAS (section 3.3): a family of jobs.

Nothing of its progress is kept but its jobs: the same search asks for the same trials again, and
finds those that were run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Protocol

from archon_batch.archon import Architecture
from archon_batch.errors import InputError
from archon_batch.forecast import Load, forecast, total
from archon_batch.ledger import NanoUsd, Price
from archon_batch.scoring import difference, mean
from archon_batch.search import (
    Builder,
    Foreseen,
    Ground,
    Point,
    Propose,
    Space,
    Tried,
    census,
    front,
    goes_on,
    identity,
    rungs,
)
from archon_batch.store import TrialLine
from archon_batch.trials import (
    Amount,
    Case,
    Outcome,
    Outcomes,
    Tally,
    Wanted,
    mean_calls,
    mean_tokens,
    mean_usd,
)

#: Models whose candidates are put together when fusers are ranked: the paper's ten.
_FUSED = 10
#: Samples of self-consistency at the most.
_MOST_SAMPLES = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search is to do."""

    space: Space
    propose: Propose
    #: Architectures that are tried at the most.
    trials: int
    #: Of them, side by side.
    at_once: int
    dev: Sequence[Case]
    held_out: Sequence[Case]
    seed: int
    #: What a row's amount counts against its score.
    weight: float = 0.0
    amount: Amount = "usd"
    #: Several datasets: the worst of them counts, and not their mean.
    worst: bool = False
    pareto: bool = False
    #: Trials without a better one after which it ends; None is all trials.
    patience: int | None = None
    #: Architectures that are run on the held-out rows.
    finalists: int = 3
    #: Whether poor architectures are dropped after some of the rows.
    halving: bool = True


@dataclass(slots=True)
class Trial:
    n: int
    stage: str
    label: str
    architecture: Architecture
    point: Point | None = None
    #: running, dropped (after a rung), done, or cut (by the budget).
    state: str = "running"
    dev: Outcomes = field(default_factory=dict)
    held_out: Outcomes = field(default_factory=dict)
    #: What the algorithm is told.
    value: float | None = None

    @property
    def usd(self) -> float | None:
        return mean_usd(self.dev)


@dataclass(slots=True)
class Found:
    """What a search came to."""

    #: Why it ended, in words.
    ended: str
    #: Whether the budget ended it.
    paused: bool
    combinations: int
    architectures: int
    left_out: Mapping[str, int]
    trials: list[Trial] = field(default_factory=list)
    winner: Trial | None = None
    #: The best of those that were tried in full, in order.
    finalists: list[Trial] = field(default_factory=list)
    single: Trial | None = None
    #: Self-consistency of the best single model, at the winner's cost.
    consistent: Trial | None = None
    front: list[Trial] = field(default_factory=list)
    #: Calls of stage 0 and the trials: paid, found again, and those of one trial after the other.
    paid_calls: int = 0
    found_calls: int = 0
    single_file_calls: int = 0
    held_out_calls: int = 0


class Runs(Protocol):
    """Whoever runs architectures on rows: jobs, or the core alone where nothing is paid."""

    @property
    def tally(self) -> Tally: ...

    @property
    def left(self) -> NanoUsd | None:
        """What is left of the budget; None is no bound."""

    def run(self, wanted: Sequence[Wanted], keep: NanoUsd = ...) -> list[Outcomes]: ...


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
        self._trials = runs
        self._plan = plan
        self._foreseen = foreseen
        #: Puts a trial on record, before it runs and whenever something has come of it.
        self._record = record
        #: Says on the way how far it is.
        self._tell = tell
        self._all: list[Trial] = []
        self._by_rung: dict[int, list[dict[str, float]]] = {}

    def run(self) -> Found:
        """Stage 0, the trials, and the best of them on rows that the search never saw.

        Raises:
            InputError: no architecture of the space is valid; or a provider's verdict stopped it.
        """
        plan = self._plan
        found = self._counted(plan.space)
        singles = self._stage("model", self._alone(plan.space.roles.generators))
        fusers = self._stage("fuser", self._fusers(singles)) if singles else []
        if not self._whole([*singles, *fusers]):
            found.ended, found.paused = "the budget was used up in stage 0", True
            return self._ended(found)
        space = plan.space.ranked(
            [t.label for t in self._ranked(singles)],
            [t.label for t in self._ranked(fusers)] or plan.space.fusers,
        )
        if self._foreseen is not None:
            # The best may be dearer than those that were named first.
            found = self._counted(space)
        found.single = self._ranked(singles)[0]
        found.ended = self._search(space, found)
        found.paused = found.ended.startswith("the budget")
        return self._ended(found)

    def _counted(self, space: Space) -> Found:
        counted = census(space, self._foreseen)
        self._points = counted.points
        if not counted.points:
            reasons = "; ".join(f"{why}: {n:,}" for why, n in counted.left_out.items())
            raise InputError(f"{space.name}: no architecture of the space is valid: {reasons}")
        return Found("", False, counted.combinations, len(counted.points), counted.left_out)

    # Stage 0

    def _alone(self, models: Sequence[str]) -> Iterator[tuple[str, Architecture]]:
        builder = Builder(self._plan.space)
        return ((model, builder.alone(model)) for model in models)

    def _fusers(self, singles: Sequence[Trial]) -> Iterator[tuple[str, Architecture]]:
        space, builder = self._plan.space, Builder(self._plan.space)
        if len(space.fusers) < 2 or not self._whole(singles):  # noqa: PLR2004
            return iter(())
        best = [t.label for t in self._ranked(singles)][:_FUSED]
        return ((model, builder.fused(best, model)) for model in space.fusers)

    def _stage(self, stage: str, wanted: Iterator[tuple[str, Architecture]]) -> list[Trial]:
        trials = [self._new(stage, label, architecture) for label, architecture in wanted]
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
        ground = Ground(space.choices, self._points, plan.seed, plan.pareto)
        tried: list[Tried] = []
        since = 0
        while len(tried) < plan.trials:
            points = plan.propose(ground, tried, min(plan.at_once, plan.trials - len(tried)))
            if not points:
                return f"all {len(self._points):,} architectures were tried"
            keep = self._end_costs(found)
            left = self._trials.left
            if left is not None and left <= keep:
                if not any(t.state == "done" and t.stage == "trial" for t in self._all):
                    return "the budget was used up before an architecture was tried"
                return "the budget: what is left of it is for the held-out rows"
            batch = [self._new("trial", "", builder.build(p), p) for p in points]
            best = max((t.value for t in tried), default=float("-inf"))
            self._race(batch, keep)
            if any(trial.state == "cut" for trial in batch):
                return "the budget: what is left of it is for the held-out rows"
            tried += [Tried(_point(t), t.value or 0.0, t.usd) for t in batch]
            better = any(t.value is not None and t.value > best for t in batch)
            since = 0 if better else since + len(batch)
            top = max(tried, key=lambda one: one.value)
            self._tell(f"{len(tried)} of {plan.trials} trials, the best so far {top.value:.3f}")
            if plan.patience is not None and since >= plan.patience:
                return f"{since} trials without a better one"
        return f"{len(tried)} trials"

    def _race(self, batch: Sequence[Trial], keep: NanoUsd) -> None:
        """Run a batch from rung to rung; who is poor is dropped on the way."""
        plan = self._plan
        going = list(batch)
        for rung in rungs(len(plan.dev)) if plan.halving else (len(plan.dev),):
            self._extend(going, plan.dev[:rung], keep)
            whole = [t for t in going if len(t.dev) == rung]
            for trial in going:
                if trial not in whole:
                    self._close(trial)
            there = self._by_rung.setdefault(rung, [])
            there += [self._values(t.dev) for t in whole]
            last = rung == len(plan.dev)
            staying = [t for t in whole if last or goes_on(self._values(t.dev), there)]
            for trial in whole:
                if last or trial not in staying:
                    self._close(trial)
            going = [] if last else staying

    def _extend(self, trials: Sequence[Trial], cases: Sequence[Case], keep: NanoUsd) -> None:
        """Run the rows of these that each trial has not seen."""
        wanted = []
        for trial in trials:
            more = [case for case in cases if case.id not in trial.dev]
            wanted.append(Wanted(f"{trial.n}.{len(cases)}", trial.architecture, more))
        for trial, outcomes in zip(trials, self._trials.run(wanted, keep), strict=True):
            trial.dev.update(outcomes)

    def _close(self, trial: Trial) -> None:
        """Say how a trial ended, and what the algorithm is told of it."""
        plan = self._plan
        whole = len(trial.dev) == len(plan.dev)
        asked = rungs(len(plan.dev)) if plan.halving and trial.stage == "trial" else ()
        trial.state = "done" if whole else "dropped" if len(trial.dev) in asked else "cut"
        if whole:
            trial.value = self._aggregated(trial.dev, plan.dev)
        elif trial.state == "dropped":
            trial.value = self._against_best(trial)
        self._put(trial)

    def _against_best(self, trial: Trial) -> float:
        """What it would come to on all rows: as far below the best as it is on those it had."""
        ours = self._values(trial.dev)
        done = [t for t in self._all if t.state == "done" and t.value is not None]
        best = max(done, key=lambda t: t.value or 0.0, default=None)
        if best is None or best.value is None:
            return fmean(ours.values())
        theirs = self._values(best.dev)
        return best.value + fmean(ours[row] - theirs[row] for row in ours)

    # The end

    def _ended(self, found: Found) -> Found:
        """With the winner, as rows say that the search never saw."""
        plan = self._plan
        found.trials = self._all
        found.paid_calls, found.found_calls = self._trials.tally.paid, self._trials.tally.found
        found.single_file_calls = round(
            sum(mean_calls(t.dev) * len(plan.dev) for t in self._all if t.dev)
        )
        done = [t for t in self._all if t.stage == "trial" and t.state == "done"]
        if not done:
            return found
        if all(t.usd is not None for t in done):
            found.front = front(done, lambda t: self._score(t.dev), lambda t: t.usd or 0.0)
        ranked = self._ranked(done)
        found.finalists = (found.front if plan.pareto and found.front else ranked)[: plan.finalists]
        self._hold_out(found)
        # Of alike ones the one that was ahead before.
        reached = [t for t in found.finalists if len(t.held_out) == len(plan.held_out)]
        found.winner = (
            max(reached, key=lambda t: self._aggregated(t.held_out, plan.held_out), default=None)
            or found.finalists[0]
        )
        self._compare(found)
        found.held_out_calls = self._trials.tally.paid - found.paid_calls
        return found

    def _hold_out(self, found: Found) -> None:
        best = [*found.finalists, *([found.single] if found.single else [])]
        self._tell(f"{len(best)} architectures on {len(self._plan.held_out):,} held-out rows")
        self._on_held_out(best)

    def _on_held_out(self, trials: Sequence[Trial]) -> None:
        cases = self._plan.held_out
        wanted = [Wanted(f"{t.n}.held-out", t.architecture, cases) for t in trials]
        for trial, outcomes in zip(trials, self._trials.run(wanted), strict=True):
            trial.held_out = outcomes
            self._put(trial)

    def _compare(self, found: Found) -> None:
        """Self-consistency of the best single model, at the winner's cost."""
        winner, single, space = found.winner, found.single, self._plan.space
        if winner is None or single is None or space.roles.voter is None:
            return
        ours, theirs = winner.usd, single.usd
        if not theirs or ours is None:
            ours, theirs = mean_calls(winner.dev), mean_calls(single.dev)
        samples = min(_MOST_SAMPLES, round(ours / theirs)) if theirs else 1
        if samples < 2:  # noqa: PLR2004
            return
        architecture = Builder(space).alone(single.label, samples)
        same = next((t for t in self._all if _alike(t.architecture, architecture)), None)
        found.consistent = same or self._new(
            "held_out", f"{single.label} x {samples}", architecture
        )
        if not found.consistent.held_out:
            self._on_held_out([found.consistent])
        if same is None:
            found.consistent.state = "done"
            self._put(found.consistent)

    def _end_costs(self, found: Found) -> NanoUsd:
        """What the held-out rows are foreseen to cost, by the leaders so far."""
        done = [t for t in self._all if t.stage == "trial" and t.state == "done"]
        leaders = self._ranked(done)[: self._plan.finalists]
        # Self-consistency costs what the winner does.
        costs = [t.usd or 0.0 for t in (*leaders, *leaders[:1])]
        costs += [found.single.usd or 0.0] if found.single else []
        return NanoUsd(round(sum(costs) * len(self._plan.held_out) * 1e9))

    # What trials are worth

    def _values(self, outcomes: Outcomes) -> dict[str, float]:
        """The objective, row by row."""
        return {row: self._value(outcome) for row, outcome in outcomes.items()}

    def _value(self, outcome: Outcome) -> float:
        return outcome.score - self._plan.weight * outcome.took(self._plan.amount)

    def _aggregated(self, outcomes: Outcomes, cases: Sequence[Case]) -> float:
        """The mean over the datasets, or the worst of them."""
        by: dict[int, list[float]] = {}
        for case in cases:
            if case.id in outcomes:
                by.setdefault(case.origin, []).append(self._value(outcomes[case.id]))
        means = [fmean(values) for values in by.values()] or [float("-inf")]
        return min(means) if self._plan.worst else fmean(means)

    def _score(self, outcomes: Outcomes) -> float:
        return fmean(o.score for o in outcomes.values())

    def _ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        """The best first; of alike ones the cheaper, then the earlier."""
        return sorted(trials, key=lambda t: (-(t.value or 0.0), t.usd or 0.0, t.n))

    def _whole(self, trials: Sequence[Trial]) -> bool:
        return all(t.state == "done" for t in trials)

    # On record

    def _new(
        self, stage: str, label: str, architecture: Architecture, point: Point | None = None
    ) -> Trial:
        n = len(self._all)
        trial = Trial(n, stage, label or architecture.name, architecture, point)
        self._all.append(trial)
        self._put(trial)
        return trial

    def _put(self, trial: Trial) -> None:
        self._record(TrialLine(trial.n, trial.stage, told(trial, self._plan.seed)))


_STAGE = {"model": "alone", "fuser": "as fusers"}


def told(trial: Trial, seed: int) -> dict[str, Any]:
    """A trial as plain data: the shape of ``search show --json``."""
    outcomes = trial.dev or trial.held_out
    return {
        "n": trial.n,
        "stage": trial.stage,
        "label": trial.label,
        "state": trial.state,
        "point": None if trial.point is None else trial.point.as_data(),
        "value": trial.value,
        "dev": interval(trial.dev, seed),
        "held_out": interval(trial.held_out, seed),
        "usd_per_row": mean_usd(outcomes),
        "calls_per_row": mean_calls(outcomes),
        "tokens_per_row": mean_tokens(outcomes),
        "architecture": trial.architecture.as_data(),
    }


def interval(outcomes: Outcomes, seed: int) -> dict[str, Any] | None:
    """The mean score with its 95 % interval."""
    found = mean([o.score for o in outcomes.values()], seed)
    if found is None:
        return None
    return {"rows": found.n, "mean": found.value, "low": found.low, "high": found.high}


def apart(ours: Outcomes, theirs: Outcomes, seed: int) -> dict[str, Any] | None:
    """How much higher ours is over the rows of both, with its 95 % interval."""
    rows = [row for row in ours if row in theirs]
    found = difference([ours[r].score for r in rows], [theirs[r].score for r in rows], seed)
    if found is None:
        return None
    return {"rows": found.n, "mean": found.value, "low": found.low, "high": found.high}


def everyone_in(space: Space) -> Architecture:
    """Every model of the roles, each asked once: whose prices and keys a search needs.

    Raises:
        ArchitectureError: the defaults do not suit a generator.
    """
    roles = space.roles
    named = [*roles.generators, *space.fusers]
    named += [n for n in (roles.critic, roles.ranker, roles.verifier, roles.unit_tests) if n]
    return Builder(space).everyone(dict.fromkeys(named))


def foreseen_by(space: Space, prices: Mapping[str, Price | None], load: Load) -> Foreseen | None:
    """What a row of an architecture takes as a rule; None where the space has no limit of it."""
    if not (space.limits.tokens or space.limits.usd):
        return None

    def foreseen(architecture: Architecture) -> tuple[int, float | None]:
        taken = total(forecast(architecture, prices, load)).expected
        tokens = (taken.prompt_tokens + taken.completion_tokens) // load.rows
        return tokens, None if taken.cost is None else taken.cost / load.rows / 1e9

    return foreseen


def _point(trial: Trial) -> Point:
    if trial.point is None:
        raise ValueError(trial.label)
    return trial.point


def _alike(one: Architecture, other: Architecture) -> bool:
    return identity(one) == identity(other)
