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
    """Runs ``run`` if the first word is not one of the group's commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


_EPILOG = """\b
  archon-batch search DATASET --space SPACE --metric METRIC
starts a search; search run --help has the options.
"""


@click.group(cls=_DefaultRunGroup, epilog=_EPILOG)
def search() -> None:
    """Search for the best architecture for DATASET within a space."""


@search.command(cls=options.CommandWithRenamedOptions, renamed={"--at-once": "--parallel"})
@click.argument("datasets", metavar="DATASET...", nargs=-1, required=True)
@click.option("--space", required=True, metavar="SPACE", help="A path, or a name in jobs/searches.")
@click.option(
    "--metric", required=True, metavar="NAME[:ARG]",
    help="Metric of the answers, as in score --help; not a judge.",
)  # fmt: skip
@click.option(
    "--reference", metavar="FIELD",
    help="The rows' field with the expected answer. Default: answer, if needed.",
)  # fmt: skip
@click.option("--budget", type=options.UsdParam(), help="Maximum cost of the whole search in USD.")
@click.option(
    "--algorithm", type=click.Choice(list(ALGORITHMS)), default="bayes", show_default=True
)
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, metavar="N")
@click.option(
    "--parallel", "at_once", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N",
    help="Number of concurrent trials.",
)  # fmt: skip
@click.option(
    "--dev", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.2,
    show_default=True, metavar="SHARE", help="Share of the rows used by the search; the rest is held out.",
)  # fmt: skip
@click.option(
    "--held-out", type=click.IntRange(1), metavar="N", help="Maximum number of held-out rows."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--lambda", "weight", type=click.FloatRange(0), default=0.0, metavar="X",
    help="Score penalty per unit of cost.",
)  # fmt: skip
@click.option(
    "--cost", "amount", type=click.Choice(_AMOUNTS), default="usd", show_default=True,
    help="Unit of cost for --lambda, per row.",
)  # fmt: skip
@click.option("--pareto", is_flag=True, help="Search the Pareto front of score and USD.")
@click.option(
    "--worst",
    is_flag=True,
    help="With several datasets, optimise the worst score instead of the mean.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    metavar="N",
    help="Stop after N trials without improvement.",
)
@click.option(
    "--finalists", type=click.IntRange(1), default=3, show_default=True, metavar="N",
    help="Architectures to run on held-out rows.",
)  # fmt: skip
@click.option(
    "--no-halving", is_flag=True, help="Run every trial on all dev rows, without early stopping."
)
@click.option("--name", help="Name of the search.")
@options.allow_unpriced_option
@click.option(
    "-o",
    "--output",
    type=Path,
    metavar="FOLDER",
    help="Folder of the results. Default: the search's name.",
)
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
    """Search for the best architecture for the datasets. Trials are jobs that share the cache.

    The same command again continues where it stopped and pays for nothing twice. SPACE defines
    the architectures; archon-batch check SPACE counts them.
    """
    settings = options.load_settings()
    search_options = SearchOptions(
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
        order = PreparedSearch.from_options(search_options, rows)
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
    parameters, winner = search_run.parameters, result["winner"]
    yield f"Found by search {search_run.id} in the space {search_run.request.space.name}, {parameters['algorithm']},"
    yield f"seed {parameters['seed']}, metric {parameters['metric']}, on {', '.join(parameters['datasets'])}."
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
    """List the searches with their progress."""
    settings = options.load_settings()
    with options.open_store(settings) as store:
        searches = [
            {
                **search_head(store, record.id),
                "trials": sum(t.stage == "trial" for t in store.searches.trials(record.id)),
            }
            for record in store.searches.all()
        ]
    if as_json:
        print_json(searches)
    else:
        print_search_list(searches)


@search.command()
@click.argument("which", metavar="SEARCH")
@options.json_option
def show(which: str, as_json: bool) -> None:
    """Show the result and the trials of a search."""
    with options.open_store() as store:
        figures = search_json(store, store.searches.find(which).id)
    if as_json:
        print_json(figures)
    else:
        print_search(figures)
