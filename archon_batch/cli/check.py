"""``archon-batch check``."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from archon_batch.application.prepare import priced, prices_of, warn
from archon_batch.cli import options
from archon_batch.cli.architecture_drawing import graph
from archon_batch.cli.architecture_table import print_layers
from archon_batch.cli.terminal_page import say
from archon_batch.config import kind_of, load_architecture, read_job_file, read_pool_file, yaml_text
from archon_batch.dataset import Template
from archon_batch.errors import ArchitectureError, InputError, JobFileError, SettingsError
from archon_batch.itas import everyone_in, foreseen_by
from archon_batch.jobs.forecast import Load
from archon_batch.jobs.submit import price_list
from archon_batch.money import Price
from archon_batch.search import census
from archon_batch.search.space_file import read_space

#: What limits of tokens and USD are counted for, where there is no dataset: 100 tokens or so.
_PROMPT = Load(rows=1, query=400)


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--allow-unpriced", is_flag=True, help="Say nothing of models whose price nobody knows."
)
@click.option("--graph", "drawn", is_flag=True, help="Draw the layers instead of the table.")
@click.option("--convert", is_flag=True, help="Write one architecture, of either form, as YAML.")
@click.option("-o", "--output", type=Path, metavar="FILE", help="Write --convert's YAML to FILE.")
@click.option("--force", is_flag=True, help="Replace FILE.")
def check(
    files: tuple[str, ...],
    allow_unpriced: bool,
    drawn: bool,
    convert: bool,
    output: Path | None,
    force: bool,
) -> int:
    """Read architecture, search space, job and pool FILES; say what is wrong and where.

    Of an architecture it shows the layers: candidates in and out, and calls of a row. An
    architecture may also be a configuration of the paper's reference implementation. Of a search
    space it counts the architectures.
    """
    options.settings()
    if convert:
        if len(files) != 1 or drawn:
            raise click.UsageError("--convert takes one file, and no --graph")
        _convert(files[0], output, force=force)
        return 0
    if output is not None or force:
        raise click.UsageError("-o and --force go with --convert")
    wrong = 0
    for file in files:
        try:
            _check(file, allow_unpriced=allow_unpriced, drawn=drawn)
        except InputError as error:
            wrong += 1
            for line in error.told():
                say(line, err=True)
    return 2 if wrong else 0


def _check(file: str, *, allow_unpriced: bool, drawn: bool) -> None:
    path = Path(file)
    # It says no where pathlib raises: of a name that is too long, say.
    kind = kind_of(path) if os.path.isfile(path) else "architecture"  # noqa: PTH113
    if kind == "job":
        job = read_job_file(path, datetime.now(UTC).date())
        architecture, prices = priced(job.architecture, allow_unpriced=True)
        _tell_unpriced(job.architecture, prices, allow_unpriced=allow_unpriced)
        if job.template is not None:
            _refuse_template(path, job.template)
        say(f"{file}: a job: {job.dataset} through {architecture.name}")
    elif kind == "pool":
        pool = read_pool_file(path)
        queues = ", ".join(pool.queues)
        say(f"{file}: a pool: {pool.processes} x {pool.concurrency} threads for {queues}")
    elif kind == "space":
        _check_space(path, allow_unpriced=allow_unpriced)
    else:
        found = load_architecture(file)
        say(f"{file}: an architecture: {found.architecture.name}")
        # It is there to see before a model or a price is missed.
        if drawn:
            say("\n".join(graph(found.architecture)))
        else:
            print_layers(found.architecture)
        warn(found)
        _, prices = prices_of(found, allow_unpriced=True)
        _tell_unpriced(file, prices, allow_unpriced=allow_unpriced)


def _tell_unpriced(file: str, prices: Mapping[str, Price | None], *, allow_unpriced: bool) -> None:
    """Whoever reads a file pays nothing yet: what a submission refuses is a warning here."""
    unpriced = ", ".join(model for model, price in prices.items() if price is None)
    if unpriced and not allow_unpriced:
        say(
            f"warning: {file}: no price is known of {unpriced}, and submit refuses it so: give a price "
            "under models (price: {input: 0.15, output: 0.60}), or pass --allow-unpriced",
            err=True,
        )


def _refuse_template(file: Path, template: str) -> None:
    try:
        Template.parse(template)
    except SettingsError as error:
        raise JobFileError(str(file), "template", error.why) from None


def _check_space(path: Path, *, allow_unpriced: bool) -> None:
    space, document = read_space(path)
    with document.blamed(ArchitectureError):
        prices = price_list(everyone_in(space), allow_unpriced=True)
        found = census(space, foreseen_by(space, prices, _PROMPT))
    _tell_unpriced(str(path), prices, allow_unpriced=allow_unpriced)
    say(
        f"{path}: a search space: {space.name}: {len(found.points):,} valid architectures of "
        f"{found.combinations:,} combinations"
    )
    for why, count in found.left_out.items():
        say(f"  {count:,} left out: {why}")


def _convert(file: str, output: Path | None, *, force: bool) -> None:
    found = load_architecture(file)
    text = yaml_text(found.architecture, found.document.path.name)
    warn(found)
    if output is None or str(output) == "-":
        say(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise InputError(f"{output} exists; --force replaces it") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{output}: cannot be written: {why.lower()}") from None
    say(f"{found.architecture.name} is in {output}", err=True)
