"""``archon-batch resume``, ``retry`` and ``cancel``."""

from typing import Any

import click

from archon_batch.application.resume import (
    REOPENABLE,
    RowCondition,
    cancel_job,
    resume_job,
    retry_job,
)
from archon_batch.application.run import run_job
from archon_batch.cli import options
from archon_batch.cli.progress import result_status, run_context
from archon_batch.cli.tables import stderr
from archon_batch.cli.terminal_page import pluralize
from archon_batch.money import NanoUsd


@click.command()
@click.argument("job")
@click.option("--budget", type=options.UsdParam(), help="New budget in USD.")
@options.processes_option
@options.follow_option
def resume(job: str, budget: NanoUsd | None, processes: int | None, wait: bool | None) -> int:
    """Continue JOB where it stopped: after a kill, an error, or a reached budget."""
    settings = options.load_settings(processes)
    with options.open_store(settings) as store:
        stored_job = resume_job(store, job, budget)
    with run_context(settings) as report:
        return result_status(run_job(settings, stored_job, wait=bool(wait), report=report))


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
        if key == "status" and wanted not in REOPENABLE:
            self.fail(f"{value!r}: a status is {' or '.join(REOPENABLE)}", param, ctx)
        return RowCondition(key, wanted)


_KEYS = {"reason": "TEXT", "status": "failed|cancelled", "layer": "N", "id": "ROW"}
_CONDITION_SYNTAX = ", ".join(f"{key}={value}" for key, value in _KEYS.items())


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
        stored_job, count = retry_job(store, job, where)
    stderr.print(f"{pluralize(count, 'row')} reopened")
    with run_context(settings) as report:
        return result_status(run_job(settings, stored_job, wait=bool(wait), report=report))


@click.command()
@click.argument("job")
def cancel(job: str) -> None:
    """Cancel JOB: start no new calls and wait for calls in flight; its answers are kept."""
    with options.open_store() as store:
        stored_job = cancel_job(store, job)
    stderr.print(f"cancelled {stored_job.id}")
