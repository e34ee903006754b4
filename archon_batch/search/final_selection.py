"""The end of a search: its best on rows that it never saw, against a single model."""

from collections.abc import Callable, Iterator, Sequence

from archon_batch.archon import Architecture
from archon_batch.money import NanoUsd
from archon_batch.search import Builder, front, identity
from archon_batch.search.objective import Objective, has_scored, mean_score, ranked
from archon_batch.search.request import Plan, Runs
from archon_batch.search.trial import Book, Found, Trial
from archon_batch.search.trial_jobs import Case, Outcomes, Wanted, mean_calls

#: Samples of self-consistency at the most.
_MOST_SAMPLES = 100


class Finale:
    def __init__(self, runs: Runs, plan: Plan, book: Book, tell: Callable[[str], None]) -> None:
        self._runs = runs
        self._plan = plan
        self._book = book
        self._tell = tell
        self._objective = Objective(plan)
        #: Held-out rows by which one of several finalists is chosen, and those of the report.
        self._choice, self._report = split_again(plan.held_out, plan.finalists)

    def ended(self, found: Found) -> Found:
        """With the winner, as rows say that the search never saw."""
        plan = self._plan
        found.trials = self._book.trials
        found.paid_calls, found.found_calls = self._runs.tally.paid, self._runs.tally.found
        found.single_file_calls = round(
            sum(mean_calls(t.dev) * len(plan.dev) for t in self._book.trials if t.dev)
        )
        done = [t for t in self._book.trials if t.stage == "trial" and t.state == "done"]
        if not done or not has_scored(self._book.trials):
            return found
        if all(t.usd is not None for t in done):
            found.front = front(done, lambda t: mean_score(t.dev), lambda t: t.usd or 0.0)
        best = found.front if plan.pareto and found.front else ranked(done)
        found.finalists = best[: plan.finalists]
        self._choice, self._report = split_again(plan.held_out, len(found.finalists))
        found.winner = self._chosen(found.finalists)
        self._hold_out(found)
        self._compare(found)
        found.held_out_calls = self._runs.tally.paid - found.paid_calls
        return found

    def _chosen(self, finalists: Sequence[Trial]) -> Trial:
        """The best of the finalists on rows of their own, on which it is not reported.

        To choose by the rows of the report would flatter whoever was lucky on them.
        """
        cases = self._choice
        if cases:
            self._tell(f"{len(finalists)} finalists on {len(cases):,} rows to choose by")
            for trial, outcomes in self._run("choice", finalists, cases):
                trial.choice = outcomes
                self._book.put(trial)
        reached = [t for t in finalists if len(t.choice) == len(cases)]
        # Of alike ones the one that was ahead before.
        return max(reached or finalists, key=lambda t: self._objective.of(t.choice))

    def _hold_out(self, found: Found) -> None:
        best = [t for t in (found.winner, found.single) if t is not None]
        self._tell(f"{len(best)} architectures on {len(self._report):,} held-out rows")
        self._on_held_out(best)

    def _on_held_out(self, trials: Sequence[Trial]) -> None:
        for trial, outcomes in self._run("held-out", trials, self._report):
            trial.held_out = outcomes
            self._book.put(trial)

    def _run(
        self, what: str, trials: Sequence[Trial], cases: Sequence[Case]
    ) -> Iterator[tuple[Trial, Outcomes]]:
        wanted = [Wanted(f"{t.n}.{what}", t.architecture, cases) for t in trials]
        return zip(trials, self._runs.run(wanted), strict=True)

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
        leaders = [t.usd or 0.0 for t in ranked(done)[: self._plan.finalists]]
        # Any of them may win; self-consistency costs what the winner does.
        last = 2 * max(leaders, default=0.0)
        last += (found.single.usd or 0.0) if found.single else 0.0
        return NanoUsd(round((sum(leaders) * len(self._choice) + last * len(self._report)) * 1e9))


def split_again(held_out: Sequence[Case], finalists: int) -> tuple[Sequence[Case], Sequence[Case]]:
    """The rows by which one of the finalists is chosen, and the rows that it is reported on."""
    half = len(held_out) // 2 if finalists > 1 else 0
    return held_out[:half], held_out[half:]


def _alike(one: Architecture, other: Architecture) -> bool:
    return identity(one) == identity(other)
