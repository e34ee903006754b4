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

#: Fewer rows do not show how rows differ; more rows are the job itself.
_MIN_PILOT_ROWS, _MAX_PILOT_ROWS = 2, 1_000


@click.command()
@click.argument("dataset")
@options.arch_option
@click.option(
    "--pilot",
    "size",
    type=click.IntRange(_MIN_PILOT_ROWS, _MAX_PILOT_ROWS),
    metavar="N",
    help="Run N rows and extrapolate from their cost.",
)
@click.option("--budget", type=options.UsdParam(), help="Maximum cost of the pilot in USD.")
@options.dataset_options
@click.option("--no-cache", is_flag=True, help="Estimate without the completion cache.")
@options.allow_unpriced_option
@options.json_option
def plan(
    dataset: str,
    arch: str,
    size: int | None,
    budget: NanoUsd | None,
    no_cache: bool,
    allow_unpriced: bool,
    as_json: bool,
    read_options: ReadOptions,
) -> int:
    """Estimate calls, tokens and cost for DATASET. Sends nothing unless --pilot is given.

    Low: every reply is one word. Expected: replies have 300 tokens, or max_tokens if that is less.
    High: every reply has max_tokens and every call uses all its retries. Cached calls are not
    counted.

    A pilot is a job of its own, with rows spread over the dataset. It costs money; the full job
    later uses its replies from the cache. The cost of the remaining rows is extrapolated with a
    90 % confidence interval.
    """
    if size is None and budget is not None:
        raise click.UsageError("--budget limits the pilot, so it needs --pilot N")
    if size is not None and no_cache:
        raise click.UsageError("--pilot needs the cache; leave out --no-cache")
    settings = options.load_settings()
    request = JobRequest(dataset, arch, read_options=read_options)
    pilot_run = pilot = None
    with (
        run_context(settings) as report,
        prepare_inputs(request, allow_unpriced=allow_unpriced, report=report) as (
            rows,
            architecture,
            prices,
        ),
    ):
        if size is not None:
            pilot_run = run_pilot(settings, rows, architecture, prices, size, budget, report)
            if pilot_run.result.state == "interrupted":
                return result_status(pilot_run.result)
        with _open_cache(settings, no_cache=no_cache) as store:
            questions = [row.question for row in rows.rows() if row.reason is None]
            cached = preview_cache(store, architecture, questions)
            layers = forecast_uncached(architecture, prices, cached)
            if pilot_run is not None and store is not None:
                remaining_rows = len(questions) - cached.cached_rows
                pilot = evaluate_pilot(
                    store, architecture, prices, pilot_run, total_forecast(layers), remaining_rows
                )
    if as_json:
        data = _plan_json(architecture, len(questions), cached, layers)
        print_json(data if pilot is None else {**data, "pilot": _pilot_json(pilot)})
    else:
        _print(architecture, len(questions), cached, layers, pilot)
    return 0 if pilot_run is None else result_status(pilot_run.result)


def _print(
    architecture: Architecture,
    rows: int,
    cached: CachePreview,
    layers: list[Forecast],
    pilot: PilotResult | None,
) -> None:
    table = [
        _forecast_row(f"{n} {_component_types(architecture, n)}", layer)
        for n, layer in enumerate(layers)
    ]
    table.append(_forecast_row(f"{rows} rows", total_forecast(layers)))
    if pilot is not None and pilot.remaining is not None:
        table.append(_forecast_row(f"from a pilot of {len(pilot.rows)}", pilot.remaining))
    print_table(("layer", "calls", "tokens in", "tokens out", "low", "expected", "high"), table)
    if cached.cached_calls:
        echo(f"{cached.cached_calls:,} calls are cached; {cached.cached_rows:,} rows cost nothing")
    if pilot is not None:
        _print_pilot(_pilot_json(pilot))


def _print_pilot(pilot: dict[str, Any]) -> None:
    paid = format_usd(pilot["usd"], pilot["unpriced_calls"])
    text = f"the pilot of {pluralize(pilot['rows'], 'row')} cost {paid}"
    remaining = pilot["remaining"]
    if remaining is None:
        echo(f"{text}; it is {pilot['state']}, so the other rows cannot be estimated from it")
        return
    echo(f"{text}, {format_usd(pilot['per_row_usd'])} per row including cached calls")
    cases = ("expected", "low", "high")
    echo(f"remaining rows: {_format_interval(*(remaining[case]['usd'] for case in cases))}")
    echo(f"total: {_format_interval(*(pilot[f'{case}_usd'] for case in cases))}")


def _format_interval(expected: float | None, low: float | None, high: float | None) -> str:
    span = f"{format_usd(low)} to {format_usd(high)}"
    return f"{format_usd(expected)}, with {CONFIDENCE_LEVEL:.0%} confidence {span}"


@contextmanager
def _open_cache(settings: Settings, *, no_cache: bool) -> Iterator[Store | None]:
    """The store with the completion cache; None if there is no database yet, or no cache is wanted."""
    if no_cache or not Store.exists(settings.database_url):
        yield None
        return
    with options.open_store(settings) as store:
        yield store


def _forecast_row(name: str, figures: Forecast) -> list[object]:
    expected, high = figures.expected, figures.high
    return [
        name,
        _format_range(expected.calls, high.calls),
        expected.prompt_tokens,
        expected.completion_tokens,
        *(format_usd(usd_number(e.cost)) for e in (figures.low, expected, high)),
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
        "cached_calls": cached.cached_calls,
        "cached_rows": cached.cached_rows,
        **_forecast_json(total_forecast(layers)),
        "layers": [
            {"layer": n, "components": _component_types(architecture, n), **_forecast_json(layer)}
            for n, layer in enumerate(layers)
        ],
    }


def _pilot_json(pilot: PilotResult) -> dict[str, Any]:
    job, usage, remaining = pilot.job, pilot.usage, pilot.remaining
    spent = Estimate(cost=None if usage.unpriced_calls else usage.cost)

    def total_usd(case: str) -> float | None:
        return usd_number((getattr(remaining, case) + spent).cost) if remaining else None

    return {
        "job": job.id,
        "name": job.name,
        "state": job.state,
        "rows": job.rows,
        "answered": pilot.progress.answered,
        "failed": pilot.progress.failed,
        "usd": usd_number(usage.cost),
        "in_doubt_usd": usd_number(usage.in_doubt_cost),
        "unpriced_calls": usage.unpriced_calls,
        "per_row_usd": usd_number(pilot.cost_per_row),
        "confidence": CONFIDENCE_LEVEL,
        **{f"{case}_usd": total_usd(case) for case in ("expected", "low", "high")},
        "remaining": _forecast_json(remaining) if remaining else None,
    }


def _forecast_json(figures: Forecast) -> dict[str, Any]:
    def to_dict(estimate: Estimate) -> dict[str, Any]:
        return {
            "calls": estimate.calls,
            "prompt_tokens": estimate.prompt_tokens,
            "completion_tokens": estimate.completion_tokens,
            "usd": usd_number(estimate.cost),
        }

    return {
        "low": to_dict(figures.low),
        "expected": to_dict(figures.expected),
        "high": to_dict(figures.high),
    }
