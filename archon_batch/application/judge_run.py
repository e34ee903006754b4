"""Sees a docket through its judge: a job like any other, found again when it was made before."""

from dataclasses import dataclass
from pathlib import Path

from archon_batch.application.prepare import prices_of, warn
from archon_batch.application.run import run
from archon_batch.archon import Architecture, ScaleName
from archon_batch.cli import options
from archon_batch.cli.submit import made, refuse_unready
from archon_batch.cli.tables import aside
from archon_batch.config import find_architecture, load_architecture
from archon_batch.dataset import Dataset
from archon_batch.errors import ArchitectureError, InputError
from archon_batch.evaluation import as_judge, judge_of
from archon_batch.evaluation.judge_cases import Docket
from archon_batch.jobs.submit import Submission, price_list, refuse_small_budget, windowed
from archon_batch.money import NanoUsd, Price
from archon_batch.settings import Settings
from archon_batch.store import Job


@dataclass(frozen=True, slots=True)
class Bench:
    """Who judges, and for how much."""

    #: A model's name, or an architecture's path or name.
    judge: str
    budget: NanoUsd | None = None
    allow_unpriced: bool = False


def judge_through(settings: Settings, name: str, docket: Docket, bench: Bench) -> tuple[Job, int]:
    """The judge's job, and the exit status that it ended with; 0 or 1 is a job that is done.

    Raises:
        InputError: the judge is none, or there is nothing to judge.
    """
    if not docket.cases:
        raise InputError("there is no answer to judge")
    architecture, prices = judging_architecture(bench, docket.scale)
    with Dataset.of(name.replace(".", "-"), docket.rows()) as rows:
        submission = Submission(rows, architecture, prices, budget=bench.budget)
        if bench.budget is not None:
            refuse_small_budget(submission)
        refuse_unready(settings, architecture)
        with options.store(settings) as store:
            job = made(store, submission)
    if job.state == "done":
        return job, 0
    aside.print(f"judging: job {job.id} ({job.name}), {job.rows:,} rows")
    status = run(settings, job, wait=True)
    with options.store(settings) as store:
        return store.jobs.get(job.id), status


def judging_architecture(
    bench: Bench, scale: ScaleName
) -> tuple[Architecture, dict[str, Price | None]]:
    """The judge on that scale, with the prices of its models.

    Raises:
        InputError: it is none, or a price is not known.
    """
    if not _is_file(bench.judge):
        architecture = judge_of(bench.judge, scale)
        try:
            prices = price_list(architecture, allow_unpriced=bench.allow_unpriced)
            return windowed(architecture), prices
        except ArchitectureError as error:
            raise InputError(f"--judge: {error.why}") from None
    file = load_architecture(bench.judge)
    warn(file)
    architecture, prices = prices_of(file, allow_unpriced=bench.allow_unpriced)
    return as_judge(architecture, scale), prices


def _is_file(judge: str) -> bool:
    """Whether it names an architecture: a model's name has a provider before a slash."""
    try:
        find_architecture(judge)
    except ArchitectureError:
        if "/" in judge and Path(judge).suffix not in (".yaml", ".yml", ".json"):
            return False
        raise
    return True
