"""The HTML report of a job: scores, cost, time, problems, best and worst rows on one page."""

from importlib.util import find_spec
from pathlib import Path

from archon_batch.errors import InputError
from archon_batch.html_report.collect import collect_report_data
from archon_batch.jobs.export import atomic_file, validate_output_path
from archon_batch.store import Job, Store

#: Packages that the extra ``report`` installs.
_REQUIRED_PACKAGES = ("jinja2", "matplotlib")


def check_extra_installed() -> None:
    """Check that the packages for the report are installed.

    Raises:
        InputError: one of them is missing.
    """
    if any(find_spec(name) is None for name in _REQUIRED_PACKAGES):
        raise InputError("a report needs: pip install archon-batch[report]")


def write_report(
    store: Store,
    job: Job,
    target: Path,
    *,
    extreme_rows: int = 5,
    metric: str | None = None,
    force: bool = False,
) -> int:
    """Write the report as one HTML page, and return its size in bytes.

    The page is written completely or not at all. Its size is bounded for any size of job.

    Args:
        store: has the job.
        job: may be running; the page then shows its progress.
        target: the path of the page.
        extreme_rows: how many of the best and of the worst rows to show with their call trees.
        metric: the metric that orders the rows; None is the first with scores.
        force: whether to replace an existing file.

    Raises:
        InputError: the extra is not installed, the page cannot be written or exists already, or the
            job has no scores under that metric.
    """
    check_extra_installed()
    validate_output_path(target, force=force)
    from archon_batch.html_report.render import render_page  # noqa: PLC0415  (an extra)

    text = render_page(collect_report_data(store, job, extreme_rows=extreme_rows, metric=metric))
    # A model may write a lone surrogate, which has no UTF-8 encoding.
    data = text.encode(errors="backslashreplace")
    with atomic_file(target) as file:
        file.write(data)
    return len(data)


__all__ = ["check_extra_installed", "write_report"]
