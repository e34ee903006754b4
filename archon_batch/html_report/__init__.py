"""A job's portrait: one HTML page with its scores, money, time, troubles, best and worst rows."""

from importlib.util import find_spec
from pathlib import Path

from archon_batch.errors import InputError
from archon_batch.html_report.collect import collect_report_data
from archon_batch.jobs.export import atomic_file, validate_output_path
from archon_batch.store import Job, Store

#: What the extra ``report`` brings.
_REQUIRED_PACKAGES = ("jinja2", "matplotlib")


def check_extra_installed() -> None:
    """Check that what draws the page is installed.

    Raises:
        InputError: it is not.
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
    """Write the job's portrait as one page, and return its size in bytes.

    The page is there whole or not at all. Its size is bounded, whatever the job's.

    Args:
        store: where the job is.
        job: it may be under way; the page says how far it is.
        target: the page.
        extreme_rows: how many of the best rows, and of the worst, have their whole tree of calls.
        metric: what to put the rows in order by; None is the first that there are scores of.
        force: replace a file that is there.

    Raises:
        InputError: the extra is not installed, the page cannot be written or is there already, or
            the job has no scores under that metric.
    """
    check_extra_installed()
    validate_output_path(target, force=force)
    from archon_batch.html_report.render import render_page  # noqa: PLC0415  (an extra)

    text = render_page(collect_report_data(store, job, extreme_rows=extreme_rows, metric=metric))
    # Half a letter, which a model may well write, is no UTF-8.
    data = text.encode(errors="backslashreplace")
    with atomic_file(target) as file:
        file.write(data)
    return len(data)


__all__ = ["check_extra_installed", "write_report"]
