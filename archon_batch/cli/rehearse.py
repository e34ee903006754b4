"""``archon-batch rehearse``."""

import click

from archon_batch.application.prepare import load_priced, validate_provider_access
from archon_batch.application.prompt_run import run_prompt
from archon_batch.cli import options
from archon_batch.cli.item_view import print_item
from archon_batch.cli.progress import EventPrinter, exit_status
from archon_batch.cli.tables import print_json, stderr
from archon_batch.engine.stop_signals import interruptible
from archon_batch.money import NanoUsd


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
    with EventPrinter() as report, interruptible():
        architecture, prices = load_priced(arch, allow_unpriced=allow_unpriced, report=report)
        validate_provider_access(settings, architecture, report)
        job, figures = run_prompt(
            settings, prompt, architecture, prices, budget=budget, reuse=not no_cache
        )
    if as_json:
        print_json(figures)
    else:
        print_item(figures, full=full)
    if job.state != "done":
        stderr.print(f"{job.state}: {job.reason}")
    return exit_status(job.state, figures["status"] == "failed")
