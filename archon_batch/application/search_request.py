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
from archon_batch.evaluation.metric_plugins import metric_of
from archon_batch.itas import Plan, everyone_in, foreseen_by
from archon_batch.jobs.forecast import Load
from archon_batch.jobs.submit import price_list
from archon_batch.money import NanoUsd
from archon_batch.search import ALGORITHMS, Foreseen, Name, split
from archon_batch.search.space_file import find_space, read_space
from archon_batch.search.trial_jobs import Case, Terms, refuse_unscorable


@dataclass(frozen=True, slots=True)
class Given:
    datasets: tuple[str, ...]
    space: str
    metric: str
    reference: str | None
    algorithm: Name
    budget: NanoUsd | None
    name: str | None
    more: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SearchOrder:
    """What was asked for, read and checked."""

    id: str
    name: str
    asked: dict[str, Any]
    plan: Plan
    terms: Terms
    everyone: Architecture
    foreseen: Foreseen | None

    @classmethod
    def of(cls, given: Given, rows: Sequence[Dataset], *, allow_unpriced: bool) -> "SearchOrder":
        """Read and check all that is named, before anything is stored.

        Raises:
            InputError: something is wrong.
        """
        more = dict(given.more)
        path = find_space(given.space)
        space, document = read_space(path)
        metric = metric_of(given.metric)
        reference = given.reference or ("answer" if metric.needs_reference else None)
        everyone = everyone_in(space)
        with document.blamed(ArchitectureError):
            prices = price_list(everyone, allow_unpriced=allow_unpriced)
        if given.budget is not None and None in prices.values():
            raise InputError("--budget: it cannot hold, since a model has no price; give it one")
        by_usd = more["pareto"] or (more["weight"] and more["amount"] == "usd")
        if by_usd and None in prices.values():
            raise InputError(
                "--lambda and --pareto go by USD, and a model has no price; give it one"
            )
        dev, held_out = _split(rows, more.pop("dev"), more["seed"])
        refuse_unscorable([*dev, *held_out], metric, reference)
        most = more.pop("held_out")
        held_out = held_out[:most]
        # What makes two searches one; how long it may go on is no part of it.
        asked = {
            "datasets": list(given.datasets),
            "space": space.model_dump(mode="json", exclude_none=True),
            "metric": given.metric,
            "reference": reference,
            "algorithm": given.algorithm,
            "dev_rows": len(dev),
            "held_out_rows": len(held_out),
            **{k: more[k] for k in ("seed", "at_once", "weight", "amount", "pareto", "worst")},
            "halving": not more["no_halving"],
        }
        digests = [dataset.digest for dataset in rows]
        identity = json.dumps([asked, digests], sort_keys=True)
        search = hashlib.sha256(identity.encode()).hexdigest()[:12]
        plan = Plan(
            space, ALGORITHMS[given.algorithm], dev=dev, held_out=held_out,
            halving=not more.pop("no_halving"), **more,
        )  # fmt: skip
        name = given.name or f"search-{space.name}-{search[:6]}"
        dataset = ", ".join(given.datasets)
        terms = Terms(search, name, dataset, metric, reference, prices, given.budget)
        return cls(
            search,
            name,
            asked,
            plan,
            terms,
            everyone,
            foreseen_by(space, prices, Load.of(case.question for case in dev)),
        )


def _split(rows: Sequence[Dataset], share: float, seed: int) -> tuple[list[Case], list[Case]]:
    """Dev and held-out rows of all datasets, in turns."""
    devs, others = [], []
    for origin, dataset in enumerate(rows):
        dataset.check()
        few = f"{origin}/" if len(rows) > 1 else ""
        cases = [
            Case(f"{few}{row.id}", row.question, row.extras, origin)
            for row in dataset.rows()
            if row.reason is None
        ]
        if len(cases) < 2:  # noqa: PLR2004
            raise InputError(
                f"{dataset.name}: a search needs rows to look by, and rows to hold out"
            )
        dev, held_out = split(cases, share, seed)
        devs.append(dev)
        others.append(held_out)
    return _in_turns(devs), _in_turns(others)


def _in_turns(parts: Sequence[Sequence[Case]]) -> list[Case]:
    return [case for case in chain.from_iterable(zip_longest(*parts)) if case is not None]
