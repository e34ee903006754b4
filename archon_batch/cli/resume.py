"""``archon-batch resume``, ``retry`` and ``cancel``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from archon_batch.application.run import run_job
from archon_batch.cli import options
from archon_batch.cli.progress import result_status, run_context
from archon_batch.cli.tables import stderr
from archon_batch.cli.terminal_page import pluralize
from archon_batch.errors import InputError
from archon_batch.money import NanoUsd, to_usd
from archon_batch.store import Job, Store


@click.command()
@click.argument("job")
@click.option("--budget", type=options.UsdParam(), help="New budget in USD.")
@options.processes_option
@options.follow_option
def resume(job: str, budget: NanoUsd | None, processes: int | None, wait: bool | None) -> int:
    """Continue JOB where it stopped: after a kill, an error, or a reached budget."""
    settings = options.load_settings(processes)
    with options.open_store(settings) as store:
        found = store.jobs.find(job)
        if found.state in ("done", "cancelled"):
            raise InputError(f"{found.id} is {found.state}; archon-batch retry runs its rows again")
        if budget is None and found.state == "paused" and found.budget is not None:
            raise InputError(
                f"{found.id} has reached its budget of {to_usd(found.budget):f} USD; "
                "pass a larger --budget"
            )
        paid = NanoUsd(found.spent + found.in_doubt)
        if budget is not None and budget < paid:
            raise InputError(
                f"{found.id} has spent up to {to_usd(paid):f} USD already; pass a larger --budget"
            )
        found = store.jobs.resume(found.id, from_states=["paused", "stopped"], budget=budget)
    with run_context(settings) as report:
        return result_status(run_job(settings, found, wait=bool(wait), report=report))


@dataclass(frozen=True, slots=True)
class RowCondition:
    """A condition that a row must meet to be reopened."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class _RowConditionParam(click.ParamType[RowCondition]):
    name = "key=value"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> RowCondition:
        key, equals, wanted = str(value).partition("=")
        if key not in _KEYS or not equals or not wanted:
            self.fail(f"{value!r}: expected {_CONDITION_SYNTAX}", param, ctx)
        if key == "layer" and not wanted.isdecimal():
            self.fail(f"{value!r}: a layer is a number from 0", param, ctx)
        if key == "status" and wanted not in _STATUSES:
            self.fail(f"{value!r}: a status is {' or '.join(_STATUSES)}", param, ctx)
        return RowCondition(key, wanted)


_KEYS = {"reason": "TEXT", "status": "failed|cancelled", "layer": "N", "id": "ROW"}
_CONDITION_SYNTAX = ", ".join(f"{key}={value}" for key, value in _KEYS.items())
_STATUSES = ("failed", "cancelled")
#: Reasons that an error message lists, and characters of each.
_MAX_REASONS_SHOWN, _MAX_REASON_CHARS = 3, 100


@click.command()
@click.argument("job")
@click.option(
    "--where",
    type=_RowConditionParam(),
    multiple=True,
    metavar="KEY=VALUE",
    help=f"Only rows that match: {_CONDITION_SYNTAX}. All conditions must hold.",
)
@options.processes_option
@options.follow_option
def retry(
    job: str, where: tuple[RowCondition, ...], processes: int | None, wait: bool | None
) -> int:
    """Run failed or cancelled rows of JOB again.

    Replies are kept: only failed calls are sent, and paid for, again. TEXT is part of the row's
    reason, or the error code of a failed call: rate_limit, call_timeout, broken_reply,
    provider_down, ...
    """
    settings = options.load_settings(processes)
    with options.open_store(settings) as store:
        found = store.jobs.find(job)
        opened = _reopen_rows(store, found, where)
        if not opened:
            raise InputError(_no_match_message(store, found, where))
        stderr.print(f"{pluralize(opened, 'row')} reopened")
        found = store.jobs.get(found.id)
    with run_context(settings) as report:
        return result_status(run_job(settings, found, wait=bool(wait), report=report))


def _reopen_rows(store: Store, job: Job, where: Iterable[RowCondition]) -> int:
    wanted: dict[str, list[str]] = {key: [] for key in _KEYS}
    for condition in where:
        wanted[condition.key].append(condition.value)
    return store.items.reopen(
        job.id,
        [status for status in _STATUSES if {status}.issuperset(wanted["status"])],
        reasons=wanted["reason"],
        layers=[int(layer) for layer in wanted["layer"]],
        row_ids=wanted["id"],
    )


def _no_match_message(store: Store, job: Job, where: Iterable[RowCondition]) -> str:
    """The error if no row was reopened: what could be reopened instead."""
    failures = store.items.failure_counts(job.id)
    if not failures:
        return f"{job.id} has no failed or cancelled row"
    counts = {status: sum(n for s, _, n in failures if s == status) for status in _STATUSES}
    rows = ", ".join(f"{n:,} {status.replace('_', ' ')}" for status, n in counts.items() if n)
    reasons = [
        f"{n:,} x {' '.join(reason.split())[:_MAX_REASON_CHARS]}"
        for _, reason, n in failures
        if reason
    ]
    hidden = len(reasons) - _MAX_REASONS_SHOWN
    more = [f"and {pluralize(hidden, 'other reason')}"] if hidden > 0 else []
    listed = f" ({'; '.join(reasons[:_MAX_REASONS_SHOWN] + more)})" if reasons else ""
    conditions = " and ".join(map(str, where))
    problem = f"no row matches --where {conditions}" if conditions else "no row can be reopened"
    return f"{job.id}: {problem}; it has {rows}{listed}"


@click.command()
@click.argument("job")
def cancel(job: str) -> None:
    """Cancel JOB: start no new calls and wait for calls in flight; its answers are kept."""
    with options.open_store() as store:
        found = store.jobs.find(job)
        if not store.items.cancel_job(found.id):
            raise InputError(f"{found.id} is {store.jobs.get(found.id).state} already")
    stderr.print(f"cancelled {found.id}")
