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
    """A length of time as it is written: ``30d``, ``12h``."""

    name = "age"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        written = re.fullmatch(r"(\d{1,5})([mhdw])", str(value))
        if written is None:
            why = f"expected a number and m, h, d or w, such as 30d; found {value!r}"
            self.fail(why, param, ctx)
        return timedelta(**{_UNITS[written[2]]: int(written[1])})


@click.group()
def cache() -> None:
    """Look after the completions: replies that were paid for and are found again by any job."""


@cache.command()
@options.json_option
def stats(as_json: bool) -> None:
    """Say what is kept, by model."""
    with options.open_store() as store:
        figures = views.cache_stats(store)
    if as_json:
        print_json(figures)
        return
    header = ("model", "completions", "characters", "paid", "oldest", "newest")
    rows = [
        [one["model"], one["completions"], one["characters"], format_usd(one["usd"])]
        + [one[end][:10] for end in ("oldest", "newest")]
        for one in figures
    ]
    print_table(header, rows)


@cache.command()
@click.option("--older-than", type=AgeParam(), required=True, metavar="AGE", help="30d, 12h, ...")
@click.option("--model", metavar="NAME", help="Those of this model only, as litellm knows it.")
def purge(older_than: timedelta, model: str | None) -> None:
    """Forget completions; jobs keep their answers, and later ones pay again."""
    with options.open_store() as store:
        count = store.completion_cache.purge(now() - older_than, model)
    stderr.print(f"{count:,} completions forgotten")
