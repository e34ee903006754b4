"""An item as a person reads it: layer by layer what was asked, what came of it, what was left."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon_batch.cli.calls_view import max_text_lines, print_calls
from archon_batch.cli.tables import format_usd
from archon_batch.cli.terminal_page import StyledText, TerminalPage, pluralize

#: What is named one by one.
_MAX_NAMED = 3
#: Notes that are about a call each.
_CALL_WARNINGS = ("unparsed", "failed", "truncated")

_QUIET, _WARN, _ERROR, _GOOD = "dim", "yellow", "red", "green"

JsonObject = Mapping[str, Any]


def print_item(item: JsonObject, *, full: bool) -> None:
    """The item that ``report.show`` tells of; ``full`` shows every text to its end."""
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
    arrived, left = before["candidates"], layer["candidates"]
    if left is None:
        ended = "gave up here" if item["status"] == "failed" else "not done"
        page.heading(f"layer {layer['layer']}: {pluralize(len(arrived), 'candidate')} in, {ended}")
    else:
        count = pluralize(len(left), "candidate")
        page.heading(f"layer {layer['layer']}: {len(arrived)} -> {count}")
    for place, component in _with_positions(layer):
        _print_component(page, place, component, item["missing"])
        made = [calls[key] for key in component["calls"]]
        print_calls(page, made, item["missing"], full=full)
    if left is not None:
        _print_tests(page, layer["unit_tests"], before["unit_tests"])
        _print_candidates(page, left, arrived)


def _print_other_calls(
    page: TerminalPage, item: JsonObject, calls: Mapping[str, JsonObject], *, full: bool
) -> None:
    """The calls that no layer tells of: all of them when what came of them is not known."""
    untold = item["untold"]
    told = {key for layer in item["layers"] for c in layer["components"] for key in c["calls"]}
    rest: dict[str, list[JsonObject]] = {}
    for key in [key for key in calls if key not in told]:
        rest.setdefault(".".join(key.split(".")[:2]), []).append(calls[key])
    if rest or untold is not None:
        page.heading("calls" if untold is not None else "other calls on record")
    if untold is not None:
        page.line((f"what came of them cannot be told: {untold}", _WARN))
    for place, made in rest.items():
        page.line((f"{place} {made[0]['component']}", "bold"), f" {made[0]['model']}")
        noted = [n for n in item["notes"] if f"{n['layer']}.{n['component']}" == place]
        for note in _warning_lines(noted if untold is not None else (), len(made)):
            page.line((note, _WARN), indent=4)
        print_calls(page, made, item["missing"], full=full)


def _print_component(
    page: TerminalPage, position: str, component: JsonObject, missing: Sequence[str]
) -> None:
    model = f" {component['model']}" if component["model"] else ""
    count = len(component["calls"])
    words: list[StyledText] = [(f"{position} {component['type']}", "bold"), model]
    if component["model"]:
        words.append((f", {pluralize(count, 'call')}", _QUIET))
    page.line(*words, ": ", (_effect(component, missing, position), "bold"))
    for note in _warning_lines(component["notes"], count):
        page.line((note, _WARN), indent=4)


def _with_positions(layer: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for component in layer["components"]:
        yield f"{layer['layer']}.{component['component']}", component


def _effect(component: JsonObject, missing: Sequence[str], position: str) -> str:
    if component["did"] is not None:
        return str(component["did"])
    count = sum(key.startswith(f"{position}.") for key in missing)
    return f"misses {pluralize(count, 'call')}" if count else "has its replies"


def _warning_lines(warnings: Sequence[JsonObject], calls: int) -> Iterator[str]:
    """Each once, with how often it was so."""
    for (kind, why), count in Counter((note["kind"], note["why"]) for note in warnings).items():
        if kind in _CALL_WARNINGS:
            yield f"{kind}: {count} of {pluralize(calls, 'call')} ({why})"
        else:
            yield f"{kind}: {why}" + (f" ({count} times)" if count > 1 else "")


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
        page.line(("the candidates are those before", _QUIET), indent=2)
        return
    there_before = {candidate["id"] for candidate in candidates_before}
    rows = [
        _candidate_row(candidate, is_new=candidate["id"] not in there_before)
        for candidate in candidates
    ]
    names = ("candidate", "made of", "tests", "scores", "first words")
    told = [index for index in range(len(names)) if any(row[index] for row in rows)]
    page.table(
        [names[index] for index in told],
        [[row[index] for index in told] for row in rows],
        indent=2,
    )


def _candidate_state(candidate: JsonObject) -> object:
    return candidate["id"], candidate["tests"], candidate["scores"]


def _candidate_row(candidate: JsonObject, *, is_new: bool) -> tuple[str, ...]:
    # The share of the tests is told by their number already.
    scores = {k: v for k, v in candidate["scores"].items() if k != "unit_tests"}
    told = ", ".join(f"{name} {value:.3g}" for name, value in scores.items())
    return (
        candidate["id"],
        # Told once, where it is made.
        _shorten(candidate["parents"]) if is_new else "",
        _format_tests(candidate["tests"]),
        told,
        candidate["text"][:200],
    )


def _format_tests(tests: Sequence[JsonObject] | None) -> str:
    if tests is None:
        return ""
    failed = [str(number) for number, test in enumerate(tests, 1) if not test["passed"]]
    told = f"{len(tests) - len(failed)} of {len(tests)}"
    return f"{told}, not {_shorten(failed)}" if 0 < len(failed) < len(tests) else told


def _print_component_table(page: TerminalPage, item: JsonObject) -> None:
    """All of it once more in a line a component: the end of a page is what is seen first."""
    rows = []
    for layer in item["layers"]:
        for place, component in _with_positions(layer):
            notes = Counter(note["kind"] for note in component["notes"])
            kinds = ", ".join(f"{kind}: {count}" for kind, count in notes.items())
            told = _effect(component, item["missing"], place) + (f"; {kinds}" if kinds else "")
            calls = str(len(component["calls"])) if component["model"] else ""
            rows.append((place, component["type"], calls, told))
    if len(rows) > 1:
        page.heading("in short")
        page.table(("", "component", "calls", "what it did"), rows, wrap_last=True)


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
    """The component that made the candidate that answers, by what its id begins with."""
    at = ".".join(item["candidate"].split(".")[:2])
    makers = [c for layer in item["layers"] for place, c in _with_positions(layer) if place == at]
    return "".join(f", of {at} {c['type']} {c['model'] or ''}".rstrip() for c in makers)


def _cost_line(item: JsonObject) -> str:
    told = [pluralize(item["calls"], "call")]
    told += [f"{item[k]} {w}" for k, w in _CALL_COUNTS if item[k]]
    told += [pluralize(item["attempts"], "attempt")]
    told += [f"{item['prompt_tokens']:,} tokens in", f"{item['completion_tokens']:,} out"]
    told += [f"{format_usd(item['usd'], item['unpriced_calls'])} paid"]
    told += [f"{format_usd(item[k])} {w}" for k, w in _COSTS if item[k]]
    if item["seconds"] is not None:
        told += [f"{item['seconds']:.1f} s"]
    return ", ".join(told)


_CALL_COUNTS = (("cached_calls", "found again"), ("failed_calls", "failed"))
_COSTS = (("in_doubt_usd", "possibly paid"), ("saved_usd", "saved"))


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" +{more}" if more > 0 else "")
