"""``archon-batch status``."""

import click

from archon_batch.cli import options
from archon_batch.cli.progress import follow
from archon_batch.cli.tables import account_lines, print_json
from archon_batch.cli.terminal_page import say
from archon_batch.jobs import views


@click.command()
@click.argument("job")
@click.option("--follow", "wait", is_flag=True, help="Watch until the job ends.")
@options.json_option
def status(job: str, wait: bool, as_json: bool) -> int:
    """Say how far JOB is: an id, a name, or the beginning of one."""
    with options.store() as store:
        found = store.jobs.find(job)
        ended = follow(store, found) if wait else 0
        figures = views.status(store, found)
    if as_json:
        print_json(figures)
    if as_json or wait:
        return ended
    say(f"{figures['job']}  {figures['name']}  {figures['state']}")
    if figures["reason"]:
        say(figures["reason"])
    for line in account_lines(figures):
        say(line)
    return 0
