"""``archon-batch search``."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, cast, get_args

import click

from archon_batch import findings
from archon_batch.archon import Architecture, nearest
from archon_batch.cli import room
from archon_batch.cli.found import print_found, print_status
from archon_batch.cli.order import refuse_uncallable
from archon_batch.cli.searching import conducted
from archon_batch.cli.tables import aside, print_json
from archon_batch.dataset import Dataset, Reading
from archon_batch.errors import ArchitectureError, ArchonBatchError, InputError
from archon_batch.files import find_space, metric_kinds, read_space
from archon_batch.forecast import Load
from archon_batch.itas import Plan, Search, everyone_in, foreseen_by
from archon_batch.ledger import NanoUsd
from archon_batch.report import dollars
from archon_batch.scoring import Metric
from archon_batch.search import ALGORITHMS, Foreseen, Name, split
from archon_batch.store import Store
from archon_batch.submit import price_list
from archon_batch.trials import (
    Amount,
    Case,
    InterruptedSearchError,
    Terms,
    Trials,
    refuse_unscorable,
)

_AMOUNTS: tuple[Amount, ...] = get_args(Amount)


class _Group(click.Group):
    """Whose first word is a dataset unless it is one of its commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group)
def search() -> None:
    r"""Look for the best architecture for DATASET within a space.

    \b
    archon-batch search DATASET --space SPACE --metric METRIC ...   (search run --help)
    archon-batch search status                                     the searches
    archon-batch search show SEARCH                                what one found
    """


@search.command()
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True)
@click.option("--space", required=True, metavar="SPACE", help="A path, or a name in jobs/searches.")
@click.option("--metric", required=True, metavar="NAME", help="What answers are scored by.")
@click.option(
    "--reference", default="answer", show_default=True, metavar="FIELD",
    help="The rows' field with what is right.",
)  # fmt: skip
@click.option("--budget", type=room.Usd(), help="The most that all of it may spend, in USD.")
@click.option(
    "--algorithm", type=click.Choice(list(ALGORITHMS)), default="bayes", show_default=True
)
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, metavar="N")
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N",
    help="Trials side by side.",
)  # fmt: skip
@click.option(
    "--dev", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.2,
    show_default=True, metavar="SHARE", help="Of the rows, to search by; the rest is held out.",
)  # fmt: skip
@click.option("--held-out", type=click.IntRange(1), metavar="N", help="Held-out rows at the most.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--lambda", "weight", type=click.FloatRange(0), default=0.0, metavar="X",
    help="What a unit of cost takes off a row's score.",
)  # fmt: skip
@click.option(
    "--cost", "amount", type=click.Choice(_AMOUNTS), default="usd", show_default=True,
    help="The unit of --lambda, a row.",
)  # fmt: skip
@click.option("--pareto", is_flag=True, help="Look for the front of score and USD.")
@click.option("--worst", is_flag=True, help="Of several datasets the worst counts, not the mean.")
@click.option("--patience", type=click.IntRange(1), metavar="N", help="End after N trials in vain.")
@click.option(
    "--finalists", type=click.IntRange(1), default=3, show_default=True, metavar="N",
    help="Architectures that are run on held-out rows.",
)  # fmt: skip
@click.option("--no-halving", is_flag=True, help="Run every trial on all dev rows.")
@click.option("--name", help="A name of your own for the search.")
@click.option("--allow-unpriced", is_flag=True, help="Call models whose price nobody knows.")
@click.option("-o", "--output", type=Path, metavar="FOLDER", help="Default: the search's name.")
@room.rows_options
@room.json_option
def run(
    datasets: tuple[str, ...],
    space: str,
    metric: str,
    reference: str,
    budget: NanoUsd | None,
    allow_unpriced: bool,
    name: str | None,
    output: Path | None,
    algorithm: str,
    reading: Reading,
    as_json: bool,
    **more: Any,  # noqa: ANN401  (what only the plan has a use for)
) -> int:
    """Look for the best architecture for the datasets: trials are jobs, and share completions.

    The same command again goes on where it was, and pays for nothing twice. SPACE says what is
    looked at; archon-batch check SPACE counts it.
    """
    settings = room.settings()
    given = _Given(datasets, space, metric, reference, cast("Name", algorithm), budget, name, more)
    with ExitStack() as stack:
        rows = [stack.enter_context(Dataset.open(one, reading)) for one in datasets]
        order = _Order.of(given, rows, allow_unpriced=allow_unpriced)
    if settings.embedded:
        refuse_uncallable(order.everyone)
    with conducted(settings) as (store, run_jobs):
        return _run(store, order, run_jobs, output, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Given:
    datasets: tuple[str, ...]
    space: str
    metric: str
    reference: str
    algorithm: Name
    budget: NanoUsd | None
    name: str | None
    more: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Order:
    """What was asked for, read and checked."""

    id: str
    name: str
    asked: dict[str, Any]
    plan: Plan
    terms: Terms
    everyone: Architecture
    foreseen: Foreseen | None

    @classmethod
    def of(cls, given: _Given, rows: Sequence[Dataset], *, allow_unpriced: bool) -> "_Order":
        """Read and check all that is named, before anything is stored.

        Raises:
            InputError: something is wrong.
        """
        more = dict(given.more)
        path = find_space(given.space)
        space, document = read_space(path)
        metric = _metric(given.metric)
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
        refuse_unscorable([*dev, *held_out], metric, given.reference)
        most = more.pop("held_out")
        held_out = held_out[:most]
        # What makes two searches one; how long it may go on is no part of it.
        asked = {
            "datasets": list(given.datasets),
            "space": space.model_dump(mode="json", exclude_none=True),
            "metric": given.metric,
            "reference": given.reference,
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
        terms = Terms(search, name, dataset, metric, given.reference, prices, given.budget)
        return cls(
            search,
            name,
            asked,
            plan,
            terms,
            everyone,
            foreseen_by(space, prices, Load.of(case.question for case in dev)),
        )


def _run(store: Store, order: _Order, run_jobs: Any, output: Path | None, *, as_json: bool) -> int:  # noqa: ANN401
    plan, searches = order.plan, store.searches
    is_new = searches.begin(order.id, order.name, order.asked, order.terms.budget)
    said = "" if is_new else "; it goes on where it was"
    aside.print(f"search {order.id} ({order.name}): {len(plan.dev)} dev rows, "
                f"{len(plan.held_out)} held out{said}")  # fmt: skip
    trials = Trials(store, order.terms, run_jobs)
    try:
        found = Search(
            trials,
            plan,
            foreseen=order.foreseen,
            record=partial(searches.put, order.id),
            tell=aside.print,
        ).run()
    except (InterruptedSearchError, KeyboardInterrupt):
        searches.end(order.id, "interrupted", "the same command goes on", None)
        raise
    except ArchonBatchError as error:
        searches.end(order.id, "stopped", str(error), None)
        raise
    result = findings.result(found, plan.seed)
    committed = searches.committed(order.id)
    result |= {"usd": dollars(committed), "budget_usd": dollars(order.terms.budget)}
    searches.end(order.id, "paused" if found.paused else "done", found.ended, result)
    told = told_of(store, order.id)
    folder = output or Path(order.name)
    files = findings.write(folder, order.name, _provenance(order, result), told, found)
    if as_json:
        print_json(told)
    else:
        print_found(told)
    aside.print(f"{', '.join(files)} in {folder}")
    return 4 if found.paused else 0


def _provenance(order: _Order, result: dict[str, Any]) -> Iterator[str]:
    asked, winner = order.asked, result["winner"]
    yield f"Found by search {order.id} in the space {order.plan.space.name}, {asked['algorithm']},"
    yield f"seed {asked['seed']}, metric {asked['metric']}, on {', '.join(asked['datasets'])}."
    if winner is not None:
        for part in ("dev", "held_out"):
            if (mean := winner[part]) is not None:
                yield (
                    f"{part.replace('_', '-')} rows: {mean['mean']:.4f} "
                    f"({mean['low']:.4f} to {mean['high']:.4f}, {mean['rows']} rows)."
                )


@search.command()
@room.json_option
def status(as_json: bool) -> None:
    """List the searches, and how far each is."""
    settings = room.settings()
    with room.store(settings) as store:
        told = [
            {
                **_head(store, one.id),
                "trials": len([t for t in store.searches.trials(one.id) if t.stage == "trial"]),
            }
            for one in store.searches.all()
        ]
    if as_json:
        print_json(told)
    else:
        print_status(told)


@search.command()
@click.argument("which", metavar="SEARCH")
@room.json_option
def show(which: str, as_json: bool) -> None:
    """Show what a search found, and every trial."""
    with room.store() as store:
        told = told_of(store, store.searches.find(which).id)
    if as_json:
        print_json(told)
    else:
        print_found(told)


def _head(store: Store, search_id: str) -> dict[str, Any]:
    found = store.searches.find(search_id)
    return {
        "search": found.id,
        "name": found.name,
        "state": found.state,
        "reason": found.reason,
        "budget_usd": dollars(found.budget),
        "usd": dollars(store.searches.committed(found.id)),
        "created_at": found.created_at.isoformat(),
    }


def told_of(store: Store, search_id: str) -> dict[str, Any]:
    """A search with its trials: the shape of ``search show --json``."""
    found = store.searches.find(search_id)
    return {
        **_head(store, search_id),
        "asked": found.asked,
        "result": found.result,
        "trials": [dict(line.told) for line in store.searches.trials(search_id)],
    }


def _metric(name: str) -> Metric:
    kinds = metric_kinds()
    if name not in kinds:
        raise InputError(f"--metric: no metric {name!r}; {nearest(name, kinds)}")
    return kinds[name]()


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
