"""``archon-batch submit``."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from archon_batch.application.prepare import JobRequest, prepare_inputs, validate_provider_access
from archon_batch.application.run import run_job
from archon_batch.application.scheduled_run import ScheduledRunRecorder, run_job_file
from archon_batch.archon import Architecture
from archon_batch.cli import options
from archon_batch.cli.tables import print_json, stderr
from archon_batch.cli.terminal_page import echo
from archon_batch.config import JobFile
from archon_batch.dataset import ReadOptions
from archon_batch.errors import InputError
from archon_batch.jobs.export import export_job, validate_export_path
from archon_batch.jobs.submit import Submission, validate_budget
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
@click.option("--budget", type=options.UsdParam(), help="The most the job may spend, in USD.")
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    help="Whose calls workers make first; default: normal.",
)
@options.dataset_options
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
    reading: ReadOptions,
) -> int:
    """Run DATASET through an architecture.

    DATASET is JSONL (.gz too), CSV or Parquet, or - for standard input. The same submission
    again is the same job: it goes on where it was, and nothing is paid for twice.
    """
    settings = options.load_settings(processes)
    order = JobRequest(dataset, arch, name, budget, output, reading, priority)
    if wait is False and output is not None:
        raise InputError(
            "--detach does not wait for what -o exports; archon-batch export does it later"
        )

    def work(file: JobFile | None, night: ScheduledRunRecorder | None) -> int:
        if go_on and night is None:
            raise InputError(f"--go-on: {job_file} has no nights, for want of when and on_failure")
        asked = order if file is None else order.with_job_file(file)
        # A job file names its export, and starting it again writes the same.
        over = force or file is not None
        if asked.output is not None:
            validate_export_path(asked.output, force=over)
        job = (
            _continue_scheduled_run(settings, asked, night) if go_on and night is not None else None
        )
        if job is None:
            new = _SubmitOptions(shard, reuse=not no_cache, allow_unpriced=allow_unpriced)
            job = _submit_request(settings, asked, new, night)
        _print_job(job, as_json=as_json)
        if settings.in_process and wait is False:
            stderr.print(f"stored; archon-batch resume {job.id} runs it")
            return 0
        awaited = asked.output is not None or (file is not None and file.on_failure is not None)
        status = run_job(settings, job, wait=awaited if wait is None else wait)
        if asked.output is not None and status in (0, 1) and wait is not False:
            with options.open_store(settings) as store:
                export_job(store, job, asked.output, force=over)
            stderr.print(f"answers are in {asked.output}")
        return status

    if job_file is None:
        if date is not None or go_on:
            raise InputError("--date and --go-on are of a job file; name one with --job FILE")
        return work(None, None)
    return run_job_file(settings, job_file, (date or datetime.now(UTC)).date(), work)


@dataclass(frozen=True, slots=True)
class _SubmitOptions:
    """What only the command line says of a submission."""

    shard: int | None
    reuse: bool
    allow_unpriced: bool


def _submit_request(
    settings: Settings,
    request: JobRequest,
    submit_options: _SubmitOptions,
    recorder: ScheduledRunRecorder | None,
) -> Job:
    with prepare_inputs(request, allow_unpriced=submit_options.allow_unpriced) as (
        rows,
        architecture,
        prices,
    ):
        if request.output is not None and rows.includes_file(request.output):
            raise InputError(f"{request.output} is the dataset; name another file for the answers")
        submission = Submission(
            rows,
            architecture,
            prices,
            request.name,
            request.budget,
            submit_options.shard,
            reuse=submit_options.reuse,
            priority=request.priority or "normal",
        )
        if request.budget is not None:
            validate_budget(submission)
        require_ready(settings, architecture)
        with options.open_store(settings) as store:
            job = get_or_create_job(store, submission)
            if request.priority is not None and request.priority != job.priority:
                store.jobs.set_priority(job.id, request.priority)
                job = store.jobs.get(job.id)
            if recorder is not None:
                recorder.record_job(store, job)
            return job


def _continue_scheduled_run(
    settings: Settings, request: JobRequest, recorder: ScheduledRunRecorder
) -> Job | None:
    """The job that the night came to before, set going again; its dataset is not read again."""
    with options.open_store(settings) as store:
        job = recorder.find_job(store)
        return None if job is None else _restart(store, job, request.budget)


def _print_job(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job.id, "name": job.name, "rows": job.rows})
    else:
        echo(job.id)


def require_ready(settings: Settings, architecture: Architecture) -> None:
    """Refuse to store what nobody could run."""
    if settings.in_process:
        validate_provider_access(architecture)
        return
    from archon_batch.engine.broker import check_broker, retry_while_busy  # noqa: PLC0415

    retry_while_busy(check_broker)


def get_or_create_job(store: Store, submission: Submission) -> Job:
    """The job, new or found; one that was stopped is set going again."""
    job, is_new = make(store, submission)
    if is_new:
        return job
    stderr.print(f"submitted before: job {job.id} is {job.state}")
    if job.state == "cancelled":
        raise InputError(f"{job.id} is cancelled; archon-batch retry {job.id} opens its rows again")
    return _restart(store, job, submission.budget)


def _restart(store: Store, job: Job, budget: NanoUsd | None) -> Job:
    """Set a job going that was stopped; or paused, if it has another budget now."""
    raised = budget is not None and budget != job.budget
    states = ["stopped", "paused"] if raised else ["stopped"]
    return store.jobs.resume(job.id, from_states=states, budget=budget if raised else None)
