"""A job's portrait: one HTML page with its scores, money, time, troubles, best and worst rows."""

from importlib.util import find_spec
from pathlib import Path

from archon_batch.errors import InputError
from archon_batch.html_report.collect import figures
from archon_batch.jobs.export import refuse_place, whole
from archon_batch.store import Job, Store

#: What the extra ``report`` brings.
_NEEDED = ("jinja2", "matplotlib")


def refuse_missing() -> None:
    """Check that what draws the page is installed.

    Raises:
        InputError: it is not.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise InputError("a report needs: pip install archon-batch[report]")


def write(
    store: Store,
    job: Job,
    target: Path,
    *,
    shown: int = 5,
    metric: str | None = None,
    force: bool = False,
) -> int:
    """Write the job's portrait as one page, and return its size in bytes.

    The page is there whole or not at all. Its size is bounded, whatever the job's.

    Args:
        store: where the job is.
        job: it may be under way; the page says how far it is.
        target: the page.
        shown: how many of the best rows, and of the worst, have their whole tree of calls.
        metric: what to put the rows in order by; None is the first that there are scores of.
        force: replace a file that is there.

    Raises:
        InputError: the extra is not installed, the page cannot be written or is there already, or
            the job has no scores under that metric.
    """
    refuse_missing()
    refuse_place(target, force=force)
    from archon_batch.html_report.render import page  # noqa: PLC0415  (an extra)

    text = page(figures(store, job, shown=shown, metric=metric))
    # Half a letter, which a model may well write, is no UTF-8.
    data = text.encode(errors="backslashreplace")
    with whole(target) as file:
        file.write(data)
    return len(data)


__all__ = ["refuse_missing", "write"]
