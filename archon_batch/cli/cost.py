"""``archon-batch cost``."""

from typing import Any, Literal, get_args

import click

from archon_batch.archon import WarningKind
from archon_batch.cli import options
from archon_batch.cli.tables import format_usd, print_json, print_table
from archon_batch.cli.terminal_page import echo
from archon_batch.jobs import views

#: Figures that a job may well have none of: a column is shown when some group has it.
_OPTIONAL_COUNTS = {"cached_calls": "found"}
_OPTIONAL_AMOUNTS = {
    "lost_usd": "lost",
    "again_usd": "again",
    "dropped_usd": "dropped",
    "in_doubt_usd": "in doubt",
    "saved_usd": "saved",
}


@click.command()
@click.argument("job")
@click.option(
    "--by",
    type=click.Choice(["layer", "component", "model"]),
    default="component",
    show_default=True,
)
@options.json_option
def cost(job: str, by: Literal["layer", "component", "model"], as_json: bool) -> None:
    """Say what JOB cost, and what for.

    Found: replies paid for before. Lost: paid for attempts that settled nothing. Again: paid for
    asking again what could not be read. Dropped: paid for candidates of which nothing is in an
    answer. In doubt: attempts without an answer that may be on the bill. Saved: what the found
    replies cost once.

    By component it tells what did not go as asked, of the calls made. Unreadable: replies refused
    by their reader. Failed: calls that got no reply. Without: times a component did without one.
    Overflow: prompts too long for the model. Cut: candidates that end where max_tokens did.
    """
    with options.open_store() as store:
        figures = views.job_cost(store, store.jobs.find(job), by)
    if as_json:
        print_json(figures)
        return
    rare = {k: v for k, v in _OPTIONAL_COUNTS.items() if figures[k]}
    rare_money = {k: v for k, v in _OPTIONAL_AMOUNTS.items() if figures[k]}
    rows = [_row(_group_label(by, group), group, rare, rare_money) for group in figures["by"]]
    rows.append(_row("all", figures, rare, rare_money))
    header = (by, "calls", *rare.values(), "attempts", "tokens in", "out", "paid")
    print_table((*header, *rare_money.values()), rows)
    noted = [
        (_component_label(group), notes)
        for group in figures["by"]
        if (notes := _warnings_text(group))
    ]
    if noted:
        echo()
        print_table((by, "what did not go as asked"), noted)


def _warnings_text(group: dict[str, Any]) -> str:
    """Of the calls of the component; of a voter, which makes none, how often."""
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
    name: str,
    group: dict[str, Any],
    optional_counts: dict[str, str],
    optional_amounts: dict[str, str],
) -> list[object]:
    return [
        name,
        group["calls"],
        *(group[figure] for figure in optional_counts),
        group["attempts"],
        group["prompt_tokens"],
        group["completion_tokens"],
        format_usd(group["usd"], group["unpriced_calls"]),
        *(format_usd(group[figure]) for figure in optional_amounts),
    ]
