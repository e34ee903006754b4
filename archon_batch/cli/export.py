"""``archon-batch export``."""

from pathlib import Path

import click

from archon_batch.cli import options
from archon_batch.cli.tables import stderr
from archon_batch.jobs.export import export_job as write


@click.command()
@click.argument("job")
@click.option(
    "-o",
    "--output",
    type=Path,
    metavar="FILE",
    help=".jsonl, .jsonl.gz, .csv or .parquet; default: standard output.",
)
@click.option("--force", is_flag=True, help="Replace FILE.")
def export(job: str, output: Path | None, force: bool) -> None:
    """Write JOB's answers with their account, a row a line, in the dataset's order."""
    with options.open_store() as store:
        rows = write(store, store.jobs.find(job), output, force=force)
    if output is not None and str(output) != "-":
        stderr.print(f"{rows} rows in {output}")
