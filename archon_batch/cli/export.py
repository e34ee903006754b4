"""``archon-batch export``."""

from pathlib import Path

import click

from archon_batch.cli import options
from archon_batch.cli.tables import stderr
from archon_batch.jobs.export import export_job


@click.command()
@click.argument("job")
@click.option(
    "-o",
    "--output",
    type=Path,
    metavar="FILE",
    help=".jsonl, .jsonl.gz, .csv or .parquet. Default: JSONL on standard output.",
)
@options.force_option
def export(job: str, output: Path | None, force: bool) -> None:
    """Write JOB's answers with their costs, one row per line, in the dataset's order."""
    with options.open_store() as store:
        rows = export_job(store, store.jobs.find(job), output, force=force)
    if output is not None and str(output) != "-":
        stderr.print(f"{rows} rows in {output}")
