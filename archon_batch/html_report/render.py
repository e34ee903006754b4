"""Renders the report: the template with one stylesheet and a content security policy."""

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
    """The report as HTML without scripts, network or other files.

    Text of models and datasets is escaped everywhere, including control characters. The content
    security policy allows only the one stylesheet, by its hash.
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
        metrics=list(sections.metric_sections(data.aggregates.metric_scores)),
        metric=data.metric,
        agreement=sections.agreement_section(data.aggregates.agreement),
        costs=sections.cost_section(data),
        tokens=sections.token_chart(data),
        latencies=sections.latency_section(data),
        problems=sections.problems_section(data),
        worst=data.worst,
        best=data.best,
        version=version("archon-batch"),
        made_at=f"{now():%Y-%m-%d %H:%M} UTC",
    )
    # The macros at the top of the template leave empty lines.
    return text.lstrip()


def _escape_control(value: object) -> object:
    """Escape control characters of text, such as those that reverse the writing direction."""
    return (
        escape_control(value) if isinstance(value, str) and not isinstance(value, Markup) else value
    )


def _trusted_svg(svg: str) -> Markup:
    # An XML writer escaped all its text.
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
