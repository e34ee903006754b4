"""``archon-batch status``."""

import click

from archon_batch.application.run import follow_job
from archon_batch.cli import options
from archon_batch.cli.progress import EventPrinter, result_status
from archon_batch.cli.tables import print_json, summary_lines
from archon_batch.cli.terminal_page import echo
from archon_batch.jobs import views


@click.command()
@click.argument("job")
@click.option("--follow", "wait", is_flag=True, help="Show the progress until the job ends.")
@options.json_option
def status(job: str, wait: bool, as_json: bool) -> int:
    """Show the progress of JOB (id, name, or a unique prefix of either)."""
    with options.open_store() as store, EventPrinter() as report:
        stored_job = store.jobs.find(job)
        exit_code = result_status(follow_job(store, stored_job, report)) if wait else 0
        figures = views.job_status(store, stored_job)
    if as_json:
        print_json(figures)
    if as_json or wait:
        return exit_code
    echo(f"{figures['job']}  {figures['name']}  {figures['state']}")
    if figures["reason"]:
        echo(figures["reason"])
    for line in summary_lines(figures):
        echo(line)
    return 0
