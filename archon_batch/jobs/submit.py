"""Checks a submission, and stores its job or finds the job of an equal submission."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from archon_batch.archon import Architecture, suggestion
from archon_batch.dataset import Dataset
from archon_batch.errors import ArchitectureError, InputError, SettingsError, combine_errors
from archon_batch.jobs.forecast import DatasetSize, forecast, total_forecast
from archon_batch.money import NanoUsd, Price, to_usd
from archon_batch.providers import (
    missing_key_warning,
    missing_variables,
    model_problem,
    price_of,
    token_limits_of,
)
from archon_batch.store import Job, NewItem, NewJob, Store

#: Maximum items of a shard: enough for its messages to cost little compared with its calls.
MAX_SHARD_ROWS = 64
#: Minimum shards of a job, if it has the rows: the items of a shard wait for the slowest of them,
#: and at the end of a job no other shard fills that time.
_MIN_SHARDS = 64
#: Maximum items in progress at once, and maximum shards, each of which takes a thread. With five
#: calls a row, 512 items have many more calls than are in flight, so a slow shard idles no slot.
_MAX_CONCURRENT_ROWS, _MAX_CONCURRENT_SHARDS = 512, 32


@dataclass(frozen=True, slots=True)
class Submission:
    dataset: Dataset
    architecture: Architecture
    prices: dict[str, Price | None]
    name: str | None = None
    budget: NanoUsd | None = None
    #: Items of a shard; None: by the number of rows.
    shard_size: int | None = None
    #: Whether replies in the completion cache are used.
    reuse: bool = True
    #: high, normal or low: workers fetch messages of a higher priority first.
    priority: str = "normal"


def default_shard_size(rows: int) -> int:
    """Items of a shard for a job of that many rows."""
    return max(1, min(MAX_SHARD_ROWS, rows // _MIN_SHARDS))


def concurrent_shards(shard_size: int) -> int:
    """Maximum shards in progress at once."""
    return max(1, min(_MAX_CONCURRENT_SHARDS, _MAX_CONCURRENT_ROWS // shard_size))


def model_prices(architecture: Architecture, *, allow_unpriced: bool) -> dict[str, Price | None]:
    """The price of every model that is called, by the model's own name, not its alias.

    Raises:
        ArchitectureError: a model or its price is unknown; all such models are named.
    """
    prices: dict[str, Price | None] = {}
    wrong: dict[str, ArchitectureError] = {}
    for depth, place, component in architecture.model_components:
        at = f"layers[{depth}][{place}].model"
        model = architecture.model(component.model)
        known = price_of(model)
        why = model_problem(model, allow_unpriced=allow_unpriced)
        if why is not None and (hint := _alias_suggestion(component.model, architecture)):
            why = hint
        if why is None and known is None and not allow_unpriced:
            why = (
                "no price is known; give it one under models (price: {input: 0.15, output: 0.60}), "
                "or pass --allow-unpriced"
            )
        if why is not None:
            wrong.setdefault(model.model, ArchitectureError("", at, f"{model.model}: {why}"))
        price = Price.from_list_price(known) if known else None
        if prices.setdefault(model.model, price) != price:
            raise ArchitectureError("", at, f"{model.model} has two prices")
    if wrong:
        raise combine_errors(list(wrong.values()))
    return prices


def _alias_suggestion(name: str, architecture: Architecture) -> str | None:
    """Suggests a similar alias for a name that is neither an alias nor a model."""
    if name in architecture.models or "/" in name or not architecture.models:
        return None
    return f"no alias under models is called so; {suggestion(name, architecture.models)}"


def with_context_windows(architecture: Architecture) -> Architecture:
    """The architecture with every known context window: its own, or that of litellm's list.

    Raises:
        ArchitectureError: max_tokens fills a context window, so no prompt would fit.
    """
    windows: dict[str, int] = {}
    for depth, place, component in architecture.model_components:
        window = token_limits_of(architecture.model(component.model)).context_window
        if window is None:
            continue
        if component.max_tokens >= window:
            raise ArchitectureError(
                "",
                f"layers[{depth}][{place}].max_tokens",
                f"{component.max_tokens:,} leaves no room for a prompt in the window of "
                f"{component.model}, {window:,} tokens",
            )
        windows[component.model] = window
    return replace(architecture, context_windows=windows)


def max_tokens_warnings(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """Places where max_tokens exceeds the model's known maximum, and why."""
    for depth, place, component in architecture.model_components:
        most = token_limits_of(architecture.model(component.model)).max_output
        if most is not None and component.max_tokens > most:
            why = f"{component.max_tokens:,} is more than {component.model} gives, {most:,} tokens"
            yield f"layers[{depth}][{place}].max_tokens", why


def missing_key_warnings(architecture: Architecture) -> Iterator[tuple[str, str]]:
    """Places of models whose address has no key, with the variable that would hold the key."""
    for depth, place, component in architecture.model_components:
        if why := missing_key_warning(architecture.model(component.model).api_base):
            yield f"layers[{depth}][{place}].model", why


def require_api_keys(architecture: Architecture) -> None:
    """Check that this process has the keys of all models.

    Raises:
        SettingsError: keys are missing; all of them are named.
    """
    models = {architecture.model(name) for name in architecture.model_names}
    missing = {variable: m.model for m in models for variable in missing_variables(m)}
    if missing:
        needed = ", ".join(
            f"{variable} (for {model})" for variable, model in sorted(missing.items())
        )
        raise SettingsError("keys", f"not set: {needed}; set them in the environment or in .env")


def validate_budget(submission: Submission) -> None:
    """Check that the budget pays for the smallest row if every reply is short.

    Raises:
        InputError: it does not, or a model has no price; the message has both figures.
    """
    questions = (row.question for row in submission.dataset.rows() if row.reason is None)
    rows = (DatasetSize.from_questions([question]) for question in questions)
    smallest = min(rows, key=lambda row: row.query_bytes + row.history_bytes, default=None)
    if submission.budget is None or smallest is None:
        return
    least = total_forecast(forecast(submission.architecture, submission.prices, smallest)).low.cost
    if least is None:
        raise InputError("--budget: it cannot hold, since a model has no price; give it one")
    if submission.budget < least:
        raise InputError(
            f"--budget: a row costs at least {to_usd(least):f} USD, "
            f"and the budget of {to_usd(submission.budget):f} USD pays for none"
        )


def submit(store: Store, submission: Submission) -> tuple[Job, bool]:
    """Store the job, or find the job of an equal submission; return it, and whether it is new.

    Nothing is sent.

    Raises:
        InputError: a job of another dataset or architecture has the name.
    """
    name = submission.name
    key = submit_key(submission.dataset.digest, submission.architecture.to_dict(), name)
    if name is not None:
        namesake = store.jobs.newest_named(name)
        if namesake is not None and namesake.id != key[:12]:
            raise InputError(
                f"--name: {name!r} is job {namesake.id}, of another dataset or architecture"
            )
    new = new_job(
        key,
        name or f"{dataset_label(submission.dataset)}-{submission.architecture.name}",
        submission.dataset.name,
        submission.architecture,
        submission.prices,
        shard_size=submission.shard_size or default_shard_size(submission.dataset.count),
        budget=submission.budget,
        reuse=submission.reuse,
        priority=submission.priority,
    )
    return store.jobs.get_or_create(new, _new_items(submission.dataset))


def submit_key(*identity: object) -> str:
    """The hash of everything that makes two submissions the same job."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def new_job(
    key: str,
    name: str,
    dataset: str,
    architecture: Architecture,
    prices: Mapping[str, Price | None],
    *,
    shard_size: int,
    budget: NanoUsd | None,
    reuse: bool = True,
    priority: str = "normal",
) -> NewJob:
    """A job to store, with all that must not change while it runs.

    Args:
        key: its ``submit_key``.
        name: what people call it.
        dataset: the name of its dataset.
        architecture: with its context windows: what fits a prompt is frozen like the prices.
        prices: by the model's own name; None is unpriced.
        shard_size: rows of a shard.
        budget: maximum cost in nano-dollars; None is unlimited.
        reuse: whether replies in the completion cache are used.
        priority: high, normal or low.
    """
    return NewJob(
        submit_key=key,
        name=name,
        dataset=dataset,
        architecture=architecture.to_dict(),
        prices=prices,
        options={"reuse": reuse, "windows": dict(architecture.context_windows)},
        shard_size=shard_size,
        concurrent_shards=concurrent_shards(shard_size),
        budget=budget,
        priority=priority,
    )


def continue_job(store: Store, job: Job, budget: NanoUsd | None) -> Job:
    """Restart the existing job of an equal submission.

    Raises:
        InputError: the job was cancelled.
    """
    if job.state == "cancelled":
        raise InputError(f"{job.id} is cancelled; archon-batch retry {job.id} opens its rows again")
    return restart_job(store, job, budget)


def restart_job(store: Store, job: Job, budget: NanoUsd | None) -> Job:
    """Restart a stopped job; a paused job only with another budget."""
    changed = budget is not None and budget != job.budget
    states = ["stopped", "paused"] if changed else ["stopped"]
    return store.jobs.resume(job.id, from_states=states, budget=budget if changed else None)


def dataset_label(dataset: Dataset) -> str:
    """The name of the dataset's file without its suffixes."""
    return "stdin" if dataset.name == "-" else Path(dataset.name).name.partition(".")[0]


def _new_items(dataset: Dataset) -> Iterable[NewItem]:
    return (NewItem(row.id, row.question, row.extras, row.reason) for row in dataset.rows())
