"""The charts of a portrait, and the tables beside them: figures as they are set on the page."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon_batch.html_report.agreement import BANDS
from archon_batch.html_report.charts import Bar, Span, bars, spans
from archon_batch.html_report.collect import Agreement, Figures, Marks
from archon_batch.html_report.duration_histogram import Spread
from archon_batch.html_report.formatting import count, counted, duration, money, score, share
from archon_batch.html_report.svg_theme import SERIES

#: Models, components or reasons that have a line of their own.
MOST = 24
#: Marks of the axis of durations: seconds and words.
_TICKS = (
    (0.001, "1 ms"), (0.01, "10 ms"), (0.1, "0.1 s"), (1, "1 s"), (10, "10 s"), (60, "1 min"),
    (600, "10 min"), (3600, "1 h"), (36_000, "10 h"),
)  # fmt: skip
_MONEY = ("usd", "in_doubt_usd", "lost_usd", "again_usd", "saved_usd")
_COUNTS = ("unpriced_calls", "calls", "cached_calls", "failed_calls", "attempts")
_TOKENS = ("prompt_tokens", "completion_tokens")


def marked(marks: Mapping[str, Marks]) -> Iterator[Mapping[str, Any]]:
    """Each metric's mean with its interval, as words and as a chart."""
    for number, (metric, of_metric) in enumerate(list(marks.items())[:MOST]):
        mean = of_metric.mean
        chart = None
        if mean is not None:
            least, most = min(of_metric.values), max(of_metric.values)
            ends = (0.0, 1.0) if least >= 0 and most <= 1 else (least, most)
            ticks = [(end, score(end)) for end in ends]
            told = f"{score(mean.value)} ({score(mean.low)} to {score(mean.high)})"
            span = Span(metric, mean.low, mean.value, mean.high, told)
            title = f"{metric}: {told}"
            chart = spans(f"mean{number}", title, [span], ends=ends, ticks=ticks)
        yield {"metric": metric, "mean": mean, "marks": of_metric, "chart": chart}


def agreed(agreement: Agreement) -> Mapping[str, Any] | None:
    """The bands of agreement and the models; None where no row has two candidates."""
    rows = agreement.rows.total()
    if not rows:
        return None
    names = [name for name in BANDS if agreement.rows[name]]
    entries = [
        Bar(
            name,
            [agreement.rows[name]],
            f"{counted(agreement.rows[name], 'row')}, {share(agreement.rows[name], rows)}",
        )
        for name in names
    ]
    scored = {
        name: agreement.points[name] / agreement.scored[name]
        for name in names
        if agreement.scored[name]
    }
    return {
        "told": agreement.told,
        "stride": agreement.stride,
        "chart": bars("agreement", "Rows by how many of their candidates agree", entries),
        "bands": [(name, agreement.rows[name], scored.get(name)) for name in names],
        "scored": bool(scored),
        "models": [
            (model, made, agreement.alike[model])
            for model, made in agreement.made.most_common(MOST)
        ],
    }


def summed(groups: Sequence[Mapping[str, Any]], by: str) -> list[Mapping[str, Any]]:
    """The accounts of components as those of their layers or models; dollars are sums."""
    total: defaultdict[Any, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for group in groups:
        if group[by] is not None:
            for name in (*_MONEY, *_COUNTS, *_TOKENS):
                total[group[by]][name] += group[name] or 0
    return [
        {by: name, **{k: int(v) if k in _COUNTS + _TOKENS else v for k, v in sums.items()}}
        for name, sums in total.items()
    ]


def costs(figures: Figures) -> Mapping[str, Any]:
    """What was paid by layer and model: a bar a layer, a colour a model."""
    by_model = sorted(summed(figures.components, "model"), key=lambda m: -m["usd"])
    by_layer = summed(figures.components, "layer")
    room = len(SERIES) - 1
    series = [m["model"] for m in by_model if m["usd"] > 0]
    # The last colour is for all who have none of their own.
    named = series if len(series) <= len(SERIES) else series[:room]
    entries = []
    for layer in by_layer:
        parts: Counter[int] = Counter()
        for group in figures.components:
            if group["layer"] == layer["layer"] and group["model"] in series:
                at = named.index(group["model"]) if group["model"] in named else room
                parts[at] += group["usd"] or 0
        entries.append(
            Bar(
                f"{layer['layer']}  {_types(figures, layer['layer'])}",
                [parts[at] for at in range(len(SERIES))],
                money(layer["usd"], layer["unpriced_calls"]),
            )
        )
    return {
        "chart": bars("cost", "USD by layer and model", entries) if series else None,
        "legend": [*named, *(["others"] if len(named) < len(series) else [])],
        "by_layer": by_layer,
        "by_model": by_model[:MOST],
        "more_models": max(0, len(by_model) - MOST),
    }


def tokens(figures: Figures) -> str | None:
    by_layer = summed(figures.components, "layer")
    entries = [
        Bar(
            f"{layer['layer']}  {_types(figures, layer['layer'])}",
            [layer["prompt_tokens"], layer["completion_tokens"]],
            f"{count(layer['prompt_tokens'])} in, {count(layer['completion_tokens'])} out",
        )
        for layer in by_layer
    ]
    if not any(sum(entry.parts) for entry in entries):
        return None
    return bars("tokens", "Tokens in and out by layer", entries)


def latencies(figures: Figures) -> Mapping[str, Any] | None:
    """How long calls took, by model; None when nothing was sent."""
    by_model: defaultdict[str, Spread] = defaultdict(Spread)
    for (_, _, model), spread in figures.seconds.items():
        by_model[model].update(spread)
    if not by_model:
        return None
    ordered = sorted(by_model.items(), key=lambda pair: -len(pair[1]))[:MOST]
    entries = [
        Span(
            model,
            spread.at(0.1),
            spread.at(0.5),
            spread.at(0.9),
            f"{duration(spread.at(0.5))}, 90 %: {duration(spread.at(0.9))}",
        )
        for model, spread in ordered
    ]
    low, high = min(e.low for e in entries), max(e.high for e in entries)
    first = max((at for at, _ in _TICKS if at <= low), default=_TICKS[0][0])
    last = min((at for at, _ in _TICKS if at >= high), default=high)
    ends = (first, max(last, first * 10))
    ticks = [tick for tick in _TICKS if ends[0] <= tick[0] <= ends[1]]
    return {
        "chart": spans(
            "latency", "How long calls took, by model", entries, ends=ends, ticks=ticks, log=True
        ),
        "components": [
            (f"{layer}.{component}", _type(figures, layer, component), model, spread)
            for (layer, component, model), spread in sorted(figures.seconds.items())[:MOST]
        ],
    }


def troubles(figures: Figures) -> Mapping[str, Any]:
    """What did not go as asked: by component, by the end of attempts, by the end of rows."""
    retries: Counter[tuple[int, int, str | None]] = Counter()
    ends: Counter[str] = Counter()
    for outcome in figures.outcomes:
        retries[outcome.layer, outcome.component, outcome.model] += outcome.retries
        if outcome.outcome != "ok":
            ends[outcome.outcome or "in flight"] += outcome.attempts
    components = []
    for group in figures.components[:MOST]:
        place = (group["layer"], group["component"], group["model"])
        components.append({**group, "retries": retries[place]})
    return {
        "components": components,
        "more": max(0, len(figures.components) - MOST),
        "attempts": sum(group["attempts"] for group in figures.components),
        "retries": retries.total(),
        "ends": ends.most_common(MOST),
        "reasons": figures.reasons[:8],
        "more_reasons": sum(rows for _, _, rows in figures.reasons[8:]),
    }


def flow(figures: Figures) -> list[list[Mapping[str, Any]]]:
    """The architecture as it is drawn: layers of components, each with its model and samples."""
    return [
        [
            {
                "type": component["type"],
                "samples": component.get("samples", 1),
                "model": figures.models.get(component.get("model", ""), component.get("model")),
            }
            for component in layer[:MOST]
        ]
        for layer in figures.layers
    ]


def _types(figures: Figures, layer: int) -> str:
    return ", ".join(dict.fromkeys(c["type"] for c in figures.layers[layer]))


def _type(figures: Figures, layer: int, component: int) -> str:
    return str(figures.layers[layer][component]["type"])
