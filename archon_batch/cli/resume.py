"""``archon-batch resume``, ``retry`` and ``cancel``."""

import click

from archon_batch.cli import room
from archon_batch.cli.run import run
from archon_batch.cli.tables import aside
from archon_batch.errors import InputError
from archon_batch.ledger import NanoUsd, usd

_wait = click.option("--follow/--detach", "wait", default=None, help="Wait for the end, or do not.")


@click.command()
@click.argument("job")
@click.option("--budget", type=room.Usd(), help="A new budget, in USD.")
@_wait
def resume(job: str, budget: NanoUsd | None, wait: bool | None) -> int:
    """Go on with JOB where it was: after a kill, a stop, or a budget that was reached."""
    settings = room.settings()
    with room.store(settings) as store:
        found = store.jobs.find(job)
        if found.state in ("done", "cancelled"):
            raise InputError(
                f"{found.id} is {found.state}; archon-batch retry opens its rows again"
            )
        if budget is not None:
            store.jobs.set_budget(found.id, budget)
        elif found.state == "paused" and found.budget is not None:
            raise InputError(
                f"{found.id} has reached its budget of {usd(found.budget):f} USD; "
                "give it a larger one with --budget"
            )
        store.jobs.move(found.id, "running", only_from=["paused", "stopped"])
        found = store.jobs.get(found.id)
    return run(settings, found, wait=bool(wait))


@click.command()
@click.argument("job")
@_wait
def retry(job: str, wait: bool | None) -> int:
    """Open rows of JOB again that were given up or cancelled, and go on.

    Replies stay: only what failed is asked, and paid for, again.
    """
    settings = room.settings()
    with room.store(settings) as store:
        found = store.jobs.find(job)
        opened = store.items.reopen(found.id, ["given_up", "cancelled"])
        if not opened:
            raise InputError(f"{found.id} has no row that was given up or cancelled")
        store.jobs.move(found.id, "running", only_from=["done", "cancelled", "stopped", "paused"])
        aside.print(f"{opened} rows opened again")
        found = store.jobs.get(found.id)
    return run(settings, found, wait=bool(wait))


@click.command()
@click.argument("job")
def cancel(job: str) -> None:
    """End JOB: nothing more is begun, calls in flight land, what was paid for stays."""
    with room.store() as store:
        found = store.jobs.find(job)
        states = ["running", "paused", "stopped"]
        if not store.jobs.move(found.id, "cancelled", only_from=states):
            raise InputError(f"{found.id} is {store.jobs.get(found.id).state} already")
        store.items.cancel(found.id)
    aside.print(f"cancelled {found.id}")
