"""One item, printed layer by layer: calls, effects, candidates; then the answer and the cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon_batch.cli.calls_view import max_text_lines, print_calls
from archon_batch.cli.tables import CALL_COUNTS, cost_parts, format_usd
from archon_batch.cli.terminal_page import StyledText, TerminalPage, pluralize

#: Names listed before the rest is counted.
_MAX_NAMED = 3
#: Kinds of warnings that concern one call each.
_CALL_WARNINGS = ("unparsed", "failed", "truncated")

_QUIET, _WARN, _ERROR, _GOOD = "dim", "yellow", "red", "green"

JsonObject = Mapping[str, Any]


def print_item(item: JsonObject, *, full: bool) -> None:
    """Print an item as ``views.item_details`` returns it; ``full`` shows texts in full length."""
    page = TerminalPage()
    calls = {call["call"]: call for call in item["calls_made"]}
    _print_question(page, item["messages"], full=full)
    before: JsonObject = {"candidates": [], "unit_tests": []}
    for layer in item["layers"]:
        _print_layer(page, item, layer, before, calls, full=full)
        before = layer
    _print_other_calls(page, item, calls, full=full)
    _print_component_table(page, item)
    _print_result(page, item)


def _print_question(page: TerminalPage, messages: Sequence[JsonObject], *, full: bool) -> None:
    if not messages:
        return
    *earlier, query = messages
    after = f", after {pluralize(len(earlier), 'message')}" if earlier else ""
    page.line((f"question{after}", "bold"))
    page.block(query["content"], indent=2, max_lines=max_text_lines(1, full=full))


def _print_layer(
    page: TerminalPage,
    item: JsonObject,
    layer: JsonObject,
    before: JsonObject,
    calls: Mapping[str, JsonObject],
    *,
    full: bool,
) -> None:
    candidates_in, candidates_out = before["candidates"], layer["candidates"]
    if candidates_out is None:
        ended = "failed here" if item["status"] == "failed" else "not done"
        count = pluralize(len(candidates_in), "candidate")
        page.heading(f"layer {layer['layer']}: {count} in, {ended}")
    else:
        count = pluralize(len(candidates_out), "candidate")
        page.heading(f"layer {layer['layer']}: {len(candidates_in)} -> {count}")
    for position, component in _with_positions(layer):
        _print_component(page, position, component, item["missing"])
        component_calls = [calls[key] for key in component["calls"]]
        print_calls(page, component_calls, item["missing"], full=full)
    if candidates_out is not None:
        _print_tests(page, layer["unit_tests"], before["unit_tests"])
        _print_candidates(page, candidates_out, candidates_in)


def _print_other_calls(
    page: TerminalPage, item: JsonObject, calls: Mapping[str, JsonObject], *, full: bool
) -> None:
    """Print the calls that belong to no layer; without a trace, these are all calls."""
    trace_error = item["trace_error"]
    shown = {key for layer in item["layers"] for c in layer["components"] for key in c["calls"]}
    by_component: dict[str, list[JsonObject]] = {}
    for key in [key for key in calls if key not in shown]:
        by_component.setdefault(".".join(key.split(".")[:2]), []).append(calls[key])
    if by_component or trace_error is not None:
        page.heading("calls" if trace_error is not None else "other stored calls")
    if trace_error is not None:
        page.line((f"the layers cannot be shown: {trace_error}", _WARN))
    for position, component_calls in by_component.items():
        first = component_calls[0]
        page.line((f"{position} {first['component']}", "bold"), f" {first['model']}")
        if trace_error is not None:
            warnings = [w for w in item["warnings"] if f"{w['layer']}.{w['component']}" == position]
            _print_warnings(page, warnings, len(component_calls))
        print_calls(page, component_calls, item["missing"], full=full)


def _print_component(
    page: TerminalPage, position: str, component: JsonObject, missing: Sequence[str]
) -> None:
    model = f" {component['model']}" if component["model"] else ""
    count = len(component["calls"])
    parts: list[StyledText] = [(f"{position} {component['type']}", "bold"), model]
    if component["model"]:
        parts.append((f", {pluralize(count, 'call')}", _QUIET))
    page.line(*parts, ": ", (_effect(component, missing, position), "bold"))
    _print_warnings(page, component["warnings"], count)


def _with_positions(layer: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for component in layer["components"]:
        yield f"{layer['layer']}.{component['component']}", component


def _effect(component: JsonObject, missing: Sequence[str], position: str) -> str:
    if component["effect"] is not None:
        return str(component["effect"])
    count = sum(key.startswith(f"{position}.") for key in missing)
    return f"waiting for {pluralize(count, 'call')}" if count else "has its replies"


def _print_warnings(page: TerminalPage, warnings: Sequence[JsonObject], calls: int) -> None:
    """Print each different warning once, with its count."""
    for (kind, why), count in Counter((w["kind"], w["why"]) for w in warnings).items():
        if kind in _CALL_WARNINGS:
            text = f"{kind}: {count} of {pluralize(calls, 'call')} ({why})"
        else:
            text = f"{kind}: {why}" + (f" ({count} times)" if count > 1 else "")
        page.line((text, _WARN), indent=4)


def _print_tests(page: TerminalPage, tests: Sequence[str], before: Sequence[str]) -> None:
    if tests == before:
        return
    rows = [(str(number), test) for number, test in enumerate(tests, 1)]
    page.blank_line()
    page.table(("#", "unit test"), rows, indent=2)


def _print_candidates(
    page: TerminalPage, candidates: Sequence[JsonObject], candidates_before: Sequence[JsonObject]
) -> None:
    if not candidates:
        return
    page.blank_line()
    if [_candidate_state(c) for c in candidates] == [
        _candidate_state(c) for c in candidates_before
    ]:
        page.line(("the candidates are unchanged", _QUIET), indent=2)
        return
    ids_before = {candidate["id"] for candidate in candidates_before}
    rows = [
        _candidate_row(candidate, is_new=candidate["id"] not in ids_before)
        for candidate in candidates
    ]
    names = ("candidate", "made of", "tests", "scores", "first words")
    filled = [index for index in range(len(names)) if any(row[index] for row in rows)]
    page.table(
        [names[index] for index in filled],
        [[row[index] for index in filled] for row in rows],
        indent=2,
    )


def _candidate_state(candidate: JsonObject) -> object:
    return candidate["id"], candidate["tests"], candidate["scores"]


def _candidate_row(candidate: JsonObject, *, is_new: bool) -> tuple[str, ...]:
    # The column of tests has this score already.
    scores = {k: v for k, v in candidate["scores"].items() if k != "unit_tests"}
    score_text = ", ".join(f"{name} {value:.3g}" for name, value in scores.items())
    return (
        candidate["id"],
        # Only the layer that creates a candidate shows its parents.
        _shorten(candidate["parents"]) if is_new else "",
        _format_tests(candidate["tests"]),
        score_text,
        candidate["text"][:200],
    )


def _format_tests(tests: Sequence[JsonObject] | None) -> str:
    if tests is None:
        return ""
    failed = [str(number) for number, test in enumerate(tests, 1) if not test["passed"]]
    passed = f"{len(tests) - len(failed)} of {len(tests)}"
    return f"{passed}, not {_shorten(failed)}" if 0 < len(failed) < len(tests) else passed


def _print_component_table(page: TerminalPage, item: JsonObject) -> None:
    """Print one line per component; the end of the output is what users see first."""
    rows = []
    for layer in item["layers"]:
        for position, component in _with_positions(layer):
            warnings = Counter(warning["kind"] for warning in component["warnings"])
            kinds = ", ".join(f"{kind}: {count}" for kind, count in warnings.items())
            effect = _effect(component, item["missing"], position)
            effect += f"; {kinds}" if kinds else ""
            calls = str(len(component["calls"])) if component["model"] else ""
            rows.append((position, component["type"], calls, effect))
    if len(rows) > 1:
        page.heading("summary")
        page.table(("", "component", "calls", "effect"), rows, wrap_last=True)


def _print_result(page: TerminalPage, item: JsonObject) -> None:
    page.heading(f"{item['status'].replace('_', ' ')}: {item['id']}")
    if item["answer"] is not None:
        if item["candidate"] is not None:
            page.line((f"candidate {item['candidate']}{_origin(item)}", _GOOD))
        page.paragraph(item["answer"])
    if item["reason"] is not None:
        page.line((item["reason"], _ERROR))
    if item["missing"]:
        missing = item["missing"]
        page.line((f"{pluralize(len(missing), 'call')} missing: {_shorten(missing)}", _WARN))
    page.blank_line()
    page.line((_cost_line(item), _QUIET))


def _origin(item: JsonObject) -> str:
    """The component that created the answering candidate; the candidate's id begins with its position."""
    position = ".".join(item["candidate"].split(".")[:2])
    components = [
        component
        for layer in item["layers"]
        for at, component in _with_positions(layer)
        if at == position
    ]
    return "".join(f", of {position} {c['type']} {c['model'] or ''}".rstrip() for c in components)


def _cost_line(item: JsonObject) -> str:
    parts = [pluralize(item["calls"], "call")]
    parts += [f"{item[key]} {label}" for key, label in CALL_COUNTS if item[key]]
    parts += [pluralize(item["attempts"], "attempt")]
    parts += [f"{item['prompt_tokens']:,} tokens in", f"{item['completion_tokens']:,} out"]
    parts += [f"{format_usd(item['usd'], item['unpriced_calls'])} paid"]
    parts += cost_parts(item)
    if item["seconds"] is not None:
        parts += [f"{item['seconds']:.1f} s"]
    return ", ".join(parts)


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" +{more}" if more > 0 else "")
