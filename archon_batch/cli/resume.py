"""``archon-batch resume``, ``retry`` and ``cancel``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from archon_batch.application.run import run
from archon_batch.cli import options
from archon_batch.cli.tables import aside
from archon_batch.cli.terminal_page import counted
from archon_batch.errors import InputError
from archon_batch.money import NanoUsd, usd
from archon_batch.store import Job, Store

_wait = click.option("--follow/--detach", "wait", default=None, help="Wait for the end, or do not.")


@click.command()
@click.argument("job")
@click.option("--budget", type=options.Usd(), help="A new budget, in USD.")
@options.processes_option
@_wait
def resume(job: str, budget: NanoUsd | None, processes: int | None, wait: bool | None) -> int:
    """Go on with JOB where it was: after a kill, a stop, or a budget that was reached."""
    settings = options.settings(processes)
    with options.store(settings) as store:
        found = store.jobs.find(job)
        if found.state in ("done", "cancelled"):
            raise InputError(
                f"{found.id} is {found.state}; archon-batch retry opens its rows again"
            )
        if budget is None and found.state == "paused" and found.budget is not None:
            raise InputError(
                f"{found.id} has reached its budget of {usd(found.budget):f} USD; "
                "give it a larger one with --budget"
            )
        paid = NanoUsd(found.spent + found.in_doubt)
        if budget is not None and budget < paid:
            raise InputError(
                f"{found.id} has paid, or may have paid, {usd(paid):f} USD; "
                "give it no smaller --budget"
            )
        found = store.jobs.set_going(found.id, only_from=["paused", "stopped"], budget=budget)
    return run(settings, found, wait=bool(wait))


@dataclass(frozen=True, slots=True)
class Condition:
    """What a row has to be like to be opened again."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class _Where(click.ParamType[Condition]):
    name = "key=value"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Condition:
        key, equals, wanted = str(value).partition("=")
        if key not in _KEYS or not equals or not wanted:
            self.fail(f"{value!r}: expected {_KNOWN}", param, ctx)
        if key == "layer" and not wanted.isdecimal():
            self.fail(f"{value!r}: a layer is a number from 0", param, ctx)
        if key == "status" and wanted not in _STATUSES:
            self.fail(f"{value!r}: a status is {' or '.join(_STATUSES)}", param, ctx)
        return Condition(key, wanted)


_KEYS = {"reason": "TEXT", "status": "given_up|cancelled", "layer": "N", "id": "ROW"}
_KNOWN = ", ".join(f"{key}={value}" for key, value in _KEYS.items())
_STATUSES = ("given_up", "cancelled")
#: Reasons that are listed when no row fits, and characters of each.
_LISTED, _LONGEST = 3, 100


@click.command()
@click.argument("job")
@click.option(
    "--where",
    type=_Where(),
    multiple=True,
    metavar="KEY=VALUE",
    help=f"Only rows that fit: {_KNOWN}. All must hold.",
)
@options.processes_option
@_wait
def retry(job: str, where: tuple[Condition, ...], processes: int | None, wait: bool | None) -> int:
    """Open rows of JOB again that were given up or cancelled, and go on.

    Replies stay: only what failed is asked, and paid for, again. A reason is part of the row's, or
    the word that a failed call ended with: rate_limit, timeout, broken_reply, provider_down, ...
    """
    settings = options.settings(processes)
    with options.store(settings) as store:
        found = store.jobs.find(job)
        opened = _reopened(store, found, where)
        if not opened:
            raise InputError(_none_fits(store, found, where))
        aside.print(f"{opened} rows opened again")
        found = store.jobs.get(found.id)
    return run(settings, found, wait=bool(wait))


def _reopened(store: Store, job: Job, where: Iterable[Condition]) -> int:
    wanted: dict[str, list[str]] = {key: [] for key in _KEYS}
    for condition in where:
        wanted[condition.key].append(condition.value)
    return store.items.reopen(
        job.id,
        [one for one in _STATUSES if all(one == status for status in wanted["status"])],
        reasons=wanted["reason"],
        layers=[int(layer) for layer in wanted["layer"]],
        rows=wanted["id"],
    )


def _none_fits(store: Store, job: Job, where: Iterable[Condition]) -> str:
    """Why nothing was opened: what there would be to open."""
    ends = store.items.reasons(job.id)
    if not ends:
        return f"{job.id} has no row that was given up or cancelled"
    counts = {status: sum(n for s, _, n in ends if s == status) for status in _STATUSES}
    there = ", ".join(f"{n:,} {status.replace('_', ' ')}" for status, n in counts.items() if n)
    told = [f"{n:,} x {' '.join(reason.split())[:_LONGEST]}" for _, reason, n in ends if reason]
    others = len(told) - _LISTED
    more = [f"and {counted(others, 'other reason')}"] if others > 0 else []
    listed = f" ({'; '.join(told[:_LISTED] + more)})" if told else ""
    asked = " and ".join(map(str, where))
    fits = f"no row fits --where {asked}" if asked else "no row can be opened again"
    return f"{job.id}: {fits}; it has {there}{listed}"


@click.command()
@click.argument("job")
def cancel(job: str) -> None:
    """End JOB: nothing more is begun, calls in flight land, what was paid for stays."""
    with options.store() as store:
        found = store.jobs.find(job)
        if not store.items.cancel(found.id):
            raise InputError(f"{found.id} is {store.jobs.get(found.id).state} already")
    aside.print(f"cancelled {found.id}")
