"""``archon-batch try``."""

import click

from archon_batch.application.prepare import load_priced, validate_provider_access
from archon_batch.application.prompt_run import run_prompt
from archon_batch.cli import options
from archon_batch.cli.item_view import print_item
from archon_batch.cli.progress import EventPrinter, exit_status
from archon_batch.cli.tables import print_json, stderr
from archon_batch.engine.stop_signals import interruptible
from archon_batch.money import NanoUsd


@click.command("try")
@click.argument("prompt")
@options.arch_option
@click.option("--budget", type=options.UsdParam(), help="Maximum cost in USD.")
@options.no_cache_option
@options.allow_unpriced_option
@options.full_option
@options.json_option
def try_prompt(
    prompt: str,
    arch: str,
    budget: NanoUsd | None,
    no_cache: bool,
    allow_unpriced: bool,
    full: bool,
    as_json: bool,
) -> int:
    """Run one PROMPT through an architecture in this process and show what each component did.

    The calls are real and are recorded like all others, as a job of one row.
    """
    settings = options.load_settings()
    with EventPrinter() as report, interruptible():
        architecture, prices = load_priced(arch, allow_unpriced=allow_unpriced, report=report)
        validate_provider_access(settings, architecture, report)
        job, item = run_prompt(
            settings, prompt, architecture, prices, budget=budget, reuse=not no_cache
        )
    if as_json:
        print_json(item)
    else:
        print_item(item, full=full)
    if job.state != "done":
        stderr.print(f"{job.state}: {job.reason}")
    return exit_status(job.state, item["status"] == "failed")
