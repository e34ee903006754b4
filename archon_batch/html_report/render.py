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
from archon_batch.html_report.collect import ReportData
from archon_batch.html_report.duration_histogram import DurationHistogram
from archon_batch.store import now
from archon_batch.untrusted_text import escape_control

_HERE = Path(__file__).parent


def render_page(data: ReportData) -> str:
    """The portrait as HTML that needs nothing else: no script, no network, no other file.

    What models and datasets say is escaped and visible wherever it stands; a policy in the page forbids
    everything but the one style, by its hash.
    """
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=_escape_control,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        money=formatting.format_usd,
        duration=formatting.format_duration,
        score=formatting.format_score,
        count=formatting.format_count,
        counted=formatting.pluralize,
        drawing=_trusted_svg,
    )
    environment.globals.update(share=formatting.format_percent, len=len)
    status = data.status
    text = environment.get_template("page.html").render(
        style=Markup(style),  # noqa: S704  (our own file)
        digest=digest,
        status=status,
        took=_job_duration(data),
        seconds=_merge_histograms(data.durations.values()),
        flow=sections.architecture_layers(data),
        marked=list(sections.metric_sections(data.aggregates.metric_scores)),
        metric=data.metric,
        agreement=sections.agreement_section(data.aggregates.agreement),
        costs=sections.cost_section(data),
        tokens=sections.token_chart(data),
        latencies=sections.latency_section(data),
        troubles=sections.problems_section(data),
        worst=data.worst,
        best=data.best,
        version=version("archon-batch"),
        made_at=f"{now():%Y-%m-%d %H:%M} UTC",
    )
    # The macros above the page leave empty lines.
    return text.lstrip()


def _escape_control(value: object) -> object:
    """What is text is made visible, so that none of it turns the letters after it."""
    return (
        escape_control(value) if isinstance(value, str) and not isinstance(value, Markup) else value
    )


def _trusted_svg(svg: str) -> Markup:
    # Every word in it went through an XML writer.
    return Markup(svg)  # noqa: S704


def _job_duration(data: ReportData) -> float | None:
    begun, ended = data.status["created_at"], data.status["ended_at"]
    if ended is None:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()


def _merge_histograms(histograms: Iterable[DurationHistogram]) -> DurationHistogram:
    together = DurationHistogram()
    for spread in histograms:
        together.merge(spread)
    return together
