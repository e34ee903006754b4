"""``archon-batch verify``."""

import click

from archon_batch.cli import options
from archon_batch.cli.tables import print_json, print_table
from archon_batch.config import component_types
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.jobs.verify import verify_job


@click.command()
@click.argument("job")
@options.json_option
def verify(job: str, as_json: bool) -> int:
    """Recompute JOB's costs from its attempts and its answers from its replies.

    Changes nothing. Exit status 3 if a check fails.
    """
    with options.open_store(spool=True) as store:
        stored_job = store.jobs.find(job)
        checks = list(verify_job(store, stored_job, load_frozen_job(stored_job, component_types())))
    if as_json:
        print_json([{"check": c.name, "ok": c.ok, "detail": c.detail} for c in checks])
    else:
        rows = [("ok" if c.ok else "FAILED", c.name, c.detail) for c in checks]
        print_table(("", "check", "detail"), rows)
    return 0 if all(check.ok for check in checks) else 3
