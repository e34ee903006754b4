"""Shows the events of a use case on standard error: progress, warnings, and a job's summary."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from archon_batch.application import events
from archon_batch.application.run import RunResult
from archon_batch.cli.tables import format_usd, preload_rich, stderr, summary_lines
from archon_batch.cli.terminal_page import echo, pluralize
from archon_batch.engine.stop_signals import interruptible
from archon_batch.jobs.views import usd_number
from archon_batch.settings import Settings
from archon_batch.store import Job

#: Token counts from this number on are shown in thousands.
_MIN_TOKENS_IN_THOUSANDS = 10_000
#: Seconds between progress lines where standard error is no terminal.
_LINE_SECONDS = 10.0

#: Exit status by the state of a run; done is 0, or 1 with failed rows.
_EXIT_STATUS = {"handed_over": 0, "stored": 0, "cancelled": 1, "stopped": 2, "paused": 4}
_EXIT_INTERRUPTED = 130

_Show = Callable[[Mapping[str, Any]], None]


def exit_status(state: str, failed_rows: int = 0) -> int:
    """The exit status of a command whose run ended in this state."""
    if state == "done":
        return 1 if failed_rows else 0
    return _EXIT_STATUS.get(state, _EXIT_INTERRUPTED)


def result_status(result: RunResult) -> int:
    return exit_status(result.state, result.failed_rows)


class EventPrinter:
    """The callback that prints a use case's events; a progress bar needs it as a context."""

    def __init__(self, on_submitted: Callable[[Job], None] = lambda _job: None) -> None:
        self._on_submitted = on_submitted
        self._display = ExitStack()
        self._show: _Show | None = None

    def __enter__(self) -> Self:
        # While there are file descriptors left to open.
        preload_rich()
        return self

    def __exit__(self, *_: object) -> None:
        self._close_display()

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.JobProgressed(job, figures):
                if self._show is None:
                    self._show = self._display.enter_context(_progress_display(job))
                self._show(figures)
            case events.JobEnded(job, figures, interrupted):
                self._close_display()
                if interrupted:
                    stderr.print(f"interrupted; continue with: archon-batch resume {job.id}")
                    figures = {**figures, "state": "interrupted"}
                print_summary(figures)
            case events.StopRequested():
                self._close_display()
                stderr.print(
                    "Stopping: waiting for calls in flight. Press Ctrl-C again to abort them (their "
                    "cost stays unknown)."
                )
            case events.NoWorkers(queues):
                stderr.print(no_workers_message(queues), style="bold")
            case events.Warned(text):
                # Names in it come from files, and a terminal obeys control characters.
                echo(f"warning: {text}", err=True)
            case events.JobSubmitted(job):
                self._on_submitted(job)
            case _:
                stderr.print(_message(event))

    def _close_display(self) -> None:
        self._show = None
        self._display.close()


@contextmanager
def run_context(
    settings: Settings, on_submitted: Callable[[Job], None] = lambda _job: None
) -> Iterator[EventPrinter]:
    """The callback for a use case that runs a job; Ctrl-C stops a job that runs in this process."""
    signals = interruptible() if settings.in_process else nullcontext()
    with EventPrinter(on_submitted) as report, signals:
        yield report


def _message(event: events.Event) -> str:
    match event:
        case events.JobFound(job):
            return f"already submitted as job {job.id} ({job.state})"
        case events.JobLeftStored(job):
            return f"Job stored. Run it with: archon-batch resume {job.id}"
        case events.JobHandedOver(job):
            return f"sent to the workers; follow it with: archon-batch status {job.id} --follow"
        case events.Exported(path):
            return f"answers are in {path}"
        case events.PilotFound(job):
            return f"the pilot has already run as job {job.id}"
        case events.PilotStarted(job, rows, max_cost):
            budget = format_usd(usd_number(job.budget))
            limit = "" if job.budget is None else f"; budget: {budget}"
            maximum = format_usd(usd_number(max_cost))
            return f"pilot {job.id}: {pluralize(rows, 'row')}, at most {maximum}{limit}"
        case events.JudgeStarted(job):
            return f"judge job {job.id} ({job.name}): {job.rows:,} rows"
        case events.TurnStarted(name, job):
            return f"{name}: job {job.id}, {job.rows:,} rows"
        case events.SearchProgressed(text):
            return text
    raise TypeError(type(event).__name__)


def no_workers_message(queues: Sequence[str]) -> str:
    return f"no worker consumes {', '.join(queues)}: start one with archon-batch worker POOL"


def print_summary(figures: Mapping[str, Any]) -> None:
    """Print the figures of a job that no longer runs."""
    if figures["state"] != "done":
        stderr.print(f"{figures['state']}: {figures['reason'] or 'by user'}", style="bold")
    for line in summary_lines(figures):
        stderr.print(line)


@contextmanager
def _progress_display(job: Job) -> Iterator[_Show]:
    yield from _progress_bar(job) if stderr.is_terminal else _progress_lines(job)


def _progress_bar(job: Job) -> Iterator[_Show]:
    began, first = time.monotonic(), -1
    # The columns fit into a terminal of 80 columns.
    columns = (
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("rows {task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task(job.name, total=job.rows, figures="")

        def show(figures: Mapping[str, Any]) -> None:
            nonlocal first
            first = figures["calls"] if first < 0 else first
            rate = (figures["calls"] - first) / max(time.monotonic() - began, 1.0)
            ended = job.rows - figures["open"]
            progress.update(task, completed=ended, figures=_short_progress_text(figures, rate))

        yield show


def _progress_lines(job: Job) -> Iterator[_Show]:
    began = last = time.monotonic()

    def show(figures: Mapping[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last < _LINE_SECONDS:
            return
        last = time.monotonic()
        ended = job.rows - figures["open"]
        rate = figures["calls"] / max(last - began, 1.0)
        stderr.print(f"{job.name}: {ended} of {job.rows} rows, {_progress_text(figures, rate)}")

    yield show


def _short_progress_text(figures: Mapping[str, Any], rate: float) -> str:
    tokens = figures["prompt_tokens"] + figures["completion_tokens"]
    many = f"{tokens / 1000:.0f}k" if tokens >= _MIN_TOKENS_IN_THOUSANDS else str(tokens)
    return f"{figures['calls']:,} calls {many} tokens {format_usd(figures['usd'])} {rate:.0f}/s"


def _progress_text(figures: Mapping[str, Any], rate: float) -> str:
    tokens = figures["prompt_tokens"] + figures["completion_tokens"]
    return (
        f"{figures['calls']:,} calls, {tokens:,} tokens, "
        f"{format_usd(figures['usd'], figures['unpriced_calls'])}, {rate:.1f} calls/s"
    )
