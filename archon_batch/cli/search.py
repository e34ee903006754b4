"""``archon-batch search``."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from archon_batch.application.prepare import validate_provider_access
from archon_batch.application.search_request import PreparedSearch, SearchOptions
from archon_batch.application.search_run import run_search, search_head, search_json
from archon_batch.cli import options
from archon_batch.cli.progress import EventPrinter
from archon_batch.cli.search_view import print_search, print_search_list
from archon_batch.cli.tables import print_json, stderr
from archon_batch.dataset import Dataset, ReadOptions
from archon_batch.engine.stop_signals import interruptible
from archon_batch.money import NanoUsd
from archon_batch.search import results
from archon_batch.search.algorithms import ALGORITHMS
from archon_batch.search.trial_jobs import CostUnit

if TYPE_CHECKING:
    from archon_batch.search.search_state import AlgorithmName

_AMOUNTS: tuple[CostUnit, ...] = get_args(CostUnit)


class _DefaultRunGroup(click.Group):
    """Whose first word is a dataset unless it is one of its commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


_EPILOG = """\b
  archon-batch search DATASET --space SPACE --metric METRIC
looks for an architecture; search run --help has the options.
"""


@click.group(cls=_DefaultRunGroup, epilog=_EPILOG)
def search() -> None:
    """Look for the best architecture for DATASET within a space."""


@search.command()
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True)
@click.option("--space", required=True, metavar="SPACE", help="A path, or a name in jobs/searches.")
@click.option(
    "--metric", required=True, metavar="NAME[:ARG]",
    help="What answers are scored by, as score --help lists them; not by a judge.",
)  # fmt: skip
@click.option(
    "--reference", metavar="FIELD",
    help="The rows' field with what is right; default: answer, if the metric needs one.",
)  # fmt: skip
@click.option(
    "--budget", type=options.UsdParam(), help="The most that all of it may spend, in USD."
)
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
@options.dataset_options
@options.json_option
def run(
    datasets: tuple[str, ...],
    space: str,
    metric: str,
    reference: str | None,
    budget: NanoUsd | None,
    allow_unpriced: bool,
    name: str | None,
    output: Path | None,
    algorithm: str,
    read_options: ReadOptions,
    as_json: bool,
    **more: Any,  # noqa: ANN401  (what only the plan has a use for)
) -> int:
    """Look for the best architecture for the datasets: trials are jobs, and share completions.

    The same command again goes on where it was, and pays for nothing twice. SPACE says what is
    looked at; archon-batch check SPACE counts it.
    """
    settings = options.load_settings()
    given = SearchOptions(
        datasets,
        space,
        metric,
        reference,
        cast("AlgorithmName", algorithm),
        budget,
        name,
        allow_unpriced=allow_unpriced,
        halving=not more.pop("no_halving"),
        **more,
    )
    with ExitStack() as stack:
        rows = [stack.enter_context(Dataset.open(one, read_options)) for one in datasets]
        order = PreparedSearch.from_options(given, rows)
    with EventPrinter() as report, interruptible():
        if settings.in_process:
            validate_provider_access(settings, order.all_models, report)
        ended = run_search(settings, order, report)
    folder = output or Path(order.name)
    files = results.write_results(
        folder, order.name, _provenance(order, ended.result), ended.figures, ended.found
    )
    if as_json:
        print_json(ended.figures)
    else:
        print_search(ended.figures)
    stderr.print(f"{', '.join(files)} in {folder}")
    if ended.found.is_budget_exhausted:
        return 4
    return 1 if ended.found.winner is None else 0


def _provenance(search_run: PreparedSearch, result: dict[str, Any]) -> Iterator[str]:
    asked, winner = search_run.parameters, result["winner"]
    yield f"Found by search {search_run.id} in the space {search_run.request.space.name}, {asked['algorithm']},"
    yield f"seed {asked['seed']}, metric {asked['metric']}, on {', '.join(asked['datasets'])}."
    if winner is not None:
        for part in ("dev", "held_out"):
            if (mean := winner[part]) is not None:
                yield (
                    f"{part.replace('_', '-')} rows: {mean['mean']:.4f} "
                    f"({mean['low']:.4f} to {mean['high']:.4f}, {mean['rows']} rows)."
                )


@search.command()
@options.json_option
def status(as_json: bool) -> None:
    """List the searches, and how far each is."""
    settings = options.load_settings()
    with options.open_store(settings) as store:
        told = [
            {
                **search_head(store, one.id),
                "trials": len([t for t in store.searches.trials(one.id) if t.stage == "trial"]),
            }
            for one in store.searches.all()
        ]
    if as_json:
        print_json(told)
    else:
        print_search_list(told)


@search.command()
@click.argument("which", metavar="SEARCH")
@options.json_option
def show(which: str, as_json: bool) -> None:
    """Show what a search found, and every trial."""
    with options.open_store() as store:
        told = search_json(store, store.searches.find(which).id)
    if as_json:
        print_json(told)
    else:
        print_search(told)
