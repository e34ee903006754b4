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


@click.command(
    cls=options.CommandWithRenamedOptions,
    renamed={"--go-on": "--continue", "--shard": "--shard-size"},
)
@click.argument("dataset", required=False)
@click.option(
    "--arch", metavar="ARCH", help="Architecture: a path, or a name in jobs/architectures."
)
@click.option(
    "--job",
    "job_file",
    type=Path,
    metavar="FILE",
    help="Read dataset, architecture and other settings from a job file.",
)
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Value of {date} in the job file. Default: today, in UTC.",
)
@click.option(
    "--continue",
    "continues",
    is_flag=True,
    help="Continue that day's job without reading its dataset again.",
)
@click.option("--name", help="Name of the job. The same name again is the same job.")
@click.option("--budget", type=options.UsdParam(), help="Maximum cost of the job in USD.")
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    help="Workers execute calls of higher priority first. Default: normal.",
)
@options.dataset_options
@click.option(
    "--shard-size",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Rows processed together. Default: by the number of rows, at most 64.",
)
@click.option("-o", "--output", type=Path, metavar="FILE", help="Export to FILE at the end.")
@options.force_option
@options.no_cache_option
@options.allow_unpriced_option
@options.processes_option
@options.follow_option
@options.json_option
def submit(
    dataset: str | None,
    arch: str | None,
    job_file: Path | None,
    date: datetime | None,
    continues: bool,
    name: str | None,
    budget: NanoUsd | None,
    priority: str | None,
    shard_size: int | None,
    output: Path | None,
    force: bool,
    no_cache: bool,
    allow_unpriced: bool,
    processes: int | None,
    wait: bool | None,
    as_json: bool,
    read_options: ReadOptions,
) -> int:
    """Run DATASET through an architecture.

    DATASET is JSONL (.gz too), CSV or Parquet, or - for standard input. The same submission
    again is the same job: it continues where it stopped, and nothing is paid for twice.
    """
    settings = options.load_settings(processes)
    request = JobRequest(dataset, arch, name, budget, output, read_options, priority)
    if wait is False and output is not None:
        raise InputError("--detach does not wait for the end, so -o cannot export; export later")

    submit_options = SubmitOptions(
        shard_size, reuse=not no_cache, allow_unpriced=allow_unpriced, overwrite=force, wait=wait
    )
    with run_context(settings, partial(_print_job, as_json=as_json)) as report:
        if job_file is not None:
            day = (date or datetime.now(UTC)).date()
            result = submit_job_file(
                settings, job_file, day, request, submit_options, report, continues=continues
            )
        elif date is not None or continues:
            raise InputError("--date and --continue need a job file; name it with --job FILE")
        else:
            result = submit_dataset(settings, request, submit_options, report)
    return result_status(result)


def _print_job(job: Job, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job.id, "name": job.name, "rows": job.rows})
    else:
        echo(job.id)
