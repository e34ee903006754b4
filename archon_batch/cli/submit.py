"""``archon-batch submit``."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from archon_batch.application.prepare import JobRequest
from archon_batch.application.submit import SubmitOptions, submit_dataset, submit_job_file
from archon_batch.cli import options
from archon_batch.cli.progress import result_status, run_context
from archon_batch.cli.tables import print_json
from archon_batch.cli.terminal_page import echo
from archon_batch.dataset import ReadOptions
from archon_batch.errors import InputError
from archon_batch.money import NanoUsd
from archon_batch.store import Job


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

    chosen = SubmitOptions(
        shard, reuse=not no_cache, allow_unpriced=allow_unpriced, overwrite=force, wait=wait
    )
    with run_context(settings, partial(_print_job, as_json=as_json)) as report:
        if job_file is not None:
            day = (date or datetime.now(UTC)).date()
            result = submit_job_file(
                settings, job_file, day, order, chosen, report, continues=go_on
            )
        elif date is not None or go_on:
            raise InputError("--date and --go-on are of a job file; name one with --job FILE")
        else:
            result = submit_dataset(settings, order, chosen, report)
    return result_status(result)


def _print_job(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job.id, "name": job.name, "rows": job.rows})
    else:
        echo(job.id)
