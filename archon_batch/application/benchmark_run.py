"""Sees a benchmark through its jobs: the answers, turn by turn, and then the judge's verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from archon_batch.application.judge_run import JudgeSettings, run_judge_job
from archon_batch.application.run import run_job as see_through
from archon_batch.archon import Architecture
from archon_batch.cli import options
from archon_batch.cli.submit import get_or_create_job
from archon_batch.cli.tables import stderr
from archon_batch.dataset import Dataset
from archon_batch.errors import InputError
from archon_batch.evaluation import benchmark as road
from archon_batch.evaluation.judge_cases import JudgeBatch, read_verdicts
from archon_batch.jobs.submit import Submission, validate_budget
from archon_batch.jobs.views import usd_number
from archon_batch.money import NanoUsd, Price, to_usd
from archon_batch.settings import Settings
from archon_batch.store import Job, UsageTotals


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """One benchmark on its way through its jobs."""

    settings: Settings
    problem_set: road.BenchmarkSample
    budget: NanoUsd | None

    def run_turns(
        self, architecture: Architecture, prices: dict[str, Price | None]
    ) -> tuple[Sequence[Job], Sequence[road.TurnAnswers]]:
        """The jobs with the answers to each turn, all of them done."""
        jobs: list[Job] = []
        given: list[road.TurnAnswers] = []
        for turn in range(self.problem_set.turns):
            job = self._run_turn(architecture, prices, turn, jobs, given)
            jobs.append(job)
            with options.open_store(self.settings) as store:
                given.append(road.read_turn_answers(store, job))
            if not any(given[-1].values()):
                # Nobody is there to be asked a further turn.
                break
        return jobs, given

    def run_judge(
        self, judge_settings: JudgeSettings, judge_batch: JudgeBatch, jobs: Sequence[Job]
    ) -> Job:
        """The judge's job, when it is done."""
        name = f"{self.problem_set.benchmark.name}-judge"
        judge_settings = replace(judge_settings, budget=self._remaining_budget(jobs))
        job, status = run_judge_job(self.settings, name, judge_batch, judge_settings)
        return _require_done(job, status)

    def record_scores(
        self,
        jobs: Sequence[Job],
        answers: Sequence[road.TurnAnswers],
        judge_batch: JudgeBatch | None,
        judge_job: Job | None,
    ) -> dict[str, Any]:
        """What it comes to; each score is put on record beside its answer."""
        with options.open_store(self.settings) as store:
            read = (
                None
                if judge_job is None or judge_batch is None
                else read_verdicts(store, judge_job, judge_batch.scale)
            )
            grades = road.grade_answers(self.problem_set, answers, judge_batch, read)
            for turn, job in enumerate(jobs):
                scores = road.row_scores(store, job, turn, grades)
                store.scores.replace(job.id, self.problem_set.benchmark.name, scores)
        return {
            **road.to_json(
                self.problem_set, grades, judge_batch.flagged() if judge_batch is not None else ()
            ),
            **self.usage(jobs),
        }

    def usage(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """What the jobs did and cost; no USD where a price is not known."""
        with options.open_store(self.settings) as store:
            total = sum((store.usage.total(job.id) for job in jobs), UsageTotals())
        return {
            "jobs": [job.id for job in jobs],
            "calls": total.calls,
            "prompt_tokens": total.prompt_tokens,
            "completion_tokens": total.completion_tokens,
            "usd": None if total.unpriced_calls else usd_number(total.cost),
        }

    def _run_turn(
        self,
        architecture: Architecture,
        prices: dict[str, Price | None],
        turn: int,
        jobs: Sequence[Job],
        answers: Sequence[road.TurnAnswers],
    ) -> Job:
        name = self.problem_set.benchmark.name + (f"-turn-{turn + 1}" if turn else "")
        with Dataset.from_rows(name, road.turn_rows(self.problem_set, turn, answers)) as rows:
            submission = Submission(rows, architecture, prices, budget=self._remaining_budget(jobs))
            if submission.budget is not None:
                validate_budget(submission)
            with options.open_store(self.settings) as store:
                job = get_or_create_job(store, submission)
        if job.state == "done":
            return job
        stderr.print(f"{name}: job {job.id}, {job.rows:,} rows")
        status = see_through(self.settings, job, wait=True)
        with options.open_store(self.settings) as store:
            return _require_done(store.jobs.get(job.id), status)

    def _remaining_budget(self, jobs: Sequence[Job]) -> NanoUsd | None:
        """What is left of the budget after these jobs.

        Raises:
            InputError: nothing is.
        """
        if self.budget is None:
            return None
        with options.open_store(self.settings) as store:
            now = [store.jobs.get(job.id) for job in jobs]
        left = self.budget - sum(job.spent + job.in_doubt for job in now)
        if left <= 0:
            raise InputError(
                f"--budget: nothing is left of {to_usd(self.budget):f} USD for what is still to ask; "
                "the same command with a larger one goes on"
            )
        return NanoUsd(left)


def _require_done(job: Job, status: int) -> Job:
    """The job if it is done; else the command ends, and says how to go on."""
    if job.state != "done":
        stderr.print(f"not scored yet: job {job.id} is {job.state}; the same command goes on")
        click.get_current_context().exit(status or 1)
    return job
