"""``archon-batch jobs``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from archon_batch.cli import options
from archon_batch.cli.tables import format_usd, print_json, print_table
from archon_batch.cli.terminal_page import echo
from archon_batch.jobs import views


@click.command()
@click.option("--all", "every", is_flag=True, help="Include the jobs of searches.")
@options.json_option
def jobs(every: bool, as_json: bool) -> None:
    """List the jobs, newest first, and the problems of scheduled runs.

    A search is one line; --all also lists the jobs of its trials.
    """
    with options.open_store() as store:
        listed = views.list_jobs(store, include_search_jobs=every)
    if as_json:
        print_json(listed)
        return
    if not listed:
        echo("no jobs yet; archon-batch submit creates one")
        return
    print_table(
        ("job", "name", "state", "rows", "answered", "failed", "paid"),
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
    for run in (entry["scheduled_run"] for entry in listed if entry["scheduled_run"]):
        if run["reason"] is not None and run["state"] != "cancelled":
            why = " ".join(run["reason"].split())
            yield f"scheduled run of {run['file']} on {run['date']}: {run['state']}: {why}"
