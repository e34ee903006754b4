"""Sees a benchmark through its jobs: the answers, turn by turn, and then the judge's verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from archon_batch.application.judge_run import Bench, judge_through
from archon_batch.application.run import run as see_through
from archon_batch.archon import Architecture
from archon_batch.cli import options
from archon_batch.cli.submit import made
from archon_batch.cli.tables import aside
from archon_batch.dataset import Dataset
from archon_batch.errors import InputError
from archon_batch.evaluation import benchmark as road
from archon_batch.evaluation.judge_cases import Docket, verdicts
from archon_batch.jobs.submit import Submission, refuse_small_budget
from archon_batch.jobs.views import dollars
from archon_batch.money import NanoUsd, Price, usd
from archon_batch.settings import Settings
from archon_batch.store import Account, Job


@dataclass(frozen=True, slots=True)
class Sitting:
    """One benchmark on its way through its jobs."""

    settings: Settings
    run: road.Run
    budget: NanoUsd | None

    def answers(
        self, architecture: Architecture, prices: dict[str, Price | None]
    ) -> tuple[Sequence[Job], Sequence[road.Answers]]:
        """The jobs with the answers to each turn, all of them done."""
        jobs: list[Job] = []
        given: list[road.Answers] = []
        for turn in range(self.run.turns):
            job = self._answered(architecture, prices, turn, jobs, given)
            jobs.append(job)
            with options.store(self.settings) as store:
                given.append(road.answers(store, job))
            if not any(given[-1].values()):
                # Nobody is there to be asked a further turn.
                break
        return jobs, given

    def judge(self, court: Bench, cases: Docket, jobs: Sequence[Job]) -> Job:
        """The judge's job, when it is done."""
        name = f"{self.run.benchmark.name}-judge"
        court = replace(court, budget=self._left(jobs))
        job, status = judge_through(self.settings, name, cases, court)
        return _done(job, status)

    def figures(
        self,
        jobs: Sequence[Job],
        given: Sequence[road.Answers],
        cases: Docket | None,
        judged: Job | None,
    ) -> dict[str, Any]:
        """What it comes to; each score is put on record beside its answer."""
        with options.store(self.settings) as store:
            read = None if judged is None or cases is None else verdicts(store, judged, cases.scale)
            grades = road.graded(self.run, given, cases, read)
            for turn, job in enumerate(jobs):
                scores = road.row_scores(store, job, turn, grades)
                store.scores.write(job.id, self.run.benchmark.name, scores)
        return {
            **road.told(self.run, grades, cases.suspects() if cases is not None else ()),
            **self.account(jobs),
        }

    def account(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """What the jobs did and cost; no USD where a price is not known."""
        with options.store(self.settings) as store:
            total = sum((store.accounts.total(job.id) for job in jobs), Account())
        return {
            "jobs": [job.id for job in jobs],
            "calls": total.calls,
            "prompt_tokens": total.prompt_tokens,
            "completion_tokens": total.completion_tokens,
            "usd": None if total.unpriced_calls else dollars(total.cost),
        }

    def _answered(
        self,
        architecture: Architecture,
        prices: dict[str, Price | None],
        turn: int,
        jobs: Sequence[Job],
        given: Sequence[road.Answers],
    ) -> Job:
        name = self.run.benchmark.name + (f"-turn-{turn + 1}" if turn else "")
        with Dataset.of(name, road.rows(self.run, turn, given)) as rows:
            submission = Submission(rows, architecture, prices, budget=self._left(jobs))
            if submission.budget is not None:
                refuse_small_budget(submission)
            with options.store(self.settings) as store:
                job = made(store, submission)
        if job.state == "done":
            return job
        aside.print(f"{name}: job {job.id}, {job.rows:,} rows")
        status = see_through(self.settings, job, wait=True)
        with options.store(self.settings) as store:
            return _done(store.jobs.get(job.id), status)

    def _left(self, jobs: Sequence[Job]) -> NanoUsd | None:
        """What is left of the budget after these jobs.

        Raises:
            InputError: nothing is.
        """
        if self.budget is None:
            return None
        with options.store(self.settings) as store:
            now = [store.jobs.get(job.id) for job in jobs]
        left = self.budget - sum(job.spent + job.in_doubt for job in now)
        if left <= 0:
            raise InputError(
                f"--budget: nothing is left of {usd(self.budget):f} USD for what is still to ask; "
                "the same command with a larger one goes on"
            )
        return NanoUsd(left)


def _done(job: Job, status: int) -> Job:
    """The job if it is done; else the command ends, and says how to go on."""
    if job.state != "done":
        aside.print(f"not scored yet: job {job.id} is {job.state}; the same command goes on")
        click.get_current_context().exit(status or 1)
    return job
