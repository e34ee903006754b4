"""Runs some rows of a dataset, to judge by them what all of it will take."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from archon_batch.application.prepare import refuse_uncallable
from archon_batch.application.run import run
from archon_batch.archon import Architecture
from archon_batch.cli import options
from archon_batch.cli.progress import exit_status
from archon_batch.cli.tables import aside, money
from archon_batch.cli.terminal_page import counted
from archon_batch.dataset import Dataset, Row
from archon_batch.errors import InputError
from archon_batch.jobs.cache_preview import foreseen, found_among
from archon_batch.jobs.forecast import Estimate, Forecast, Load, forecast, total
from archon_batch.jobs.pilot_estimate import Piloted, extrapolated, places
from archon_batch.jobs.submit import shard_of, width_of
from archon_batch.jobs.views import dollars
from archon_batch.money import NanoUsd, Price
from archon_batch.settings import Settings
from archon_batch.store import Account, Job, NewItem, NewJob, Progress, Store


@dataclass(frozen=True, slots=True)
class Pilot:
    """A pilot that was run; it may have been halted."""

    rows: list[Row]
    job_id: str
    status: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a pilot came to, and what it says of the rest."""

    job: Job
    progress: Progress
    account: Account
    rows: list[Piloted]
    #: None when it was halted: the rows that came to their end are not like the others.
    rest: Forecast | None

    @property
    def per_row(self) -> int | None:
        """What a row costs, in nano-dollars, if nothing of it is found."""
        costs = [row.taken.cost for row in self.rows]
        known = [cost for cost in costs if cost is not None]
        return round(sum(known) / len(costs)) if self.rest and len(known) == len(costs) else None


def run_pilot(
    settings: Settings,
    dataset: Dataset,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    size: int,
    budget: NanoUsd | None,
) -> Pilot:
    """Run so many rows as a job of their own, here or by the workers, and wait for its end.

    The same pilot again is the same job, as a submission is.
    """
    if settings.embedded:
        refuse_uncallable(architecture)
    rows = _chosen(dataset, size)
    with options.store(settings) as store:
        job = _made(store, _new(dataset, architecture, prices, rows, budget), rows)
        if job.state == "done":
            given_up = store.accounts.progress(job.id).given_up > 0
            aside.print(f"the pilot was run before: job {job.id}")
            return Pilot(rows, job.id, exit_status("done", given_up=given_up))
        found = found_among(store, architecture, (row.question for row in rows))
    most = total(foreseen(architecture, prices, found)).high.cost
    limit = "" if job.budget is None else f", and of a budget of {money(dollars(job.budget))}"
    aside.print(
        f"pilot {job.id}: {counted(len(rows), 'row')}, at the most {money(dollars(most))}{limit}"
    )
    return Pilot(rows, job.id, run(settings, job, wait=True))


def judged_by(
    store: Store,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    pilot: Pilot,
    rest: Forecast,
    rows: int,
) -> Judged:
    """Judge by the pilot the rows that are left, of which ``rest`` is foreseen."""
    job = store.jobs.get(pilot.job_id)
    accounts = store.accounts.in_full(job.id)
    piloted = [
        Piloted(
            total(forecast(architecture, prices, Load.of([row.question]))).expected,
            _estimate(accounts.get(ix, Account())),
        )
        for ix, row in enumerate(pilot.rows)
    ]
    whole = job.state == "done"
    return Judged(
        job,
        store.accounts.progress(job.id),
        store.accounts.total(job.id),
        piloted,
        extrapolated(piloted, rest, rows) if whole else None,
    )


def _estimate(account: Account) -> Estimate:
    return Estimate(
        account.calls,
        account.prompt_tokens,
        account.completion_tokens,
        None if account.unpriced_calls else account.cost,
    )


def _chosen(dataset: Dataset, size: int) -> list[Row]:
    accepted = sum(row.reason is None for row in dataset.rows())
    if not accepted:
        raise InputError("--pilot: no row of the dataset can be accepted")
    wanted = set(places(accepted, size))
    rows = (row for row in dataset.rows() if row.reason is None)
    return [row for place, row in enumerate(rows) if place in wanted]


def _new(
    dataset: Dataset,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    rows: list[Row],
    budget: NanoUsd | None,
) -> NewJob:
    frozen = architecture.as_data()
    identity = json.dumps(["pilot", dataset.digest, frozen, len(rows)], sort_keys=True)
    label = "stdin" if dataset.name == "-" else Path(dataset.name).name.partition(".")[0]
    shard = shard_of(len(rows))
    return NewJob(
        submit_key=hashlib.sha256(identity.encode()).hexdigest(),
        name=f"pilot-{len(rows)}-{label}-{architecture.name}",
        dataset=dataset.name,
        architecture=frozen,
        prices=prices,
        options={"reuse": True, "windows": dict(architecture.windows)},
        shard=shard,
        width=width_of(shard),
        budget=budget,
    )


def _made(store: Store, new: NewJob, rows: Iterable[Row]) -> Job:
    """The job, new or found; one that was stopped, or has a new budget, is set going again."""
    items = (NewItem(row.id, row.question, row.extras) for row in rows)
    job, is_new = store.jobs.add(new, items)
    if is_new:
        return job
    if job.state == "cancelled":
        raise InputError(f"{job.id} is cancelled; archon-batch retry {job.id} opens its rows again")
    raised = new.budget is not None and new.budget != job.budget
    states = ["stopped", "paused"] if raised else ["stopped"]
    return store.jobs.set_going(job.id, only_from=states, budget=new.budget if raised else None)
