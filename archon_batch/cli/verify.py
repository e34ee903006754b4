"""``archon-batch verify``."""

from dataclasses import asdict

import click

from archon_batch.cli import options
from archon_batch.cli.tables import print_json, print_table
from archon_batch.config import component_types
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.jobs.verify import verify_job as checks_of


@click.command()
@click.argument("job")
@options.json_option
def verify(job: str, as_json: bool) -> int:
    """Add up every entry of JOB again, and work out every answer again.

    Exit status 3 when something does not hold; nothing is changed.
    """
    with options.open_store(spool=True) as store:
        found = store.jobs.find(job)
        checks = list(checks_of(store, found, load_frozen_job(found, component_types())))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [("holds" if check.ok else "WRONG", check.name, check.detail) for check in checks]
        print_table(("", "what", "found"), rows)
    return 0 if all(check.ok for check in checks) else 3
