"""``archon-batch worker``."""

from pathlib import Path

import click

from archon_batch.cli import options
from archon_batch.config import read_pool_file
from archon_batch.errors import SettingsError


@click.command()
@click.argument("pool", type=Path)
def worker(pool: Path) -> int:
    """Start the worker processes of the pool file POOL and keep them running.

    SIGTERM or Ctrl-C: start no new calls, wait for calls in flight, then exit.
    """
    settings = options.load_settings()
    if settings.in_process:
        raise SettingsError(
            "ARCHON_BATCH_BROKER_URL",
            "not set; workers need a broker, such as redis://localhost:6379/0",
        )
    pool_file = read_pool_file(pool)
    from archon_batch.engine.worker_pool import run_pool  # noqa: PLC0415

    return run_pool(pool_file, pool.stem)
