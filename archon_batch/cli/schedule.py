"""``archon-batch schedule``."""

from pathlib import Path

import click

from archon_batch.cli import options


@click.command()
@click.argument("folder", type=Path, default=Path("jobs"))
def schedule(folder: Path) -> int:
    """Run the job files in FOLDER (default: jobs) at the times in their `when` key.

    A scheduled run is `submit --job FILE`, started here: this machine reads the datasets and
    writes the exports, with paths relative to the current folder. Several schedulers may run at
    once; each run still starts once.

    SIGTERM or Ctrl-C stops the runs of this scheduler; its next start continues them.
    """
    options.load_settings()
    from archon_batch.engine.scheduler import run_scheduler  # noqa: PLC0415

    return run_scheduler(folder)
