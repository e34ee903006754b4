"""``archon-batch cost``."""

from typing import Any, Literal

import click

from archon_batch import report
from archon_batch.cli import room
from archon_batch.cli.tables import money, print_json, print_table

#: Figures that a job may well have none of: a column is shown when some group has it.
_RARE = {
    "cached_calls": "found",
    "unreadable": "unreadable",
    "failed": "failed",
    "without": "without",
}
_RARE_MONEY = {"lost_usd": "lost", "in_doubt_usd": "in doubt", "saved_usd": "saved"}


@click.command()
@click.argument("job")
@click.option(
    "--by",
    type=click.Choice(["layer", "component", "model"]),
    default="component",
    show_default=True,
)
@room.json_option
def cost(job: str, by: Literal["layer", "component", "model"], as_json: bool) -> None:
    """Say what JOB cost, and what for.

    Found: replies paid for before. Unreadable: replies refused by their reader. Without: times a
    component did without a reply. Lost: paid for attempts that settled nothing. In doubt: attempts
    without an answer that may be on the bill. Saved: what the found replies cost once.
    """
    with room.store() as store:
        figures = report.cost(store, store.jobs.find(job), by)
    if as_json:
        print_json(figures)
        return
    total = {**figures, **{n: sum(g.get(n, 0) for g in figures["by"]) for n in _RARE}}
    total["cached_calls"] = figures["cached_calls"]
    rare = {k: v for k, v in _RARE.items() if total[k]}
    rare_money = {k: v for k, v in _RARE_MONEY.items() if total[k]}
    rows = [_row(_name(by, group), group, rare, rare_money) for group in figures["by"]]
    rows.append(_row("all", total, rare, rare_money))
    header = (by, "calls", *rare.values(), "attempts", "tokens in", "out", "paid")
    print_table((*header, *rare_money.values()), rows)


def _name(by: str, group: dict[str, Any]) -> str:
    if by == "component":
        return f"{group['layer']}.{group['component']} {group['kind']} {group['model']}"
    return str(group[by])


def _row(
    name: str, group: dict[str, Any], rare: dict[str, str], rare_money: dict[str, str]
) -> list[object]:
    return [
        name,
        group["calls"],
        *(group.get(figure, 0) for figure in rare),
        group["attempts"],
        group["prompt_tokens"],
        group["completion_tokens"],
        money(group["usd"], group["unpriced_calls"]),
        *(money(group[figure]) for figure in rare_money),
    ]
