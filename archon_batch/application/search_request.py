"""Reads and checks everything that a search names, before anything is stored or sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from archon_batch.archon import Architecture
from archon_batch.dataset import Dataset
from archon_batch.errors import ArchitectureError, InputError
from archon_batch.evaluation.metric_plugins import parse_metric
from archon_batch.jobs.forecast import DatasetSize
from archon_batch.jobs.submit import model_prices, submit_key
from archon_batch.money import NanoUsd
from archon_batch.search.algorithms import ALGORITHMS
from archon_batch.search.bayes import check_optuna_installed
from archon_batch.search.enumerate_space import RowEstimator
from archon_batch.search.request import (
    SearchRequest,
    architecture_of_all_models,
    make_row_estimator,
)
from archon_batch.search.search_state import AlgorithmName
from archon_batch.search.space_file import find_space, read_space
from archon_batch.search.split import split_rows
from archon_batch.search.trial_jobs import CostUnit, SearchRow, TrialSettings, validate_references


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """A search as the user asks for it: names of files, and numbers."""

    datasets: tuple[str, ...]
    #: The path or name of a search space.
    space: str
    #: ``NAME[:ARG]``, as ``score`` takes it.
    metric: str
    #: The rows' field with the reference; None: ``answer`` if the metric needs one.
    reference: str | None = None
    algorithm: AlgorithmName = "bayes"
    #: For all of the search, in nano-dollars.
    budget: NanoUsd | None = None
    name: str | None = None
    trials: int = 100
    at_once: int = 4
    #: The share of the rows that the search uses; the other rows are held out.
    dev: float = 0.2
    #: Maximum held-out rows.
    held_out: int | None = None
    seed: int = 0
    #: Lambda: how much a unit of ``amount`` per row counts against the score.
    weight: float = 0.0
    amount: CostUnit = "usd"
    pareto: bool = False
    worst: bool = False
    patience: int | None = None
    finalists: int = 3
    halving: bool = True
    allow_unpriced: bool = False


@dataclass(frozen=True, slots=True)
class PreparedSearch:
    """A search whose files are read and checked."""

    id: str
    name: str
    #: All that makes two searches the same one, as plain data.
    parameters: dict[str, Any]
    request: SearchRequest
    terms: TrialSettings
    #: An architecture with every model of the space.
    all_models: Architecture
    forecast: RowEstimator | None

    @classmethod
    def from_options(cls, options: SearchOptions, datasets: Sequence[Dataset]) -> "PreparedSearch":
        """Read and check the space, the metric and the rows of the open ``datasets``.

        Raises:
            InputError: something is missing or invalid.
        """
        space, document = read_space(find_space(options.space))
        metric = parse_metric(options.metric)
        reference = options.reference or ("answer" if metric.needs_reference else None)
        all_models = architecture_of_all_models(space)
        with document.locate_errors(ArchitectureError):
            prices = model_prices(all_models, allow_unpriced=options.allow_unpriced)
        if options.budget is not None and None in prices.values():
            raise InputError("--budget: it cannot hold, since a model has no price; give it one")
        uses_usd = options.pareto or (options.weight and options.amount == "usd")
        if uses_usd and None in prices.values():
            raise InputError(
                "--lambda and --pareto need USD, and a model has no price; give it one"
            )
        dev, held_out = _split_datasets(datasets, options.dev, options.seed)
        validate_references([*dev, *held_out], metric, reference)
        held_out = held_out[: options.held_out]
        # Limits such as the number of trials are no part of a search's identity.
        parameters = {
            "datasets": list(options.datasets),
            "space": space.model_dump(mode="json", exclude_none=True),
            "metric": options.metric,
            "reference": reference,
            "algorithm": options.algorithm,
            "dev_rows": len(dev),
            "held_out_rows": len(held_out),
            "seed": options.seed,
            "at_once": options.at_once,
            "weight": options.weight,
            "amount": options.amount,
            "pareto": options.pareto,
            "worst": options.worst,
            "halving": options.halving,
        }
        key = submit_key(parameters, [dataset.digest for dataset in datasets])[:12]
        name = options.name or f"search-{space.name}-{key[:6]}"
        dataset_names = ", ".join(options.datasets)
        if options.algorithm == "bayes":
            check_optuna_installed()
        return cls(
            key,
            name,
            parameters,
            SearchRequest(
                space,
                ALGORITHMS[options.algorithm],
                trials=options.trials,
                at_once=options.at_once,
                dev=dev,
                held_out=held_out,
                seed=options.seed,
                weight=options.weight,
                amount=options.amount,
                worst=options.worst,
                pareto=options.pareto,
                patience=options.patience,
                finalists=options.finalists,
                halving=options.halving,
            ),
            TrialSettings(key, name, dataset_names, metric, reference, prices, options.budget),
            all_models,
            make_row_estimator(
                space, prices, DatasetSize.from_questions(row.question for row in dev)
            ),
        )


def _split_datasets(
    datasets: Sequence[Dataset], dev_share: float, seed: int
) -> tuple[list[SearchRow], list[SearchRow]]:
    """Dev and held-out rows; rows of several datasets alternate."""
    dev_parts, held_out_parts = [], []
    for index, dataset in enumerate(datasets):
        dataset.check()
        prefix = f"{index}/" if len(datasets) > 1 else ""
        rows = [
            SearchRow(f"{prefix}{row.id}", row.question, row.extras, index)
            for row in dataset.rows()
            if row.reason is None
        ]
        if len(rows) < 2:  # noqa: PLR2004
            raise InputError(
                f"{dataset.name}: a search needs at least two valid rows: one to search by, one to "
                "hold out"
            )
        dev, held_out = split_rows(rows, dev_share, seed)
        dev_parts.append(dev)
        held_out_parts.append(held_out)
    return _interleave(dev_parts), _interleave(held_out_parts)


def _interleave(parts: Sequence[Sequence[SearchRow]]) -> list[SearchRow]:
    return [row for row in chain.from_iterable(zip_longest(*parts)) if row is not None]
