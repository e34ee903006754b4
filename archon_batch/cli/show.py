"""``archon-batch show``."""

from typing import Any

import click

from archon_batch import report
from archon_batch.cli import room
from archon_batch.cli.tables import money, print_json, print_table
from archon_batch.store import Job, Store

#: Characters of an answer in a line of many.
_WIDTH = 100


@click.command()
@click.argument("job")
@click.argument("row", required=False)
@room.json_option
def show(job: str, row: str | None, as_json: bool) -> None:
    """Show the row of id ROW in JOB: every call, every attempt, the answer.

    Without ROW, the answers of all rows, a line each.
    """
    with room.store() as store:
        found = store.jobs.find(job)
        if row is None:
            _print_answers(store, found, as_json=as_json)
            return
        figures = report.show(store, found, store.endings.one(found.id, row))
    if as_json:
        print_json(figures)
    else:
        print_item(figures)


def print_item(figures: dict[str, Any]) -> None:
    """An item as a person reads it: the calls in the order they were asked, then the end."""
    for call in figures["calls_made"]:
        _print_call(call)
    for note in figures["notes"]:
        place = f"layer {note['layer']} component {note['component']}"
        click.secho(f"{note['kind']}: {place}: {note['why']}", fg="yellow")
    click.secho(f"{figures['status']}: {figures['id']}", bold=True)
    click.echo(figures["answer"] if figures["answer"] is not None else figures["reason"] or "")
    click.echo(
        f"{figures['calls']} calls, {figures['attempts']} attempts, "
        f"{figures['prompt_tokens']:,} tokens in, {figures['completion_tokens']:,} out, "
        f"{money(figures['usd'], figures['unpriced_calls'])}"
    )


def _print_answers(store: Store, job: Job, *, as_json: bool) -> None:
    answers = [
        {"id": end.row_id, "status": end.status, "answer": end.answer, "reason": end.reason}
        for end in store.endings.all(job.id)
    ]
    if as_json:
        print_json(answers)
        return
    rows = [(a["id"], a["status"], _first_line(a["answer"] or a["reason"])) for a in answers]
    print_table(("row", "status", "answer"), rows)


def _first_line(text: str | None) -> str:
    line, _, more = (text or "").strip().partition("\n")
    return f"{line[:_WIDTH]} ..." if more or len(line) > _WIDTH else line


def _print_call(call: dict[str, Any]) -> None:
    click.secho(f"{call['call']}  {call['component']}  {call['model']}", bold=True)
    if call["cached"]:
        click.echo(f"  found again; it cost {money(call['saved_usd'])} then")
    for attempt in call["attempts"]:
        said = f"  attempt {attempt['n']}: {attempt['state']}"
        if attempt["outcome"] not in (None, "ok"):
            said += f", {attempt['outcome']}: {attempt['why']}"
        if attempt["prompt_tokens"] is not None:
            said += f", {attempt['prompt_tokens']} tokens in, {attempt['completion_tokens']} out"
        click.echo(f"{said}, {money(attempt['usd']) if attempt['usd'] is not None else '-'}")
    text = call["text"] if call["failure"] is None else f"failed: {call['failure']}"
    for line in (text or "").splitlines():
        click.echo(f"  | {line}")
    click.echo()
