"""``archon-batch submit``."""

from datetime import UTC, datetime
from pathlib import Path

import click

from archon_batch.archon import Architecture
from archon_batch.cli import room
from archon_batch.cli.order import Order, prepared
from archon_batch.cli.run import run
from archon_batch.cli.tables import aside, print_json
from archon_batch.dataset import Reading
from archon_batch.errors import InputError
from archon_batch.export import export, refuse_unwritable
from archon_batch.files import read_job_file
from archon_batch.ledger import NanoUsd
from archon_batch.settings import Settings
from archon_batch.store import Job, Store
from archon_batch.submit import SHARD, Submission, refuse_small_budget, refuse_unready
from archon_batch.submit import submit as make


@click.command()
@click.argument("dataset", required=False)
@click.option(
    "--arch", metavar="ARCH", help="Architecture: a path, or a name in jobs/architectures."
)
@click.option(
    "--job", "job_file", type=Path, metavar="FILE", help="Take all of it from a job file."
)
@click.option("--name", help="A name of your own; submitting it again is the same job.")
@click.option("--budget", type=room.Usd(), help="The most the job may spend, in USD.")
@room.rows_options
@click.option(
    "--shard", type=click.IntRange(1, 1000), metavar="N", help="Rows that travel together."
)
@click.option("-o", "--output", type=Path, metavar="FILE", help="Export to FILE when it is done.")
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--no-cache", is_flag=True, help="Pay again for replies that were paid for before.")
@click.option("--allow-unpriced", is_flag=True, help="Call models whose price nobody knows.")
@click.option("--follow/--detach", "wait", default=None, help="Wait for the end, or do not.")
@room.json_option
def submit(
    dataset: str | None,
    arch: str | None,
    job_file: Path | None,
    name: str | None,
    budget: NanoUsd | None,
    shard: int | None,
    output: Path | None,
    force: bool,
    no_cache: bool,
    allow_unpriced: bool,
    wait: bool | None,
    as_json: bool,
    reading: Reading,
) -> int:
    """Run DATASET through an architecture.

    DATASET is JSONL (.gz too), CSV or Parquet, or - for standard input. The same submission
    again is the same job: it goes on where it was, and nothing is paid for twice.
    """
    settings = room.settings()
    order = Order(dataset, arch, name, budget, output, reading)
    if job_file is not None:
        order = order.filled(read_job_file(job_file, datetime.now(UTC).date()))
    # A job file names its export, and starting it again writes the same.
    force = force or job_file is not None
    if wait is False and output is not None:
        raise InputError(
            "--detach does not wait for what -o exports; archon-batch export does it later"
        )
    if order.output is not None:
        refuse_unwritable(order.output, force=force)
    with prepared(order, allow_unpriced=allow_unpriced) as (rows, architecture, prices):
        if order.output is not None and rows.reads(order.output):
            raise InputError(f"{order.output} is the dataset; name another file for the answers")
        submission = Submission(
            rows, architecture, prices, order.name, order.budget, shard or SHARD, reuse=not no_cache
        )
        if order.budget is not None:
            refuse_small_budget(submission)
        _refuse_unready(settings, architecture)
        with room.store(settings) as store:
            job = _made(store, submission)
    if as_json:
        print_json({"job": job.id, "name": job.name, "rows": job.rows})
    else:
        click.echo(job.id)
    if settings.embedded and wait is False:
        aside.print(f"stored; archon-batch resume {job.id} runs it")
        return 0
    status = run(settings, job, wait=wait if wait is not None else order.output is not None)
    if order.output is not None and status in (0, 1) and wait is not False:
        with room.store(settings) as store:
            export(store, job, order.output, force=force)
        aside.print(f"answers are in {order.output}")
    return status


def _refuse_unready(settings: Settings, architecture: Architecture) -> None:
    """Refuse to store what nobody could run."""
    if settings.embedded:
        refuse_unready(architecture)
        return
    from archon_batch.engine.broker import reached  # noqa: PLC0415

    reached()


def _made(store: Store, submission: Submission) -> Job:
    """The job, new or found; one that was stopped is set going again."""
    job, is_new = make(store, submission)
    if is_new:
        return job
    aside.print(f"submitted before: job {job.id} is {job.state}")
    if job.state == "cancelled":
        raise InputError(f"{job.id} is cancelled; archon-batch retry {job.id} opens its rows again")
    raised = submission.budget is not None and submission.budget != job.budget
    if raised:
        store.jobs.set_budget(job.id, submission.budget)
    store.jobs.move(job.id, "running", only_from=["stopped", "paused"] if raised else ["stopped"])
    return store.jobs.get(job.id)
