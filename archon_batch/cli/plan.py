"""``archon-batch plan``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from archon_batch.application.pilot_run import PilotResult, evaluate_pilot, run_pilot
from archon_batch.application.prepare import JobRequest, prepare_inputs
from archon_batch.archon import Architecture
from archon_batch.cli import options
from archon_batch.cli.progress import result_status, run_context
from archon_batch.cli.tables import format_usd, print_json, print_table
from archon_batch.cli.terminal_page import echo, pluralize
from archon_batch.dataset import ReadOptions
from archon_batch.jobs.cache_preview import CachePreview, forecast_uncached, preview_cache
from archon_batch.jobs.forecast import Estimate, Forecast, total_forecast
from archon_batch.jobs.pilot_estimate import CONFIDENCE_LEVEL
from archon_batch.jobs.views import usd_number
from archon_batch.money import NanoUsd
from archon_batch.settings import Settings
from archon_batch.store import Store

#: Rows of a pilot: fewer tell nothing of how rows differ, and more are the job.
_MIN_PILOT_ROWS, _MAX_PILOT_ROWS = 2, 1_000


@click.command()
@click.argument("dataset")
@options.arch_option
@click.option(
    "--pilot",
    "size",
    type=click.IntRange(_MIN_PILOT_ROWS, _MAX_PILOT_ROWS),
    metavar="N",
    help="Run N rows for real, and judge the others by them.",
)
@click.option("--budget", type=options.UsdParam(), help="The most the pilot may spend, in USD.")
@options.dataset_options
@click.option("--no-cache", is_flag=True, help="Foresee paying again for replies that are kept.")
@click.option("--allow-unpriced", is_flag=True, help="Accept models whose price nobody knows.")
@options.json_option
def plan(
    dataset: str,
    arch: str,
    size: int | None,
    budget: NanoUsd | None,
    no_cache: bool,
    allow_unpriced: bool,
    as_json: bool,
    reading: ReadOptions,
) -> int:
    """Foresee what DATASET will take; send nothing without --pilot.

    Low: every reply is a word. Expected: replies of 300 tokens where nothing bounds them. High:
    every reply is as long as max_tokens lets it be, and is asked for as often as retries allow.
    Replies that were paid for before, and would be found again, are taken off.

    A pilot is a job of its own, of rows from all over the dataset. It costs money, and what it
    paid for is found again by the job itself. What the rest will take is told by it with a 90 %
    interval.
    """
    if size is None and budget is not None:
        raise click.UsageError("--budget is what a pilot may spend; it needs --pilot N")
    if size is not None and no_cache:
        raise click.UsageError("a job finds what its --pilot paid for; leave out --no-cache")
    settings = options.load_settings()
    order = JobRequest(dataset, arch, read_options=reading)
    pilot = judged = None
    with (
        run_context(settings) as report,
        prepare_inputs(order, allow_unpriced=allow_unpriced, report=report) as (
            rows,
            architecture,
            prices,
        ),
    ):
        if size is not None:
            pilot = run_pilot(settings, rows, architecture, prices, size, budget, report)
            if pilot.result.state == "interrupted":
                return result_status(pilot.result)
        with _open_cache(settings, no_cache=no_cache) as store:
            questions = [row.question for row in rows.rows() if row.reason is None]
            found = preview_cache(store, architecture, questions)
            layers = forecast_uncached(architecture, prices, found)
            if pilot is not None and store is not None:
                left = len(questions) - found.cached_rows
                judged = evaluate_pilot(
                    store, architecture, prices, pilot, total_forecast(layers), left
                )
    if as_json:
        data = _plan_json(architecture, len(questions), found, layers)
        print_json(data if judged is None else {**data, "pilot": _pilot_json(judged)})
    else:
        _print(architecture, len(questions), found, layers, judged)
    return 0 if pilot is None else result_status(pilot.result)


def _print(
    architecture: Architecture,
    rows: int,
    cached: CachePreview,
    layers: list[Forecast],
    pilot: PilotResult | None,
) -> None:
    shown = [
        _forecast_row(f"{n} {_component_types(architecture, n)}", layer)
        for n, layer in enumerate(layers)
    ]
    shown.append(_forecast_row(f"{rows} rows", total_forecast(layers)))
    if pilot is not None and pilot.remaining is not None:
        shown.append(_forecast_row(f"by the pilot of {len(pilot.rows)}", pilot.remaining))
    print_table(("layer", "calls", "tokens in", "tokens out", "low", "expected", "high"), shown)
    if cached.cached_calls:
        echo(
            f"{cached.cached_calls:,} calls are paid for already; {cached.cached_rows:,} rows cost nothing"
        )
    if pilot is None:
        return
    told = _pilot_json(pilot)
    echo(
        f"the pilot of {pluralize(told['rows'], 'row')} cost {format_usd(told['usd'], told['unpriced_calls'])}",
        nl=False,
    )
    if pilot.remaining is None:
        echo(f"; it is {told['state']}, so the others are not judged by it")
        return
    rest = told["rest"]
    echo(f", {format_usd(told['per_row_usd'])} a row, what was found included")
    echo(
        f"the rest: {_format_interval(*(rest[case]['usd'] for case in ('expected', 'low', 'high')))}"
    )
    echo(f"together: {_format_interval(*(told[f'{c}_usd'] for c in ('expected', 'low', 'high')))}")


def _format_interval(expected: float | None, low: float | None, high: float | None) -> str:
    return f"{format_usd(expected)}, with {CONFIDENCE_LEVEL:.0%} confidence {format_usd(low)} to {format_usd(high)}"


@contextmanager
def _open_cache(settings: Settings, *, no_cache: bool) -> Iterator[Store | None]:
    """The database that has the completions, unless there is none yet or it is not wanted."""
    if no_cache or not Store.exists(settings.database_url):
        yield None
        return
    with options.open_store(settings) as store:
        yield store


def _forecast_row(name: str, figures: Forecast) -> list[object]:
    usual, most = figures.expected, figures.high
    return [
        name,
        _format_range(usual.calls, most.calls),
        usual.prompt_tokens,
        usual.completion_tokens,
        *(format_usd(usd_number(e.cost)) for e in (figures.low, usual, most)),
    ]


def _format_range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _component_types(architecture: Architecture, depth: int) -> str:
    return " + ".join(component.type for component in architecture.layers[depth])


def _plan_json(
    architecture: Architecture, rows: int, cached: CachePreview, layers: list[Forecast]
) -> dict[str, Any]:
    return {
        "architecture": architecture.name,
        "rows": rows,
        "found_calls": cached.cached_calls,
        "found_rows": cached.cached_rows,
        **_forecast_json(total_forecast(layers)),
        "layers": [
            {"layer": n, "components": _component_types(architecture, n), **_forecast_json(layer)}
            for n, layer in enumerate(layers)
        ],
    }


def _pilot_json(pilot: PilotResult) -> dict[str, Any]:
    job, account, rest = pilot.job, pilot.usage, pilot.remaining
    spent = Estimate(cost=None if account.unpriced_calls else account.cost)

    def together(case: str) -> float | None:
        return usd_number((getattr(rest, case) + spent).cost) if rest else None

    return {
        "job": job.id,
        "name": job.name,
        "state": job.state,
        "rows": job.rows,
        "answered": pilot.progress.answered,
        "failed": pilot.progress.failed,
        "usd": usd_number(account.cost),
        "in_doubt_usd": usd_number(account.in_doubt_cost),
        "unpriced_calls": account.unpriced_calls,
        "per_row_usd": usd_number(pilot.cost_per_row),
        "confidence": CONFIDENCE_LEVEL,
        **{f"{case}_usd": together(case) for case in ("expected", "low", "high")},
        "rest": _forecast_json(rest) if rest else None,
    }


def _forecast_json(figures: Forecast) -> dict[str, Any]:
    def told(estimate: Estimate) -> dict[str, Any]:
        return {
            "calls": estimate.calls,
            "prompt_tokens": estimate.prompt_tokens,
            "completion_tokens": estimate.completion_tokens,
            "usd": usd_number(estimate.cost),
        }

    return {
        "low": told(figures.low),
        "expected": told(figures.expected),
        "high": told(figures.high),
    }
