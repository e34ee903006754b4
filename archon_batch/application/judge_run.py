"""Runs a judge over answers, as a job like any other: the same verdicts are never paid twice."""

from dataclasses import dataclass
from pathlib import Path

from archon_batch.application.events import JudgeStarted, Report, Warned, ignore
from archon_batch.application.open_store import open_store
from archon_batch.application.prepare import architecture_warnings, require_ready, with_prices
from archon_batch.application.run import UnfinishedJobError, run_job
from archon_batch.application.submit import get_or_create_job
from archon_batch.archon import Architecture, ScaleName
from archon_batch.config import find_architecture, load_architecture
from archon_batch.dataset import Dataset
from archon_batch.errors import ArchitectureError, InputError
from archon_batch.evaluation.judge_cases import JudgeBatch
from archon_batch.evaluation.judge_prompt import judge_from_architecture, judge_from_model
from archon_batch.jobs.submit import Submission, model_prices, validate_budget, with_context_windows
from archon_batch.money import NanoUsd, Price
from archon_batch.settings import Settings
from archon_batch.store import Job


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """The judge, and the limits of its job."""

    #: The name of a model, or the path or name of an architecture.
    judge: str
    budget: NanoUsd | None = None
    allow_unpriced: bool = False


def run_judge_job(
    settings: Settings,
    name: str,
    judge_batch: JudgeBatch,
    judge_settings: JudgeSettings,
    report: Report = ignore,
) -> Job:
    """The judge's job, done.

    Raises:
        InputError: there is nothing to judge, or the judge is invalid.
        UnfinishedJobError: the job ended before it was done; calling this again continues it.
    """
    if not judge_batch.cases:
        raise InputError("there is no answer to judge")
    architecture, prices = judge_architecture(judge_settings, judge_batch.scale, report)
    with Dataset.from_rows(name.replace(".", "-"), judge_batch.rows()) as rows:
        submission = Submission(rows, architecture, prices, budget=judge_settings.budget)
        if judge_settings.budget is not None:
            validate_budget(submission)
        require_ready(settings, architecture, report)
        with open_store(settings) as store:
            job = get_or_create_job(store, submission, report)
    if job.state == "done":
        return job
    report(JudgeStarted(job))
    return run_until_done(settings, job, report)


def run_until_done(settings: Settings, job: Job, report: Report = ignore) -> Job:
    """Run the job and wait; return it when it is done.

    Raises:
        UnfinishedJobError: it ended before.
    """
    result = run_job(settings, job, wait=True, report=report)
    with open_store(settings) as store:
        job = store.jobs.get(job.id)
    if job.state != "done":
        raise UnfinishedJobError(job, result)
    return job


def judge_architecture(
    judge_settings: JudgeSettings, scale: ScaleName, report: Report = ignore
) -> tuple[Architecture, dict[str, Price | None]]:
    """The judge on that scale, with the prices of its models.

    Raises:
        InputError: the judge is invalid, or a price is unknown.
    """
    if not _names_architecture(judge_settings.judge):
        architecture = judge_from_model(judge_settings.judge, scale)
        try:
            prices = model_prices(architecture, allow_unpriced=judge_settings.allow_unpriced)
            return with_context_windows(architecture), prices
        except ArchitectureError as error:
            raise InputError(f"--judge: {error.why}") from None
    file = load_architecture(judge_settings.judge)
    for warning in architecture_warnings(file):
        report(Warned(warning))
    architecture, prices = with_prices(file, allow_unpriced=judge_settings.allow_unpriced)
    return judge_from_architecture(architecture, scale), prices


def _names_architecture(judge: str) -> bool:
    """Whether this names an architecture. A model's name has a provider before a slash."""
    try:
        find_architecture(judge)
    except ArchitectureError:
        if "/" in judge and Path(judge).suffix not in (".yaml", ".yml", ".json"):
            return False
        raise
    return True
