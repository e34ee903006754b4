"""``archon-batch check``."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from archon_batch.application.prepare import architecture_warnings, load_priced, with_prices
from archon_batch.cli import options
from archon_batch.cli.architecture_drawing import draw_architecture
from archon_batch.cli.architecture_table import print_layers
from archon_batch.cli.progress import EventPrinter
from archon_batch.cli.terminal_page import echo
from archon_batch.config import (
    ArchitectureFile,
    architecture_yaml,
    file_kind,
    load_architecture,
    read_job_file,
    read_pool_file,
)
from archon_batch.dataset import Template
from archon_batch.errors import ArchitectureError, InputError, JobFileError, SettingsError
from archon_batch.jobs.forecast import DatasetSize
from archon_batch.jobs.submit import model_prices
from archon_batch.money import Price
from archon_batch.search.enumerate_space import enumerate_space
from archon_batch.search.request import architecture_of_all_models, make_row_estimator
from archon_batch.search.space_file import read_space

#: The assumed row of a search space, about 100 tokens; its limits of tokens and USD need a size.
_SAMPLE_SIZE = DatasetSize(rows=1, query_bytes=400)


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--allow-unpriced", is_flag=True, help="Do not warn about models without a known price."
)
@click.option("--graph", "drawn", is_flag=True, help="Draw the layers instead of printing a table.")
@click.option("--convert", is_flag=True, help="Print one architecture as YAML, from either format.")
@click.option(
    "-o", "--output", type=Path, metavar="FILE", help="Write the YAML of --convert to FILE."
)
@options.force_option
def check(
    files: tuple[str, ...],
    allow_unpriced: bool,
    drawn: bool,
    convert: bool,
    output: Path | None,
    force: bool,
) -> int:
    """Validate architecture, search space, job and pool FILES; report errors with their lines.

    For an architecture it also prints the layers: candidates in and out, and calls per row; for a
    search space the number of architectures. An architecture may also be a configuration of the
    paper's reference implementation.
    """
    options.load_settings()
    if convert:
        if len(files) != 1 or drawn:
            raise click.UsageError("--convert takes one file and no --graph")
        _convert(files[0], output, force=force)
        return 0
    if output is not None or force:
        raise click.UsageError("-o and --force need --convert")
    invalid = 0
    for file in files:
        try:
            _check(file, allow_unpriced=allow_unpriced, drawn=drawn)
        except InputError as error:
            invalid += 1
            for line in error.lines():
                echo(line, err=True)
    return 2 if invalid else 0


def _check(file: str, *, allow_unpriced: bool, drawn: bool) -> None:
    path = Path(file)
    # pathlib raises an error if the name is too long; os.path.isfile returns False.
    kind = file_kind(path) if os.path.isfile(path) else "architecture"  # noqa: PTH113
    if kind == "job":
        job = read_job_file(path, datetime.now(UTC).date())
        architecture, prices = load_priced(
            job.architecture, allow_unpriced=True, report=EventPrinter()
        )
        _warn_unpriced(job.architecture, prices, allow_unpriced=allow_unpriced)
        if job.template is not None:
            _validate_template(path, job.template)
        echo(f"{file}: job: {job.dataset} through {architecture.name}")
    elif kind == "pool":
        pool = read_pool_file(path)
        queues = ", ".join(pool.queues)
        echo(f"{file}: pool: {pool.processes} x {pool.concurrency} threads for {queues}")
    elif kind == "space":
        _check_space(path, allow_unpriced=allow_unpriced)
    else:
        loaded = load_architecture(file)
        echo(f"{file}: architecture: {loaded.architecture.name}")
        # Print the layers before an unknown model or price raises an error.
        if drawn:
            echo("\n".join(draw_architecture(loaded.architecture)))
        else:
            print_layers(loaded.architecture)
        _print_warnings(loaded)
        _, prices = with_prices(loaded, allow_unpriced=True)
        _warn_unpriced(file, prices, allow_unpriced=allow_unpriced)


def _print_warnings(file: ArchitectureFile) -> None:
    for warning in architecture_warnings(file):
        echo(f"warning: {warning}", err=True)


def _warn_unpriced(file: str, prices: Mapping[str, Price | None], *, allow_unpriced: bool) -> None:
    """Warn about models that submit refuses: checking a file costs nothing yet."""
    unpriced = ", ".join(model for model, price in prices.items() if price is None)
    if unpriced and not allow_unpriced:
        echo(
            f"warning: {file}: no known price for {unpriced}, so submit refuses it: add a price under "
            "models (price: {input: 0.15, output: 0.60}) or pass --allow-unpriced",
            err=True,
        )


def _validate_template(file: Path, template: str) -> None:
    try:
        Template.parse(template)
    except SettingsError as error:
        raise JobFileError(str(file), "template", error.why) from None


def _check_space(path: Path, *, allow_unpriced: bool) -> None:
    space, document = read_space(path)
    with document.locate_errors(ArchitectureError):
        prices = model_prices(architecture_of_all_models(space), allow_unpriced=True)
        enumeration = enumerate_space(space, make_row_estimator(space, prices, _SAMPLE_SIZE))
    _warn_unpriced(str(path), prices, allow_unpriced=allow_unpriced)
    echo(
        f"{path}: search space: {space.name}: {len(enumeration.points):,} valid architectures of "
        f"{enumeration.combinations:,} combinations"
    )
    for why, count in enumeration.excluded.items():
        echo(f"  {count:,} excluded: {why}")


def _convert(file: str, output: Path | None, *, force: bool) -> None:
    loaded = load_architecture(file)
    text = architecture_yaml(loaded.architecture, loaded.document.path.name)
    _print_warnings(loaded)
    if output is None or str(output) == "-":
        echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise InputError(f"{output} exists; --force overwrites it") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{output}: cannot be written: {why.lower()}") from None
    echo(f"{loaded.architecture.name} is in {output}", err=True)
