"""The end of a search: its best on rows that it never saw, against a single model."""

from collections.abc import Callable, Sequence

from archon_batch.archon import Architecture
from archon_batch.itas.objective import Objective, mean_score, ranked
from archon_batch.itas.plan import Plan, Runs
from archon_batch.itas.trial import Book, Found, Trial
from archon_batch.ledger import NanoUsd
from archon_batch.search import Builder, front, identity
from archon_batch.trials import Wanted, mean_calls

#: Samples of self-consistency at the most.
_MOST_SAMPLES = 100


class Finale:
    def __init__(self, runs: Runs, plan: Plan, book: Book, tell: Callable[[str], None]) -> None:
        self._runs = runs
        self._plan = plan
        self._book = book
        self._tell = tell
        self._objective = Objective(plan)

    def ended(self, found: Found) -> Found:
        """With the winner, as rows say that the search never saw."""
        plan = self._plan
        found.trials = self._book.trials
        found.paid_calls, found.found_calls = self._runs.tally.paid, self._runs.tally.found
        found.single_file_calls = round(
            sum(mean_calls(t.dev) * len(plan.dev) for t in self._book.trials if t.dev)
        )
        done = [t for t in self._book.trials if t.stage == "trial" and t.state == "done"]
        if not done:
            return found
        if all(t.usd is not None for t in done):
            found.front = front(done, lambda t: mean_score(t.dev), lambda t: t.usd or 0.0)
        best = found.front if plan.pareto and found.front else ranked(done)
        found.finalists = best[: plan.finalists]
        self._hold_out(found)
        # Of alike ones the one that was ahead before.
        reached = [t for t in found.finalists if len(t.held_out) == len(plan.held_out)]
        found.winner = (
            max(
                reached,
                key=lambda t: self._objective.aggregated(t.held_out, plan.held_out),
                default=None,
            )
            or found.finalists[0]
        )
        self._compare(found)
        found.held_out_calls = self._runs.tally.paid - found.paid_calls
        return found

    def _hold_out(self, found: Found) -> None:
        best = [*found.finalists, *([found.single] if found.single else [])]
        self._tell(f"{len(best)} architectures on {len(self._plan.held_out):,} held-out rows")
        self._on_held_out(best)

    def _on_held_out(self, trials: Sequence[Trial]) -> None:
        cases = self._plan.held_out
        wanted = [Wanted(f"{t.n}.held-out", t.architecture, cases) for t in trials]
        for trial, outcomes in zip(trials, self._runs.run(wanted), strict=True):
            trial.held_out = outcomes
            self._book.put(trial)

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
        same = next((t for t in self._book.trials if _alike(t.architecture, architecture)), None)
        found.consistent = same or self._book.new(
            "held_out", f"{single.label} x {samples}", architecture
        )
        if not found.consistent.held_out:
            self._on_held_out([found.consistent])
        if same is None:
            found.consistent.state = "done"
            self._book.put(found.consistent)

    def costs(self, found: Found) -> NanoUsd:
        """What the held-out rows are foreseen to cost, by the leaders so far."""
        done = [t for t in self._book.trials if t.stage == "trial" and t.state == "done"]
        leaders = ranked(done)[: self._plan.finalists]
        # Self-consistency costs what the winner does.
        costs = [t.usd or 0.0 for t in (*leaders, *leaders[:1])]
        costs += [found.single.usd or 0.0] if found.single else []
        return NanoUsd(round(sum(costs) * len(self._plan.held_out) * 1e9))

    # What trials are worth


def _alike(one: Architecture, other: Architecture) -> bool:
    return identity(one) == identity(other)
