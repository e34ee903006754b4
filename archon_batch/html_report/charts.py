"""Charts as SVG: matplotlib draws them in the colours of the page."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archon_batch.html_report.svg_theme import INK, LINE, MUTED, SERIES, apply_theme

#: Width in points, about the pixels of a phone: labels get the font size of the page.
_WIDTH = 360
#: Height in points of a bar with its label.
_ROW = 42
_FONT = 13
#: Characters of a label that fit next to the value.
_MAX_LABEL_CHARS = 28


@dataclass(frozen=True, slots=True)
class Bar:
    """A stacked bar; each part has the colour of its series."""

    label: str
    parts: Sequence[float]
    #: The text at the end of the bar.
    value_label: str


@dataclass(frozen=True, slots=True)
class RangeBar:
    """A range with a marked middle value."""

    label: str
    low: float
    middle: float
    high: float
    value_label: str


def bar_chart(chart_id: str, title: str, entries: Sequence[Bar]) -> str:
    """A horizontal bar chart from 0. ``chart_id`` must be unique on the page."""
    figure, axes = _canvas(len(entries))
    most = max((sum(entry.parts) for entry in entries), default=0) or 1
    axes.set_xlim(0, most)
    for row, entry in enumerate(entries):
        _add_labels(axes, row, entry.label, entry.value_label, most)
        axes.barh(row + 0.66, most, height=0.24, color=LINE, clip_on=False)
        left = 0.0
        for series, part in enumerate(entry.parts):
            axes.barh(row + 0.66, part, left=left, height=0.24, color=SERIES[series])
            left += part
    return _render_svg(figure, chart_id, title)


def range_chart(
    chart_id: str,
    title: str,
    entries: Sequence[RangeBar],
    *,
    ends: tuple[float, float],
    ticks: Sequence[tuple[float, str]],
    log: bool = False,
) -> str:
    """A horizontal chart of ranges over an axis between two ends, with tick labels."""
    figure, axes = _canvas(len(entries) + 0.6)
    if log:
        axes.set_xscale("log")
    axes.set_xlim(*ends)
    bottom = len(entries) + 0.1
    for at, text in ticks:
        axes.plot([at, at], [0.42, bottom], color=LINE, linewidth=1)
        # Labels at the ends must not leave the drawing.
        anchor = "left" if at == ends[0] else "right" if at == ends[1] else "center"
        axes.text(at, bottom + 0.06, text, color=MUTED, ha=anchor, va="top", fontsize=11.5)
    for row, entry in enumerate(entries):
        _add_labels(axes, row, entry.label, entry.value_label, ends[1], ends[0])
        axes.plot(
            [entry.low, entry.high],
            [row + 0.68] * 2,
            color=SERIES[0],
            linewidth=7,
            alpha=0.35,
            solid_capstyle="round",
            clip_on=False,
        )
        axes.plot([entry.middle], [row + 0.68], "o", color=SERIES[0], markersize=10, clip_on=False)
    return _render_svg(figure, chart_id, title)


def _canvas(rows: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH / 72, max(rows, 1) * _ROW / 72), dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_ylim(max(rows, 1), 0)
    axes.axis("off")
    axes.autoscale(enable=False)
    return figure, axes


def _add_labels(
    axes: Axes, row: int, label: str, value_label: str, right: float, left: float = 0
) -> None:
    # A model's name may contain dollar signs and is no formula.
    style: dict[str, Any] = {"va": "bottom", "fontsize": _FONT, "parse_math": False}
    axes.text(left, row + 0.4, _shorten_label(label), color=MUTED, ha="left", **style)
    axes.text(right, row + 0.4, value_label, color=INK, ha="right", **style)


def _shorten_label(label: str) -> str:
    """The label, printable and short enough for the chart."""
    shown = label if label.isprintable() else ascii(label)
    # The end of a long model name is more specific than its beginning.
    return shown if len(shown) <= _MAX_LABEL_CHARS else f"\u2026{shown[1 - _MAX_LABEL_CHARS :]}"


def _render_svg(figure: Figure, chart_id: str, title: str) -> str:
    file = io.StringIO()
    with (
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart_id}),
        warnings.catch_warnings(),
    ):
        # The reader's browser renders the text; our fonts need not have its glyphs.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="svg", metadata={"Date": None})
    return apply_theme(file.getvalue(), title)
