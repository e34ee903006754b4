"""Runs a benchmark as jobs: the answers, turn by turn, then the judge's verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from archon_batch.application.events import Report, TurnStarted, ignore
from archon_batch.application.judge_run import JudgeSettings, run_judge_job, run_until_done
from archon_batch.application.open_store import open_store
from archon_batch.application.submit import get_or_create_job
from archon_batch.archon import Architecture
from archon_batch.dataset import Dataset
from archon_batch.errors import InputError
from archon_batch.evaluation import benchmark
from archon_batch.evaluation.judge_cases import JudgeBatch, read_verdicts
from archon_batch.jobs.submit import Submission, validate_budget
from archon_batch.jobs.views import usd_number
from archon_batch.money import NanoUsd, Price, to_usd
from archon_batch.settings import Settings
from archon_batch.store import Job, UsageTotals


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """The jobs of one benchmark: calling its methods again continues them."""

    settings: Settings
    problem_set: benchmark.BenchmarkSample
    #: For all of its jobs together, in nano-dollars.
    budget: NanoUsd | None
    report: Report = ignore

    def run_turns(
        self, architecture: Architecture, prices: dict[str, Price | None]
    ) -> tuple[Sequence[Job], Sequence[benchmark.TurnAnswers]]:
        """The done jobs of every turn, and their answers.

        Raises:
            InputError: the budget is used up.
            UnfinishedJobError: a job ended before it was done.
        """
        jobs: list[Job] = []
        answers: list[benchmark.TurnAnswers] = []
        for turn in range(self.problem_set.turns):
            job = self._run_turn(architecture, prices, turn, jobs, answers)
            jobs.append(job)
            with open_store(self.settings) as store:
                answers.append(benchmark.read_turn_answers(store, job))
            if not any(answers[-1].values()):
                # No problem has an answer, so no problem has a further turn.
                break
        return jobs, answers

    def run_judge(
        self, judge_settings: JudgeSettings, judge_batch: JudgeBatch, jobs: Sequence[Job]
    ) -> Job:
        """The judge's job, done.

        Raises:
            InputError: the budget is used up, or the judge is invalid.
            UnfinishedJobError: the job ended before it was done.
        """
        name = f"{self.problem_set.benchmark.name}-judge"
        judge_settings = replace(judge_settings, budget=self._remaining_budget(jobs))
        return run_judge_job(self.settings, name, judge_batch, judge_settings, self.report)

    def record_scores(
        self,
        jobs: Sequence[Job],
        answers: Sequence[benchmark.TurnAnswers],
        judge_batch: JudgeBatch | None,
        judge_job: Job | None,
    ) -> dict[str, Any]:
        """The benchmark's figures; stores each row's score with its answer."""
        with open_store(self.settings) as store:
            verdicts = (
                None
                if judge_job is None or judge_batch is None
                else read_verdicts(store, judge_job, judge_batch.scale)
            )
            grades = benchmark.grade_answers(self.problem_set, answers, judge_batch, verdicts)
            for turn, job in enumerate(jobs):
                scores = benchmark.row_scores(store, job, turn, grades)
                store.scores.replace(job.id, self.problem_set.benchmark.name, scores)
        return {
            **benchmark.to_json(
                self.problem_set, grades, judge_batch.flagged() if judge_batch is not None else ()
            ),
            **self.usage(jobs),
        }

    def usage(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """Calls, tokens and cost of the jobs; the cost is None where a price is unknown."""
        with open_store(self.settings) as store:
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
        answers: Sequence[benchmark.TurnAnswers],
    ) -> Job:
        name = self.problem_set.benchmark.name + (f"-turn-{turn + 1}" if turn else "")
        with Dataset.from_rows(name, benchmark.turn_rows(self.problem_set, turn, answers)) as rows:
            submission = Submission(rows, architecture, prices, budget=self._remaining_budget(jobs))
            if submission.budget is not None:
                validate_budget(submission)
            with open_store(self.settings) as store:
                job = get_or_create_job(store, submission, self.report)
        if job.state == "done":
            return job
        self.report(TurnStarted(name, job))
        return run_until_done(self.settings, job, self.report)

    def _remaining_budget(self, jobs: Sequence[Job]) -> NanoUsd | None:
        """Nano-dollars of the budget that these jobs have not spent; None without a budget.

        Raises:
            InputError: they have spent it.
        """
        if self.budget is None:
            return None
        with open_store(self.settings) as store:
            now = [store.jobs.get(job.id) for job in jobs]
        left = self.budget - sum(job.spent + job.in_doubt for job in now)
        if left <= 0:
            raise InputError(
                f"--budget: nothing is left of {to_usd(self.budget):f} USD for what is still to ask; "
                "the same command with a larger one goes on"
            )
        return NanoUsd(left)
