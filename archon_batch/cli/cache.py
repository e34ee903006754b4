"""``archon-batch cache``."""

import re
from datetime import timedelta
from typing import Any

import click

from archon_batch.cli import options
from archon_batch.cli.tables import format_usd, print_json, print_table, stderr
from archon_batch.jobs import views
from archon_batch.store import now

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class AgeParam(click.ParamType[timedelta]):
    """A length of time, such as ``30d`` or ``12h``."""

    name = "age"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        parts = re.fullmatch(r"(\d{1,5})([mhdw])", str(value))
        if parts is None:
            why = f"expected a number and m, h, d or w, such as 30d; found {value!r}"
            self.fail(why, param, ctx)
        return timedelta(**{_UNITS[parts[2]]: int(parts[1])})


@click.group()
def cache() -> None:
    """Show or purge the completion cache: paid replies that any job may use again."""


@cache.command()
@options.json_option
def stats(as_json: bool) -> None:
    """Show the cached completions by model."""
    with options.open_store() as store:
        figures = views.cache_stats(store)
    if as_json:
        print_json(figures)
        return
    header = ("model", "completions", "characters", "paid", "oldest", "newest")
    rows = [
        [model["model"], model["completions"], model["characters"], format_usd(model["usd"])]
        + [model[end][:10] for end in ("oldest", "newest")]
        for model in figures
    ]
    print_table(header, rows)


@cache.command()
@click.option("--older-than", type=AgeParam(), required=True, metavar="AGE", help="30d, 12h, ...")
@click.option("--model", metavar="NAME", help="Purge only this model, by its litellm name.")
def purge(older_than: timedelta, model: str | None) -> None:
    """Delete old completions. Jobs keep their answers; later jobs pay for these calls again."""
    with options.open_store() as store:
        count = store.completion_cache.purge(now() - older_than, model)
    stderr.print(f"{count:,} completions deleted")
