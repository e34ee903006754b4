"""``archon-batch rehearse``."""

import hashlib
import json
import secrets

import click

from archon_batch.application.prepare import load_priced, validate_provider_access
from archon_batch.application.run import interruptible
from archon_batch.archon import Architecture, Message, Question
from archon_batch.cli import options
from archon_batch.cli.item_view import print_item
from archon_batch.cli.progress import exit_status
from archon_batch.cli.tables import print_json, stderr
from archon_batch.engine.in_process import run_first_shard as run
from archon_batch.engine.runtime import Runtime
from archon_batch.jobs import views
from archon_batch.money import NanoUsd, Price
from archon_batch.store import NewItem, NewJob


@click.command()
@click.argument("prompt")
@options.arch_option
@click.option("--budget", type=options.UsdParam(), help="The most it may spend, in USD.")
@click.option("--no-cache", is_flag=True, help="Pay again for replies that were paid for before.")
@click.option("--allow-unpriced", is_flag=True, help="Call models whose price nobody knows.")
@click.option("--full", is_flag=True, help="Show every text to its end.")
@options.json_option
def rehearse(
    prompt: str,
    arch: str,
    budget: NanoUsd | None,
    no_cache: bool,
    allow_unpriced: bool,
    full: bool,
    as_json: bool,
) -> int:
    """Run one PROMPT through an architecture in this process, and show what each component did.

    The calls are real, and on the ledger like any others, as a job of one row.
    """
    settings = options.load_settings()
    architecture, prices = load_priced(arch, allow_unpriced=allow_unpriced)
    validate_provider_access(architecture)
    here = Runtime(settings)
    try:
        new = _new_job(prompt, architecture, prices, budget, reuse=not no_cache)
        question = Question("1", (Message("user", prompt),))
        job, _ = here.store.jobs.get_or_create(new, [NewItem("1", question, {})])
        here.store.jobs.change_state(job.id, "running", from_states=["paused", "stopped"])
        with interruptible():
            job = run(here, job)
        figures = views.item_details(here.store, job, here.store.item_results.get(job.id, "1"))
    finally:
        here.close()
    if as_json:
        print_json(figures)
    else:
        print_item(figures, full=full)
    if job.state != "done":
        stderr.print(f"{job.state}: {job.reason}")
    return exit_status(job.state, given_up=figures["status"] == "failed")


def _new_job(
    prompt: str,
    architecture: Architecture,
    prices: dict[str, Price | None],
    budget: NanoUsd | None,
    *,
    reuse: bool,
) -> NewJob:
    # Without the store of completions a rehearsal is one of its own each time.
    fresh = None if reuse else secrets.token_hex(8)
    identity = json.dumps(["rehearsal", prompt, architecture.to_dict(), fresh], sort_keys=True)
    return NewJob(
        submit_key=hashlib.sha256(identity.encode()).hexdigest(),
        name=f"rehearsal-{architecture.name}",
        dataset="(rehearsal)",
        architecture=architecture.to_dict(),
        prices=prices,
        options={"reuse": reuse, "windows": dict(architecture.context_windows)},
        shard_size=1,
        concurrent_shards=1,
        budget=budget,
    )
