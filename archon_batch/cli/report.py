"""``archon-batch report``."""

from pathlib import Path

import click

from archon_batch import html_report
from archon_batch.cli import options
from archon_batch.cli.tables import stderr


@click.command()
@click.argument("job")
@click.option("-o", "--output", type=Path, required=True, metavar="FILE", help="HTML file.")
@click.option(
    "--rows",
    type=click.IntRange(1, 50),
    default=5,
    show_default=True,
    metavar="N",
    help="Show the N best and the N worst rows with every call.",
)
@click.option("--metric", metavar="M", help="Sort rows by metric M. Default: the first metric.")
@options.force_option
def report(job: str, output: Path, rows: int, metric: str | None, force: bool) -> None:
    """Write JOB as one HTML page: scores, cost, tokens, time, problems, best and worst rows.

    The page needs no network and no other file, and its size is bounded.
    """
    html_report.check_extra_installed()
    with options.open_store() as store:
        stored_job = store.jobs.find(job)
        size = html_report.write_report(
            store, stored_job, output, extreme_rows=rows, metric=metric, force=force
        )
    stderr.print(f"{output}: {size / 1024:,.0f} KiB")
