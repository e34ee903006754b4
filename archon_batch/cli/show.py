"""``archon-batch show``."""

import click

from archon_batch.cli import options
from archon_batch.cli.item_view import print_item
from archon_batch.cli.tables import print_json, print_table
from archon_batch.cli.terminal_page import echo
from archon_batch.jobs import views
from archon_batch.store import Job, Store
from archon_batch.untrusted_text import escape_control

#: Characters shown of each answer in the list.
_MAX_ANSWER_CHARS = 100


@click.command()
@click.argument("job")
@click.argument("row", required=False)
@options.full_option
@options.json_option
def show(job: str, row: str | None, full: bool, as_json: bool) -> None:
    """Show the row with id ROW in JOB: what each component did, every call, every candidate.

    Without ROW, list the answers of all rows.
    """
    with options.open_store() as store:
        stored_job = store.jobs.find(job)
        if row is None:
            _print_answers(store, stored_job, as_json=as_json)
            return
        figures = views.item_details(store, stored_job, store.item_results.get(stored_job.id, row))
    if as_json:
        print_json(figures)
    else:
        print_item(figures, full=full)


def _print_answers(store: Store, job: Job, *, as_json: bool) -> None:
    answers = [
        {"id": end.row_id, "status": end.status, "answer": end.answer, "reason": end.reason}
        for end in store.item_results.all(job.id)
    ]
    if as_json:
        print_json(answers)
        return
    rows = [
        (_first_line(a["id"]), a["status"], _first_line(a["answer"] or a["reason"]))
        for a in answers
    ]
    if failed := views.all_failed(store, job, store.usage.progress(job.id)):
        echo(failed)
    print_table(("row", "status", "answer"), rows)


def _first_line(text: str | None) -> str:
    line, _, more = escape_control((text or "").strip()).partition("\n")
    return f"{line[:_MAX_ANSWER_CHARS]} ..." if more or len(line) > _MAX_ANSWER_CHARS else line
