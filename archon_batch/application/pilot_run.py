"""Runs some rows of a dataset, to judge by them what all of it will take."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from archon_batch.application.prepare import validate_provider_access
from archon_batch.application.run import run_job
from archon_batch.archon import Architecture
from archon_batch.cli import options
from archon_batch.cli.progress import exit_status
from archon_batch.cli.tables import format_usd, stderr
from archon_batch.cli.terminal_page import pluralize
from archon_batch.dataset import Dataset, Row
from archon_batch.errors import InputError
from archon_batch.jobs.cache_preview import forecast_uncached, preview_cache
from archon_batch.jobs.forecast import DatasetSize, Estimate, Forecast, forecast, total_forecast
from archon_batch.jobs.pilot_estimate import SampledRow, extrapolate, sample_positions
from archon_batch.jobs.submit import concurrent_shards, default_shard_size
from archon_batch.jobs.views import usd_number
from archon_batch.money import NanoUsd, Price
from archon_batch.settings import Settings
from archon_batch.store import Job, NewItem, NewJob, Progress, Store, UsageTotals


@dataclass(frozen=True, slots=True)
class PilotRun:
    """A pilot that was run; it may have been halted."""

    rows: list[Row]
    job_id: str
    status: int


@dataclass(frozen=True, slots=True)
class PilotResult:
    """What a pilot came to, and what it says of the rest."""

    job: Job
    progress: Progress
    account: UsageTotals
    rows: list[SampledRow]
    #: None when it was halted: the rows that came to their end are not like the others.
    remaining: Forecast | None

    @property
    def cost_per_row(self) -> int | None:
        """What a row costs, in nano-dollars, if nothing of it is found."""
        costs = [row.actual.cost for row in self.rows]
        known = [cost for cost in costs if cost is not None]
        return (
            round(sum(known) / len(costs)) if self.remaining and len(known) == len(costs) else None
        )


def run_pilot(
    settings: Settings,
    dataset: Dataset,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    size: int,
    budget: NanoUsd | None,
) -> PilotRun:
    """Run so many rows as a job of their own, here or by the workers, and wait for its end.

    The same pilot again is the same job, as a submission is.
    """
    if settings.in_process:
        validate_provider_access(architecture)
    rows = _sample_rows(dataset, size)
    with options.open_store(settings) as store:
        job = _get_or_create_job(store, _new_job(dataset, architecture, prices, rows, budget), rows)
        if job.state == "done":
            given_up = store.usage.progress(job.id).failed > 0
            stderr.print(f"the pilot was run before: job {job.id}")
            return PilotRun(rows, job.id, exit_status("done", given_up=given_up))
        found = preview_cache(store, architecture, (row.question for row in rows))
    most = total_forecast(forecast_uncached(architecture, prices, found)).high.cost
    limit = (
        "" if job.budget is None else f", and of a budget of {format_usd(usd_number(job.budget))}"
    )
    stderr.print(
        f"pilot {job.id}: {pluralize(len(rows), 'row')}, at the most {format_usd(usd_number(most))}{limit}"
    )
    return PilotRun(rows, job.id, run_job(settings, job, wait=True))


def evaluate_pilot(
    store: Store,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    pilot: PilotRun,
    remaining: Forecast,
    remaining_rows: int,
) -> PilotResult:
    """Judge by the pilot the rows that are left, of which ``remaining`` is foreseen."""
    job = store.jobs.get(pilot.job_id)
    accounts = store.usage.including_cached(job.id)
    piloted = [
        SampledRow(
            total_forecast(
                forecast(architecture, prices, DatasetSize.from_questions([row.question]))
            ).expected,
            _estimate(accounts.get(ix, UsageTotals())),
        )
        for ix, row in enumerate(pilot.rows)
    ]
    whole = job.state == "done"
    return PilotResult(
        job,
        store.usage.progress(job.id),
        store.usage.total(job.id),
        piloted,
        extrapolate(piloted, remaining, remaining_rows) if whole else None,
    )


def _estimate(account: UsageTotals) -> Estimate:
    return Estimate(
        account.calls,
        account.prompt_tokens,
        account.completion_tokens,
        None if account.unpriced_calls else account.cost,
    )


def _sample_rows(dataset: Dataset, size: int) -> list[Row]:
    accepted = sum(row.reason is None for row in dataset.rows())
    if not accepted:
        raise InputError("--pilot: no row of the dataset can be accepted")
    wanted = set(sample_positions(accepted, size))
    rows = (row for row in dataset.rows() if row.reason is None)
    return [row for place, row in enumerate(rows) if place in wanted]


def _new_job(
    dataset: Dataset,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    rows: list[Row],
    budget: NanoUsd | None,
) -> NewJob:
    frozen = architecture.to_dict()
    identity = json.dumps(["pilot", dataset.digest, frozen, len(rows)], sort_keys=True)
    label = "stdin" if dataset.name == "-" else Path(dataset.name).name.partition(".")[0]
    shard = default_shard_size(len(rows))
    return NewJob(
        submit_key=hashlib.sha256(identity.encode()).hexdigest(),
        name=f"pilot-{len(rows)}-{label}-{architecture.name}",
        dataset=dataset.name,
        architecture=frozen,
        prices=prices,
        options={"reuse": True, "windows": dict(architecture.context_windows)},
        shard_size=shard,
        concurrent_shards=concurrent_shards(shard),
        budget=budget,
    )


def _get_or_create_job(store: Store, new: NewJob, rows: Iterable[Row]) -> Job:
    """The job, new or found; one that was stopped, or has a new budget, is set going again."""
    items = (NewItem(row.id, row.question, row.extras) for row in rows)
    job, is_new = store.jobs.get_or_create(new, items)
    if is_new:
        return job
    if job.state == "cancelled":
        raise InputError(f"{job.id} is cancelled; archon-batch retry {job.id} opens its rows again")
    raised = new.budget is not None and new.budget != job.budget
    states = ["stopped", "paused"] if raised else ["stopped"]
    return store.jobs.resume(job.id, from_states=states, budget=new.budget if raised else None)
