"""Sees a docket through its judge: a job like any other, found again when it was made before."""

from dataclasses import dataclass
from pathlib import Path

from archon_batch.application.prepare import print_warnings, with_prices
from archon_batch.application.run import run_job
from archon_batch.archon import Architecture, ScaleName
from archon_batch.cli import options
from archon_batch.cli.submit import get_or_create_job, require_ready
from archon_batch.cli.tables import stderr
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
    """Who judges, and for how much."""

    #: A model's name, or an architecture's path or name.
    judge: str
    budget: NanoUsd | None = None
    allow_unpriced: bool = False


def run_judge_job(
    settings: Settings, name: str, judge_batch: JudgeBatch, judge_settings: JudgeSettings
) -> tuple[Job, int]:
    """The judge's job, and the exit status that it ended with; 0 or 1 is a job that is done.

    Raises:
        InputError: the judge is none, or there is nothing to judge.
    """
    if not judge_batch.cases:
        raise InputError("there is no answer to judge")
    architecture, prices = judge_architecture(judge_settings, judge_batch.scale)
    with Dataset.from_rows(name.replace(".", "-"), judge_batch.rows()) as rows:
        submission = Submission(rows, architecture, prices, budget=judge_settings.budget)
        if judge_settings.budget is not None:
            validate_budget(submission)
        require_ready(settings, architecture)
        with options.open_store(settings) as store:
            job = get_or_create_job(store, submission)
    if job.state == "done":
        return job, 0
    stderr.print(f"judging: job {job.id} ({job.name}), {job.rows:,} rows")
    status = run_job(settings, job, wait=True)
    with options.open_store(settings) as store:
        return store.jobs.get(job.id), status


def judge_architecture(
    judge_settings: JudgeSettings, scale: ScaleName
) -> tuple[Architecture, dict[str, Price | None]]:
    """The judge on that scale, with the prices of its models.

    Raises:
        InputError: it is none, or a price is not known.
    """
    if not _names_architecture(judge_settings.judge):
        architecture = judge_from_model(judge_settings.judge, scale)
        try:
            prices = model_prices(architecture, allow_unpriced=judge_settings.allow_unpriced)
            return with_context_windows(architecture), prices
        except ArchitectureError as error:
            raise InputError(f"--judge: {error.why}") from None
    file = load_architecture(judge_settings.judge)
    print_warnings(file)
    architecture, prices = with_prices(file, allow_unpriced=judge_settings.allow_unpriced)
    return judge_from_architecture(architecture, scale), prices


def _names_architecture(judge: str) -> bool:
    """Whether it names an architecture: a model's name has a provider before a slash."""
    try:
        find_architecture(judge)
    except ArchitectureError:
        if "/" in judge and Path(judge).suffix not in (".yaml", ".yml", ".json"):
            return False
        raise
    return True
