"""``archon-batch plan``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from archon_batch.application.pilot_run import Judged, judged_by, run_pilot
from archon_batch.application.prepare import Order, prepared
from archon_batch.archon import Architecture
from archon_batch.cli import options
from archon_batch.cli.tables import money, print_json, print_table
from archon_batch.cli.terminal_page import counted, say
from archon_batch.dataset import Reading
from archon_batch.jobs.cache_preview import Found, foreseen, found_among
from archon_batch.jobs.forecast import Estimate, Forecast, total
from archon_batch.jobs.pilot_estimate import CONFIDENCE
from archon_batch.jobs.views import dollars
from archon_batch.money import NanoUsd
from archon_batch.settings import Settings
from archon_batch.store import Store

#: Rows of a pilot: fewer tell nothing of how rows differ, and more are the job.
_FEWEST, _MOST = 2, 1_000
#: How a command ends that was interrupted.
_INTERRUPTED = 130


@click.command()
@click.argument("dataset")
@options.arch_option
@click.option(
    "--pilot",
    "size",
    type=click.IntRange(_FEWEST, _MOST),
    metavar="N",
    help="Run N rows for real, and judge the others by them.",
)
@click.option("--budget", type=options.Usd(), help="The most the pilot may spend, in USD.")
@options.rows_options
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
    reading: Reading,
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
    settings = options.settings()
    order = Order(dataset, arch, reading=reading)
    pilot = judged = None
    with prepared(order, allow_unpriced=allow_unpriced) as (rows, architecture, prices):
        if size is not None:
            pilot = run_pilot(settings, rows, architecture, prices, size, budget)
            if pilot.status == _INTERRUPTED:
                return pilot.status
        with _kept(settings, no_cache=no_cache) as store:
            questions = [row.question for row in rows.rows() if row.reason is None]
            found = found_among(store, architecture, questions)
            layers = foreseen(architecture, prices, found)
            if pilot is not None and store is not None:
                left = len(questions) - found.rows
                judged = judged_by(store, architecture, prices, pilot, total(layers), left)
    if as_json:
        data = _as_data(architecture, len(questions), found, layers)
        print_json(data if judged is None else {**data, "pilot": _of_pilot(judged)})
    else:
        _print(architecture, len(questions), found, layers, judged)
    return 0 if pilot is None else pilot.status


def _print(
    architecture: Architecture,
    rows: int,
    found: Found,
    layers: list[Forecast],
    judged: Judged | None,
) -> None:
    shown = [_row(f"{n} {_types(architecture, n)}", layer) for n, layer in enumerate(layers)]
    shown.append(_row(f"{rows} rows", total(layers)))
    if judged is not None and judged.rest is not None:
        shown.append(_row(f"by the pilot of {len(judged.rows)}", judged.rest))
    print_table(("layer", "calls", "tokens in", "tokens out", "low", "expected", "high"), shown)
    if found.calls:
        say(f"{found.calls:,} calls are paid for already; {found.rows:,} rows cost nothing")
    if judged is None:
        return
    told = _of_pilot(judged)
    say(
        f"the pilot of {counted(told['rows'], 'row')} cost {money(told['usd'], told['unpriced_calls'])}",
        nl=False,
    )
    if judged.rest is None:
        say(f"; it is {told['state']}, so the others are not judged by it")
        return
    rest = told["rest"]
    say(f", {money(told['per_row_usd'])} a row, what was found included")
    say(f"the rest: {_interval(*(rest[case]['usd'] for case in ('expected', 'low', 'high')))}")
    say(f"together: {_interval(*(told[f'{c}_usd'] for c in ('expected', 'low', 'high')))}")


def _interval(expected: float | None, low: float | None, high: float | None) -> str:
    return f"{money(expected)}, with {CONFIDENCE:.0%} confidence {money(low)} to {money(high)}"


@contextmanager
def _kept(settings: Settings, *, no_cache: bool) -> Iterator[Store | None]:
    """The database that has the completions, unless there is none yet or it is not wanted."""
    if no_cache or not Store.is_there(settings.database_url):
        yield None
        return
    with options.store(settings) as store:
        yield store


def _row(name: str, figures: Forecast) -> list[object]:
    usual, most = figures.expected, figures.high
    return [
        name,
        _span(usual.calls, most.calls),
        usual.prompt_tokens,
        usual.completion_tokens,
        *(money(dollars(e.cost)) for e in (figures.low, usual, most)),
    ]


def _span(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _types(architecture: Architecture, depth: int) -> str:
    return " + ".join(component.type for component in architecture.layers[depth])


def _as_data(
    architecture: Architecture, rows: int, found: Found, layers: list[Forecast]
) -> dict[str, Any]:
    return {
        "architecture": architecture.name,
        "rows": rows,
        "found_calls": found.calls,
        "found_rows": found.rows,
        **_estimates(total(layers)),
        "layers": [
            {"layer": n, "components": _types(architecture, n), **_estimates(layer)}
            for n, layer in enumerate(layers)
        ],
    }


def _of_pilot(judged: Judged) -> dict[str, Any]:
    job, account, rest = judged.job, judged.account, judged.rest
    spent = Estimate(cost=None if account.unpriced_calls else account.cost)

    def together(case: str) -> float | None:
        return dollars((getattr(rest, case) + spent).cost) if rest else None

    return {
        "job": job.id,
        "name": job.name,
        "state": job.state,
        "rows": job.rows,
        "answered": judged.progress.answered,
        "given_up": judged.progress.given_up,
        "usd": dollars(account.cost),
        "in_doubt_usd": dollars(account.in_doubt_cost),
        "unpriced_calls": account.unpriced_calls,
        "per_row_usd": dollars(judged.per_row),
        "confidence": CONFIDENCE,
        **{f"{case}_usd": together(case) for case in ("expected", "low", "high")},
        "rest": _estimates(rest) if rest else None,
    }


def _estimates(figures: Forecast) -> dict[str, Any]:
    def told(estimate: Estimate) -> dict[str, Any]:
        return {
            "calls": estimate.calls,
            "prompt_tokens": estimate.prompt_tokens,
            "completion_tokens": estimate.completion_tokens,
            "usd": dollars(estimate.cost),
        }

    return {
        "low": told(figures.low),
        "expected": told(figures.expected),
        "high": told(figures.high),
    }
