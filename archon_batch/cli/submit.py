"""``archon-batch submit``."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from archon_batch.application.prepare import Order, prepared, refuse_uncallable
from archon_batch.application.run import run
from archon_batch.application.scheduled_run import Night, kept
from archon_batch.archon import Architecture
from archon_batch.cli import options
from archon_batch.cli.tables import aside, print_json
from archon_batch.cli.terminal_page import say
from archon_batch.config import JobFile
from archon_batch.dataset import Reading
from archon_batch.errors import InputError
from archon_batch.jobs.export import export, refuse_unwritable
from archon_batch.jobs.submit import Submission, refuse_small_budget
from archon_batch.jobs.submit import submit as make
from archon_batch.money import NanoUsd
from archon_batch.settings import Settings
from archon_batch.store import Job, Store


@click.command()
@click.argument("dataset", required=False)
@click.option(
    "--arch", metavar="ARCH", help="Architecture: a path, or a name in jobs/architectures."
)
@click.option(
    "--job", "job_file", type=Path, metavar="FILE", help="Take all of it from a job file."
)
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="What {date} is in the job file; default: today, in UTC.",
)
@click.option("--go-on", is_flag=True, help="Go on with that day's job as it was submitted.")
@click.option("--name", help="A name of your own; submitting it again is the same job.")
@click.option("--budget", type=options.Usd(), help="The most the job may spend, in USD.")
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    help="Whose calls workers make first; default: normal.",
)
@options.rows_options
@click.option(
    "--shard",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Rows that travel together; by the number of rows, 64 at most, when not given.",
)
@click.option("-o", "--output", type=Path, metavar="FILE", help="Export to FILE when it is done.")
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--no-cache", is_flag=True, help="Pay again for replies that were paid for before.")
@click.option("--allow-unpriced", is_flag=True, help="Call models whose price nobody knows.")
@options.processes_option
@click.option("--follow/--detach", "wait", default=None, help="Wait for the end, or do not.")
@options.json_option
def submit(
    dataset: str | None,
    arch: str | None,
    job_file: Path | None,
    date: datetime | None,
    go_on: bool,
    name: str | None,
    budget: NanoUsd | None,
    priority: str | None,
    shard: int | None,
    output: Path | None,
    force: bool,
    no_cache: bool,
    allow_unpriced: bool,
    processes: int | None,
    wait: bool | None,
    as_json: bool,
    reading: Reading,
) -> int:
    """Run DATASET through an architecture.

    DATASET is JSONL (.gz too), CSV or Parquet, or - for standard input. The same submission
    again is the same job: it goes on where it was, and nothing is paid for twice.
    """
    settings = options.settings(processes)
    order = Order(dataset, arch, name, budget, output, reading, priority)
    if wait is False and output is not None:
        raise InputError(
            "--detach does not wait for what -o exports; archon-batch export does it later"
        )

    def work(file: JobFile | None, night: Night | None) -> int:
        if go_on and night is None:
            raise InputError(f"--go-on: {job_file} has no nights, for want of when and on_failure")
        asked = order if file is None else order.filled(file)
        # A job file names its export, and starting it again writes the same.
        over = force or file is not None
        if asked.output is not None:
            refuse_unwritable(asked.output, force=over)
        job = _begun(settings, asked, night) if go_on and night is not None else None
        if job is None:
            new = _Terms(shard, reuse=not no_cache, allow_unpriced=allow_unpriced)
            job = _submitted(settings, asked, new, night)
        _print(job, as_json=as_json)
        if settings.embedded and wait is False:
            aside.print(f"stored; archon-batch resume {job.id} runs it")
            return 0
        awaited = asked.output is not None or (file is not None and file.on_failure is not None)
        status = run(settings, job, wait=awaited if wait is None else wait)
        if asked.output is not None and status in (0, 1) and wait is not False:
            with options.store(settings) as store:
                export(store, job, asked.output, force=over)
            aside.print(f"answers are in {asked.output}")
        return status

    if job_file is None:
        if date is not None or go_on:
            raise InputError("--date and --go-on are of a job file; name one with --job FILE")
        return work(None, None)
    return kept(settings, job_file, (date or datetime.now(UTC)).date(), work)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What only the command line says of a submission."""

    shard: int | None
    reuse: bool
    allow_unpriced: bool


def _submitted(settings: Settings, order: Order, terms: _Terms, night: Night | None) -> Job:
    with prepared(order, allow_unpriced=terms.allow_unpriced) as (rows, architecture, prices):
        if order.output is not None and rows.reads(order.output):
            raise InputError(f"{order.output} is the dataset; name another file for the answers")
        submission = Submission(
            rows,
            architecture,
            prices,
            order.name,
            order.budget,
            terms.shard,
            reuse=terms.reuse,
            priority=order.priority or "normal",
        )
        if order.budget is not None:
            refuse_small_budget(submission)
        refuse_unready(settings, architecture)
        with options.store(settings) as store:
            job = made(store, submission)
            if order.priority is not None and order.priority != job.priority:
                store.jobs.set_priority(job.id, order.priority)
                job = store.jobs.get(job.id)
            if night is not None:
                night.submitted(store, job)
            return job


def _begun(settings: Settings, order: Order, night: Night) -> Job | None:
    """The job that the night came to before, set going again; its dataset is not read again."""
    with options.store(settings) as store:
        job = night.job(store)
        return None if job is None else _again(store, job, order.budget)


def _print(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job.id, "name": job.name, "rows": job.rows})
    else:
        say(job.id)


def refuse_unready(settings: Settings, architecture: Architecture) -> None:
    """Refuse to store what nobody could run."""
    if settings.embedded:
        refuse_uncallable(architecture)
        return
    from archon_batch.engine.broker import patiently, reached  # noqa: PLC0415

    patiently(reached)


def made(store: Store, submission: Submission) -> Job:
    """The job, new or found; one that was stopped is set going again."""
    job, is_new = make(store, submission)
    if is_new:
        return job
    aside.print(f"submitted before: job {job.id} is {job.state}")
    if job.state == "cancelled":
        raise InputError(f"{job.id} is cancelled; archon-batch retry {job.id} opens its rows again")
    return _again(store, job, submission.budget)


def _again(store: Store, job: Job, budget: NanoUsd | None) -> Job:
    """Set a job going that was stopped; or paused, if it has another budget now."""
    raised = budget is not None and budget != job.budget
    states = ["stopped", "paused"] if raised else ["stopped"]
    return store.jobs.set_going(job.id, only_from=states, budget=budget if raised else None)
