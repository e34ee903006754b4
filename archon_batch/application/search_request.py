"""What a search is asked for, from the command line, and all of it read and checked."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from archon_batch.archon import Architecture
from archon_batch.dataset import Dataset
from archon_batch.errors import ArchitectureError, InputError
from archon_batch.evaluation.metric_plugins import parse_metric
from archon_batch.jobs.forecast import DatasetSize
from archon_batch.jobs.submit import model_prices
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
from archon_batch.search.trial_jobs import SearchRow, TrialSettings, validate_references


@dataclass(frozen=True, slots=True)
class SearchOptions:
    datasets: tuple[str, ...]
    space: str
    metric: str
    reference: str | None
    algorithm: AlgorithmName
    budget: NanoUsd | None
    name: str | None
    request_options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PreparedSearch:
    """What was asked for, read and checked."""

    id: str
    name: str
    parameters: dict[str, Any]
    request: SearchRequest
    terms: TrialSettings
    all_models: Architecture
    forecast: RowEstimator | None

    @classmethod
    def from_options(
        cls, options: SearchOptions, datasets: Sequence[Dataset], *, allow_unpriced: bool
    ) -> "PreparedSearch":
        """Read and check all that is named, before anything is stored.

        Raises:
            InputError: something is wrong.
        """
        more = dict(options.request_options)
        path = find_space(options.space)
        space, document = read_space(path)
        metric = parse_metric(options.metric)
        reference = options.reference or ("answer" if metric.needs_reference else None)
        everyone = architecture_of_all_models(space)
        with document.locate_errors(ArchitectureError):
            prices = model_prices(everyone, allow_unpriced=allow_unpriced)
        if options.budget is not None and None in prices.values():
            raise InputError("--budget: it cannot hold, since a model has no price; give it one")
        by_usd = more["pareto"] or (more["weight"] and more["amount"] == "usd")
        if by_usd and None in prices.values():
            raise InputError(
                "--lambda and --pareto go by USD, and a model has no price; give it one"
            )
        dev, held_out = _split_datasets(datasets, more.pop("dev"), more["seed"])
        validate_references([*dev, *held_out], metric, reference)
        most = more.pop("held_out")
        held_out = held_out[:most]
        # What makes two searches one; how long it may go on is no part of it.
        asked = {
            "datasets": list(options.datasets),
            "space": space.model_dump(mode="json", exclude_none=True),
            "metric": options.metric,
            "reference": reference,
            "algorithm": options.algorithm,
            "dev_rows": len(dev),
            "held_out_rows": len(held_out),
            **{k: more[k] for k in ("seed", "at_once", "weight", "amount", "pareto", "worst")},
            "halving": not more["no_halving"],
        }
        digests = [dataset.digest for dataset in datasets]
        identity = json.dumps([asked, digests], sort_keys=True)
        search = hashlib.sha256(identity.encode()).hexdigest()[:12]
        if options.algorithm == "bayes":
            check_optuna_installed()
        plan = SearchRequest(
            space, ALGORITHMS[options.algorithm], dev=dev, held_out=held_out,
            halving=not more.pop("no_halving"), **more,
        )  # fmt: skip
        name = options.name or f"search-{space.name}-{search[:6]}"
        dataset = ", ".join(options.datasets)
        terms = TrialSettings(search, name, dataset, metric, reference, prices, options.budget)
        return cls(
            search,
            name,
            asked,
            plan,
            terms,
            everyone,
            make_row_estimator(
                space, prices, DatasetSize.from_questions(case.question for case in dev)
            ),
        )


def _split_datasets(
    datasets: Sequence[Dataset], dev_share: float, seed: int
) -> tuple[list[SearchRow], list[SearchRow]]:
    """Dev and held-out rows of all datasets, in turns."""
    devs, others = [], []
    for origin, dataset in enumerate(datasets):
        dataset.check()
        few = f"{origin}/" if len(datasets) > 1 else ""
        cases = [
            SearchRow(f"{few}{row.id}", row.question, row.extras, origin)
            for row in dataset.rows()
            if row.reason is None
        ]
        if len(cases) < 2:  # noqa: PLR2004
            raise InputError(
                f"{dataset.name}: a search needs rows to look by, and rows to hold out"
            )
        dev, held_out = split_rows(cases, dev_share, seed)
        devs.append(dev)
        others.append(held_out)
    return _interleave(devs), _interleave(others)


def _interleave(parts: Sequence[Sequence[SearchRow]]) -> list[SearchRow]:
    return [case for case in chain.from_iterable(zip_longest(*parts)) if case is not None]
