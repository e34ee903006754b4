"""The page itself: a template filled in, with its one style and the policy that allows no more."""

import base64
import hashlib
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from archon_batch.html_report import formatting, sections
from archon_batch.html_report.collect import Figures
from archon_batch.html_report.duration_histogram import Spread
from archon_batch.store import now
from archon_batch.untrusted_text import visible

_HERE = Path(__file__).parent


def page(figures: Figures) -> str:
    """The portrait as HTML that needs nothing else: no script, no network, no other file.

    What models and datasets say is escaped and visible wherever it stands; a policy in the page forbids
    everything but the one style, by its hash.
    """
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        money=formatting.money,
        duration=formatting.duration,
        score=formatting.score,
        count=formatting.count,
        counted=formatting.counted,
        drawing=_drawing,
    )
    environment.globals.update(share=formatting.share, len=len)
    status = figures.status
    text = environment.get_template("page.html").render(
        style=Markup(style),  # noqa: S704  (our own file)
        digest=digest,
        status=status,
        took=_took(figures),
        seconds=_all(figures.seconds.values()),
        flow=sections.flow(figures),
        marked=list(sections.marked(figures.tally.marks)),
        metric=figures.metric,
        agreement=sections.agreed(figures.tally.agreement),
        costs=sections.costs(figures),
        tokens=sections.tokens(figures),
        latencies=sections.latencies(figures),
        troubles=sections.troubles(figures),
        worst=figures.worst,
        best=figures.best,
        version=version("archon-batch"),
        made_at=f"{now():%Y-%m-%d %H:%M} UTC",
    )
    # The macros above the page leave empty lines.
    return text.lstrip()


def _shown(value: object) -> object:
    """What is text is made visible, so that none of it turns the letters after it."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _drawing(svg: str) -> Markup:
    # Every word in it went through an XML writer.
    return Markup(svg)  # noqa: S704


def _took(figures: Figures) -> float | None:
    begun, ended = figures.status["created_at"], figures.status["ended_at"]
    if ended is None:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()


def _all(spreads: Iterable[Spread]) -> Spread:
    together = Spread()
    for spread in spreads:
        together.update(spread)
    return together
