"""``archon-batch jobs``."""

import click

from archon_batch import report
from archon_batch.cli import room
from archon_batch.cli.tables import money, print_json, print_table


@click.command()
@room.json_option
def jobs(as_json: bool) -> None:
    """List the jobs, the newest first."""
    with room.store() as store:
        listed = report.jobs(store)
    if as_json:
        print_json(listed)
        return
    if not listed:
        click.echo("no jobs yet; archon-batch submit makes one")
        return
    print_table(
        ("job", "name", "state", "rows", "answered", "given up", "paid"),
        [
            (
                j["job"],
                j["name"],
                j["state"],
                j["rows"],
                j["answered"],
                j["given_up"],
                money(j["usd"]),
            )
            for j in listed
        ],
    )
