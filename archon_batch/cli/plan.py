"""``archon-batch plan``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from archon_batch.archon import Architecture
from archon_batch.cli import room
from archon_batch.cli.order import Order, prepared
from archon_batch.cli.tables import money, print_json, print_table
from archon_batch.dataset import Reading
from archon_batch.forecast import Estimate, Forecast, total
from archon_batch.found import Found, foreseen, found_among
from archon_batch.report import dollars
from archon_batch.settings import Settings
from archon_batch.store import Store


@click.command()
@click.argument("dataset")
@room.arch_option
@room.rows_options
@click.option("--no-cache", is_flag=True, help="Foresee paying again for replies that are kept.")
@click.option("--allow-unpriced", is_flag=True, help="Accept models whose price nobody knows.")
@room.json_option
def plan(
    dataset: str,
    arch: str,
    no_cache: bool,
    allow_unpriced: bool,
    as_json: bool,
    reading: Reading,
) -> None:
    """Foresee what DATASET will take; send nothing.

    Low: every reply is a word. Expected: replies of 300 tokens where nothing bounds them. High:
    every reply is as long as max_tokens lets it be, and is asked for as often as retries allow.
    Replies that were paid for before, and would be found again, are taken off.
    """
    settings = room.settings()
    order = Order(dataset, arch, reading=reading)
    with (
        prepared(order, allow_unpriced=allow_unpriced) as (rows, architecture, prices),
        _kept(settings, no_cache=no_cache) as store,
    ):
        questions = [row.question for row in rows.rows() if row.reason is None]
        found = found_among(store, architecture, questions)
    layers = foreseen(architecture, prices, found)
    if as_json:
        print_json(_as_data(architecture, len(questions), found, layers))
        return
    shown = [_row(f"{n} {_types(architecture, n)}", layer) for n, layer in enumerate(layers)]
    header = ("layer", "calls", "tokens in", "tokens out", "low", "expected", "high")
    print_table(header, [*shown, _row(f"{len(questions)} rows", total(layers))])
    if found.calls:
        click.echo(f"{found.calls:,} calls are paid for already; {found.rows:,} rows cost nothing")


@contextmanager
def _kept(settings: Settings, *, no_cache: bool) -> Iterator[Store | None]:
    """The database that has the completions, unless there is none yet or it is not wanted."""
    if no_cache or not Store.is_there(settings.database_url):
        yield None
        return
    with room.store(settings) as store:
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
