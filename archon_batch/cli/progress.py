"""Follows a job to its end: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from archon_batch.application import worker_check
from archon_batch.cli.tables import format_usd, stderr, summary_lines
from archon_batch.jobs import views
from archon_batch.store import Job, Store, retry_while_unavailable

#: Seconds between looks at whether the job still runs, which cost next to nothing.
_POLL_SECONDS = 0.25
#: How many times as long as it took to add up the job the pause after it is, and seconds that it is
#: at most: a look that a lock held up says nothing about the next.
_PAUSE_FACTOR, _MAX_PAUSE_SECONDS = 50, 30.0
#: Tokens from which on they are told in thousands.
_MIN_TOKENS_IN_THOUSANDS = 10_000
#: Seconds between lines where there is no terminal.
_LINE_SECONDS = 10.0

#: How a command ends by the state of its job; done is 0, or 1 with rows given up.
_EXIT_STATUS = {"paused": 4, "stopped": 2, "cancelled": 1}


def follow_job(store: Store, job: Job) -> int:
    """Watch until the job runs no longer; print its account; return the exit status."""
    wait_for_job(store, job, worker_check.WorkerCheck(store, [job]).run_if_due)
    return print_summary(
        retry_while_unavailable(lambda: views.job_status(store, store.jobs.get(job.id)))
    )


def wait_for_job(store: Store, job: Job, on_poll: Callable[[], None] = lambda: None) -> None:
    """Show how far the job is until it runs no longer; wait for a database that is away.

    ``on_poll`` is done after each look that finds it running.
    """
    with _progress_display(job) as show:
        due = 0.0
        while True:
            found = retry_while_unavailable(partial(store.jobs.get, job.id))
            runs, began = found.state == "running", time.monotonic()
            if not runs or began >= due:
                show(retry_while_unavailable(partial(views.job_status, store, found)))
                # It adds up the whole job; of a large one it is to cost no more than a small share.
                due = time.monotonic() + min(
                    _MAX_PAUSE_SECONDS, _PAUSE_FACTOR * (time.monotonic() - began)
                )
            if not runs:
                return
            on_poll()
            time.sleep(_POLL_SECONDS)


def print_summary(figures: dict[str, Any]) -> int:
    """Print the account of a job that does not run, and return the exit status."""
    if figures["state"] != "done":
        stderr.print(f"{figures['state']}: {figures['reason'] or 'by you'}", style="bold")
    for line in summary_lines(figures):
        stderr.print(line)
    return exit_status(figures["state"], given_up=figures["failed"] > 0)


def exit_status(state: str, *, given_up: bool) -> int:
    """The status of a command whose job ended in this state."""
    if state == "done":
        return 1 if given_up else 0
    return _EXIT_STATUS.get(state, 130)


@contextmanager
def _progress_display(job: Job) -> Iterator[Callable[[dict[str, Any]], None]]:
    yield from _progress_bar(job) if stderr.is_terminal else _progress_lines(job)


def _progress_bar(job: Job) -> Iterator[Callable[[dict[str, Any]], None]]:
    began, first = time.monotonic(), -1
    # Together they fit eighty columns.
    columns = (
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("rows {task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task(job.name, total=job.rows, figures="")

        def show(figures: dict[str, Any]) -> None:
            nonlocal first
            first = figures["calls"] if first < 0 else first
            rate = (figures["calls"] - first) / max(time.monotonic() - began, 1.0)
            ended = job.rows - figures["open"]
            progress.update(task, completed=ended, figures=_short_progress_text(figures, rate))

        yield show


def _progress_lines(job: Job) -> Iterator[Callable[[dict[str, Any]], None]]:
    began = last = time.monotonic()

    def show(figures: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last < _LINE_SECONDS:
            return
        last = time.monotonic()
        ended = job.rows - figures["open"]
        rate = figures["calls"] / max(last - began, 1.0)
        stderr.print(f"{job.name}: {ended} of {job.rows} rows, {_progress_text(figures, rate)}")

    yield show


def _short_progress_text(figures: dict[str, Any], rate: float) -> str:
    tokens = figures["prompt_tokens"] + figures["completion_tokens"]
    many = f"{tokens / 1000:.0f}k" if tokens >= _MIN_TOKENS_IN_THOUSANDS else str(tokens)
    return f"{figures['calls']:,} calls {many} tokens {format_usd(figures['usd'])} {rate:.0f}/s"


def _progress_text(figures: dict[str, Any], rate: float) -> str:
    tokens = figures["prompt_tokens"] + figures["completion_tokens"]
    return (
        f"{figures['calls']:,} calls, {tokens:,} tokens, "
        f"{format_usd(figures['usd'], figures['unpriced_calls'])}, {rate:.1f} calls/s"
    )
