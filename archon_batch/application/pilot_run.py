"""Runs a pilot: a sample of a dataset's rows, from which the cost of the rest is estimated."""

from collections.abc import Mapping
from dataclasses import dataclass

from archon_batch.application.events import PilotFound, PilotStarted, Report, ignore
from archon_batch.application.open_store import open_store
from archon_batch.application.prepare import validate_provider_access
from archon_batch.application.run import RunResult, run_job
from archon_batch.archon import Architecture
from archon_batch.dataset import Dataset, Row
from archon_batch.errors import InputError
from archon_batch.jobs.cache_preview import forecast_uncached, preview_cache
from archon_batch.jobs.forecast import DatasetSize, Estimate, Forecast, forecast, total_forecast
from archon_batch.jobs.pilot_estimate import SampledRow, extrapolate, sample_positions
from archon_batch.jobs.submit import (
    continue_job,
    dataset_label,
    default_shard_size,
    new_job,
    submit_key,
)
from archon_batch.money import NanoUsd, Price
from archon_batch.settings import Settings
from archon_batch.store import Job, NewItem, NewJob, Progress, Store, UsageTotals


@dataclass(frozen=True, slots=True)
class PilotRun:
    """A pilot that was run; the budget or the user may have halted it."""

    rows: list[Row]
    result: RunResult


@dataclass(frozen=True, slots=True)
class PilotResult:
    """What a pilot's rows took, and the estimate for the other rows."""

    job: Job
    progress: Progress
    usage: UsageTotals
    rows: list[SampledRow]
    #: None for a halted pilot: the rows that it finished are not representative.
    remaining: Forecast | None

    @property
    def cost_per_row(self) -> int | None:
        """Nano-dollars that a row costs without the cache; None without an estimate or a price."""
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
    report: Report = ignore,
) -> PilotRun:
    """Run ``size`` rows as a job of their own, here or on the workers, and wait for its end.

    The same pilot again is the same job, as with a submission.

    Raises:
        InputError: the dataset has no valid row, or the pilot's job was cancelled.
    """
    if settings.in_process:
        validate_provider_access(settings, architecture, report)
    rows = _sample_rows(dataset, size)
    with open_store(settings) as store:
        new = _new_job(dataset, architecture, prices, rows, budget)
        items = (NewItem(row.id, row.question, row.extras) for row in rows)
        job, is_new = store.jobs.get_or_create(new, items)
        if not is_new:
            job = continue_job(store, job, budget)
        if job.state == "done":
            report(PilotFound(job))
            failed_rows = store.usage.progress(job.id).failed
            return PilotRun(rows, RunResult(job.id, "done", failed_rows))
        preview = preview_cache(store, architecture, (row.question for row in rows))
    max_cost = total_forecast(forecast_uncached(architecture, prices, preview)).high.cost
    report(PilotStarted(job, len(rows), max_cost))
    return PilotRun(rows, run_job(settings, job, wait=True, report=report))


def evaluate_pilot(
    store: Store,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    pilot: PilotRun,
    remaining: Forecast,
    remaining_rows: int,
) -> PilotResult:
    """Correct the forecast ``remaining`` of the other rows by what the pilot's rows took."""
    job = store.jobs.get(pilot.result.job_id)
    usage = store.usage.including_cached(job.id)
    sample = [
        SampledRow(
            total_forecast(
                forecast(architecture, prices, DatasetSize.from_questions([row.question]))
            ).expected,
            _estimate(usage.get(ix, UsageTotals())),
        )
        for ix, row in enumerate(pilot.rows)
    ]
    return PilotResult(
        job,
        store.usage.progress(job.id),
        store.usage.total(job.id),
        sample,
        extrapolate(sample, remaining, remaining_rows) if job.state == "done" else None,
    )


def _estimate(usage: UsageTotals) -> Estimate:
    return Estimate(
        usage.calls,
        usage.prompt_tokens,
        usage.completion_tokens,
        None if usage.unpriced_calls else usage.cost,
    )


def _sample_rows(dataset: Dataset, size: int) -> list[Row]:
    count = sum(row.reason is None for row in dataset.rows())
    if not count:
        raise InputError("--pilot: no row of the dataset can be accepted")
    positions = set(sample_positions(count, size))
    valid = (row for row in dataset.rows() if row.reason is None)
    return [row for position, row in enumerate(valid) if position in positions]


def _new_job(
    dataset: Dataset,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    rows: list[Row],
    budget: NanoUsd | None,
) -> NewJob:
    return new_job(
        submit_key("pilot", dataset.digest, architecture.to_dict(), len(rows)),
        f"pilot-{len(rows)}-{dataset_label(dataset)}-{architecture.name}",
        dataset.name,
        architecture,
        prices,
        shard_size=default_shard_size(len(rows)),
        budget=budget,
    )
