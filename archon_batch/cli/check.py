"""``archon-batch check``."""

from datetime import UTC, datetime
from pathlib import Path

import click

from archon_batch.archon import Architecture, Bounds, arrivals, leaving, warnings
from archon_batch.cli import room
from archon_batch.cli.order import priced
from archon_batch.cli.tables import print_table
from archon_batch.errors import InputError
from archon_batch.files import kind_of, read_job_file, read_pool_file


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--allow-unpriced", is_flag=True, help="Accept models whose price nobody knows.")
def check(files: tuple[str, ...], allow_unpriced: bool) -> int:
    """Read architecture, job and pool FILES; say what is wrong and where.

    Of an architecture it shows the layers: candidates in and out, and calls of a row.
    """
    room.settings()
    wrong = 0
    for file in files:
        try:
            _check(file, allow_unpriced=allow_unpriced)
        except InputError as error:
            wrong += 1
            click.echo(f"error: {error}", err=True)
    return 2 if wrong else 0


def _check(file: str, *, allow_unpriced: bool) -> None:
    path = Path(file)
    kind = kind_of(path) if path.is_file() else "architecture"
    if kind == "job":
        job = read_job_file(path, datetime.now(UTC).date())
        architecture, _ = priced(job.architecture, allow_unpriced=allow_unpriced)
        click.echo(f"{file}: a job: {job.dataset} through {architecture.name}")
    elif kind == "pool":
        pool = read_pool_file(path)
        queues = ", ".join(pool.queues)
        click.echo(f"{file}: a pool: {pool.processes} x {pool.concurrency} threads for {queues}")
    else:
        architecture, _ = priced(file, allow_unpriced=allow_unpriced)
        click.echo(f"{file}: an architecture: {architecture.name}")
        _print(architecture)
        for place, why in warnings(architecture):
            click.echo(f"warning: {file}: {place}: {why}", err=True)


def _print(architecture: Architecture) -> None:
    rows: list[list[object]] = []
    calls = Bounds(0, 0)
    coming = list(arrivals(architecture))
    for depth, layer in enumerate(architecture.layers):
        arriving = coming[depth]
        of_layer = sum((c.calls(arriving) for c in layer), Bounds(0, 0))
        calls += of_layer
        components = ", ".join(f"{c.type} {c.model}" for c in layer)
        rows.append([depth, components, arriving, leaving(layer, arriving), _span(of_layer)])
    rows.append(["a row", "", "", "", _span(calls)])
    print_table(("layer", "components", "in", "out", "calls"), rows)


def _span(bounds: Bounds) -> str:
    return f"{bounds.low}" if bounds.low == bounds.high else f"{bounds.low}-{bounds.high}"
