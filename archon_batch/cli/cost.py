"""``archon-batch cost``."""

from typing import Any, Literal, get_args

import click

from archon_batch.archon import WarningKind
from archon_batch.cli import options
from archon_batch.cli.tables import format_usd, print_json, print_table
from archon_batch.cli.terminal_page import echo
from archon_batch.jobs import views

#: Columns that are shown only if some group has a value in them, with their headings.
_OPTIONAL_COUNTS = {"cached_calls": "cached"}
_OPTIONAL_AMOUNTS = {
    "failed_usd": "failed",
    "reask_usd": "re-asks",
    "unused_usd": "unused",
    "in_doubt_usd": "in doubt",
    "cache_saved_usd": "cache savings",
}


@click.command()
@click.argument("job")
@click.option(
    "--by",
    type=click.Choice(["layer", "component", "model"]),
    default="component",
    show_default=True,
    help="Group the costs.",
)
@options.json_option
def cost(job: str, by: Literal["layer", "component", "model"], as_json: bool) -> None:
    """Show what JOB cost, and for what.

    \b
    cached         calls answered from the completion cache
    failed         paid for attempts without a usable answer
    re-asks        paid for asking again after an unparsed reply
    unused         paid for candidates that are part of no answer
    in doubt       billing unknown: attempts without an answer that may be billed
    cache savings  original price of the cached replies

    By component it also counts warnings:

    \b
    unparsed          replies that could not be parsed
    failed            calls without a reply
    skipped           times that a component was skipped
    context_overflow  prompts that exceed the model's context window
    truncated         candidates cut off at max_tokens
    """  # noqa: D301  (click needs the character itself)
    with options.open_store() as store:
        figures = views.job_cost(store, store.jobs.find(job), by)
    if as_json:
        print_json(figures)
        return
    counts = {key: title for key, title in _OPTIONAL_COUNTS.items() if figures[key]}
    amounts = {key: title for key, title in _OPTIONAL_AMOUNTS.items() if figures[key]}
    rows = [_row(_group_label(by, group), group, counts, amounts) for group in figures["by"]]
    rows.append(_row("all", figures, counts, amounts))
    header = (by, "calls", *counts.values(), "attempts", "tokens in", "out", "paid")
    print_table((*header, *amounts.values()), rows)
    warned = [
        (_component_label(group), text) for group in figures["by"] if (text := _warnings(group))
    ]
    if warned:
        echo()
        print_table((by, "warnings"), warned)


def _warnings(group: dict[str, Any]) -> str:
    """The warnings of a component, out of its calls; a voter makes no calls."""
    share = f" of {group['calls']:,}" if group["calls"] else ""
    return ", ".join(
        f"{kind}: {group[kind]:,}{share}" for kind in get_args(WarningKind) if group.get(kind)
    )


def _component_label(group: dict[str, Any]) -> str:
    return f"{group['layer']}.{group['component']} {group['kind']}"


def _group_label(by: str, group: dict[str, Any]) -> str:
    if by == "component":
        return f"{_component_label(group)} {group['model'] or ''}".rstrip()
    return str(group[by])


def _row(
    name: str, group: dict[str, Any], counts: dict[str, str], amounts: dict[str, str]
) -> list[object]:
    return [
        name,
        group["calls"],
        *(group[key] for key in counts),
        group["attempts"],
        group["prompt_tokens"],
        group["completion_tokens"],
        format_usd(group["usd"], group["unpriced_calls"]),
        *(format_usd(group[key]) for key in amounts),
    ]
