"""The sections of the report: charts, and the data of their tables."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon_batch.html_report.agreement import BANDS
from archon_batch.html_report.charts import Bar, RangeBar, bar_chart, range_chart
from archon_batch.html_report.collect import AgreementTotals, MetricScores, ReportData
from archon_batch.html_report.duration_histogram import DurationHistogram
from archon_batch.html_report.formatting import (
    format_count,
    format_duration,
    format_percent,
    format_score,
    format_usd,
    pluralize,
)
from archon_batch.html_report.svg_theme import SERIES

#: The most models, components or reasons in a table.
MAX_LINES = 24
#: Ticks of the duration axis: seconds and label.
_TICKS = (
    (0.001, "1 ms"), (0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (60, "1 min"),
    (600, "10 min"), (3600, "1 h"), (36_000, "10 h"),
)  # fmt: skip
_MONEY = ("usd", "in_doubt_usd", "failed_usd", "reask_usd", "cache_saved_usd")
_COUNTS = ("unpriced_calls", "calls", "cached_calls", "failed_calls", "attempts")
_TOKENS = ("prompt_tokens", "completion_tokens")


def metric_sections(scores_by_metric: Mapping[str, MetricScores]) -> Iterator[Mapping[str, Any]]:
    """The mean of each metric with its interval, as text and as a chart."""
    for number, (metric, scores) in enumerate(list(scores_by_metric.items())[:MAX_LINES]):
        mean = scores.mean
        chart = None
        if mean is not None:
            least, most = min(scores.values), max(scores.values)
            ends = (0.0, 1.0) if least >= 0 and most <= 1 else (least, most)
            ticks = [(end, format_score(end)) for end in ends]
            label = f"{format_score(mean.value)} ({format_score(mean.low)} to {format_score(mean.high)})"
            span = RangeBar(metric, mean.low, mean.value, mean.high, label)
            title = f"{metric}: {label}"
            chart = range_chart(f"mean{number}", title, [span], ends=ends, ticks=ticks)
        yield {"metric": metric, "mean": mean, "scores": scores, "chart": chart}


def agreement_section(totals: AgreementTotals) -> Mapping[str, Any] | None:
    """The bands of agreement and the models; None if no row has two candidates."""
    rows = totals.rows_by_band.total()
    if not rows:
        return None
    names = [name for name in BANDS if totals.rows_by_band[name]]
    entries = [
        Bar(
            name,
            [totals.rows_by_band[name]],
            f"{pluralize(totals.rows_by_band[name], 'row')}, {format_percent(totals.rows_by_band[name], rows)}",
        )
        for name in names
    ]
    scored = {
        name: totals.score_sum_by_band[name] / totals.scored_by_band[name]
        for name in names
        if totals.scored_by_band[name]
    }
    return {
        "label": totals.label,
        "stride": totals.stride,
        "chart": bar_chart("agreement", "Rows by how many of their candidates agree", entries),
        "bands": [(name, totals.rows_by_band[name], scored.get(name)) for name in names],
        "scored": bool(scored),
        "models": [
            (model, made, totals.matching_by_model[model])
            for model, made in totals.candidates_by_model.most_common(MAX_LINES)
        ],
    }


def sum_by(groups: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    """Sum the totals of components by layer or by model."""
    total: defaultdict[Any, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for group in groups:
        if group[key] is not None:
            for name in (*_MONEY, *_COUNTS, *_TOKENS):
                total[group[key]][name] += group[name] or 0
    return [
        {key: name, **{k: int(v) if k in _COUNTS + _TOKENS else v for k, v in sums.items()}}
        for name, sums in total.items()
    ]


def cost_section(data: ReportData) -> Mapping[str, Any]:
    """Cost by layer and model: one bar per layer, one colour per model."""
    by_model = sorted(sum_by(data.components, "model"), key=lambda m: -m["usd"])
    by_layer = sum_by(data.components, "layer")
    last = len(SERIES) - 1
    series = [m["model"] for m in by_model if m["usd"] > 0]
    # The last colour is for all models without a colour of their own.
    named = series if len(series) <= len(SERIES) else series[:last]
    entries = []
    for layer in by_layer:
        parts: Counter[int] = Counter()
        for group in data.components:
            if group["layer"] == layer["layer"] and group["model"] in series:
                at = named.index(group["model"]) if group["model"] in named else last
                parts[at] += group["usd"] or 0
        entries.append(
            Bar(
                f"{layer['layer']}  {_layer_types(data, layer['layer'])}",
                [parts[at] for at in range(len(SERIES))],
                format_usd(layer["usd"], layer["unpriced_calls"]),
            )
        )
    return {
        "chart": bar_chart("cost", "USD by layer and model", entries) if series else None,
        "legend": [*named, *(["others"] if len(named) < len(series) else [])],
        "by_layer": by_layer,
        "by_model": by_model[:MAX_LINES],
        "more_models": max(0, len(by_model) - MAX_LINES),
    }


def token_chart(data: ReportData) -> str | None:
    by_layer = sum_by(data.components, "layer")
    entries = [
        Bar(
            f"{layer['layer']}  {_layer_types(data, layer['layer'])}",
            [layer["prompt_tokens"], layer["completion_tokens"]],
            f"{format_count(layer['prompt_tokens'])} in, {format_count(layer['completion_tokens'])} out",
        )
        for layer in by_layer
    ]
    if not any(sum(entry.parts) for entry in entries):
        return None
    return bar_chart("tokens", "Tokens in and out by layer", entries)


def latency_section(data: ReportData) -> Mapping[str, Any] | None:
    """Durations of calls by model; None without calls."""
    by_model: defaultdict[str, DurationHistogram] = defaultdict(DurationHistogram)
    for (_, _, model), spread in data.durations.items():
        by_model[model].merge(spread)
    if not by_model:
        return None
    ordered = sorted(by_model.items(), key=lambda pair: -len(pair[1]))[:MAX_LINES]
    entries = [
        RangeBar(
            model,
            spread.quantile(0.1),
            spread.quantile(0.5),
            spread.quantile(0.9),
            f"{format_duration(spread.quantile(0.5))}, 90 %: {format_duration(spread.quantile(0.9))}",
        )
        for model, spread in ordered
    ]
    low, high = min(e.low for e in entries), max(e.high for e in entries)
    first = max((at for at, _ in _TICKS if at <= low), default=_TICKS[0][0])
    last = min((at for at, _ in _TICKS if at >= high), default=high)
    ends = (first, max(last, first * 10))
    ticks = [tick for tick in _TICKS if ends[0] <= tick[0] <= ends[1]]
    return {
        "chart": range_chart(
            "latency", "Duration of calls by model", entries, ends=ends, ticks=ticks, log=True
        ),
        "components": [
            (f"{layer}.{component}", _component_type(data, layer, component), model, spread)
            for (layer, component, model), spread in sorted(data.durations.items())[:MAX_LINES]
        ],
    }


def problems_section(data: ReportData) -> Mapping[str, Any]:
    """Warnings and failures: by component, by outcome of attempts, by reason of rows."""
    retries: Counter[tuple[int, int, str | None]] = Counter()
    ends: Counter[str] = Counter()
    for outcome in data.attempt_outcomes:
        retries[outcome.layer, outcome.component, outcome.model] += outcome.retries
        if outcome.outcome != "ok":
            ends[outcome.outcome or "in flight"] += outcome.attempts
    components = []
    for group in data.components[:MAX_LINES]:
        place = (group["layer"], group["component"], group["model"])
        components.append({**group, "retries": retries[place]})
    return {
        "components": components,
        "more": max(0, len(data.components) - MAX_LINES),
        "attempts": sum(group["attempts"] for group in data.components),
        "retries": retries.total(),
        "ends": ends.most_common(MAX_LINES),
        "reasons": data.failure_reasons[:8],
        "more_reasons": sum(rows for _, _, rows in data.failure_reasons[8:]),
    }


def architecture_layers(data: ReportData) -> list[list[Mapping[str, Any]]]:
    """The architecture as layers of components with their models and samples."""
    return [
        [
            {
                "type": component["type"],
                "samples": component.get("samples", 1),
                "model": data.models.get(component.get("model", ""), component.get("model")),
            }
            for component in layer[:MAX_LINES]
        ]
        for layer in data.layers
    ]


def _layer_types(data: ReportData, layer: int) -> str:
    return ", ".join(dict.fromkeys(c["type"] for c in data.layers[layer]))


def _component_type(data: ReportData, layer: int, component: int) -> str:
    return str(data.layers[layer][component]["type"])
