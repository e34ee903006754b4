"""``archon-batch beat``."""

from pathlib import Path

import click

from archon_batch.cli import options


@click.command()
@click.argument("folder", type=Path, default=Path("jobs"))
def beat(folder: Path) -> int:
    """Start every job file in FOLDER at the hour that its `when` says, and stay.

    FOLDER is jobs when it is left out. A night is `submit --job FILE`, run here: datasets are
    read and exports written on this machine, from this folder. Several at once do no harm.

    SIGTERM or Ctrl-C: the nights that run here are stopped, and taken up at the next start.
    """
    options.load_settings()
    from archon_batch.engine.scheduler import run_scheduler  # noqa: PLC0415

    return run_scheduler(folder)
