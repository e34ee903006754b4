"""``archon-batch jobs``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from archon_batch.cli import options
from archon_batch.cli.tables import format_usd, print_json, print_table
from archon_batch.cli.terminal_page import echo
from archon_batch.jobs import roster


@click.command()
@click.option("--all", "every", is_flag=True, help="List the jobs of searches too.")
@options.json_option
def jobs(every: bool, as_json: bool) -> None:
    """List the jobs, the newest first, and what is wrong with nights of job files.

    A search is one line; its trials' jobs are listed with --all.
    """
    with options.open_store() as store:
        listed = roster.list_jobs(store, include_search_jobs=every)
    if as_json:
        print_json(listed)
        return
    if not listed:
        echo("no jobs yet; archon-batch submit makes one")
        return
    print_table(
        ("job", "name", "state", "rows", "answered", "given up", "paid"),
        [
            (
                j["job"] or j["search"],
                j["name"] if j["job"] or not j["search"] else f"search {j['name']}",
                j["state"],
                j["rows"],
                j["answered"],
                j["failed"],
                None if j["usd"] is None else format_usd(j["usd"]),
            )
            for j in listed
        ],
    )
    for line in _scheduled_run_problems(listed):
        echo(line)


def _scheduled_run_problems(listed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for night in (one["night"] for one in listed if one["night"]):
        if night["reason"] is not None and night["state"] != "cancelled":
            why = " ".join(night["reason"].split())
            yield f"{night['file']} of {night['date']} {night['state']}: {why}"
