"""An item as a person reads it: layer by layer what was asked, what came of it, what was left."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archon_batch.cli.calls_view import lines, print_calls
from archon_batch.cli.tables import money
from archon_batch.cli.terminal_page import Page, Words, counted

#: What is named one by one.
_NAMED = 3
#: Notes that are about a call each.
_OF_CALLS = ("unreadable", "failed", "cut")

_QUIET, _WARN, _WRONG, _GOOD = "dim", "yellow", "red", "green"

Figures = Mapping[str, Any]


def print_story(figures: Figures, *, full: bool) -> None:
    """The item that ``report.show`` tells of; ``full`` shows every text to its end."""
    page = Page()
    calls = {call["call"]: call for call in figures["calls_made"]}
    _print_question(page, figures["messages"], full=full)
    before: Figures = {"candidates": [], "unit_tests": []}
    for layer in figures["layers"]:
        _print_layer(page, figures, layer, before, calls, full=full)
        before = layer
    _print_rest(page, figures, calls, full=full)
    _print_short(page, figures)
    _print_end(page, figures)


def _print_question(page: Page, messages: Sequence[Figures], *, full: bool) -> None:
    if not messages:
        return
    *earlier, query = messages
    after = f", after {counted(len(earlier), 'message')}" if earlier else ""
    page.line((f"question{after}", "bold"))
    page.block(query["content"], indent=2, most=lines(1, full=full))


def _print_layer(
    page: Page,
    figures: Figures,
    layer: Figures,
    before: Figures,
    calls: Mapping[str, Figures],
    *,
    full: bool,
) -> None:
    arrived, left = before["candidates"], layer["candidates"]
    if left is None:
        ended = "gave up here" if figures["status"] == "given_up" else "not done"
        page.heading(f"layer {layer['layer']}: {counted(len(arrived), 'candidate')} in, {ended}")
    else:
        count = counted(len(left), "candidate")
        page.heading(f"layer {layer['layer']}: {len(arrived)} -> {count}")
    for place, component in _placed(layer):
        _print_component(page, place, component, figures["missing"])
        made = [calls[key] for key in component["calls"]]
        print_calls(page, made, figures["missing"], full=full)
    if left is not None:
        _print_tests(page, layer["unit_tests"], before["unit_tests"])
        _print_candidates(page, left, arrived)


def _print_rest(page: Page, figures: Figures, calls: Mapping[str, Figures], *, full: bool) -> None:
    """The calls that no layer tells of: all of them when what came of them is not known."""
    untold = figures["untold"]
    told = {key for layer in figures["layers"] for c in layer["components"] for key in c["calls"]}
    rest: dict[str, list[Figures]] = {}
    for key in [key for key in calls if key not in told]:
        rest.setdefault(".".join(key.split(".")[:2]), []).append(calls[key])
    if rest or untold is not None:
        page.heading("calls" if untold is not None else "other calls on record")
    if untold is not None:
        page.line((f"what came of them cannot be told: {untold}", _WARN))
    for place, made in rest.items():
        page.line((f"{place} {made[0]['component']}", "bold"), f" {made[0]['model']}")
        noted = [n for n in figures["notes"] if f"{n['layer']}.{n['component']}" == place]
        for note in _notes(noted if untold is not None else (), len(made)):
            page.line((note, _WARN), indent=4)
        print_calls(page, made, figures["missing"], full=full)


def _print_component(page: Page, place: str, component: Figures, missing: Sequence[str]) -> None:
    model = f" {component['model']}" if component["model"] else ""
    count = len(component["calls"])
    words: list[Words] = [(f"{place} {component['type']}", "bold"), model]
    if component["model"]:
        words.append((f", {counted(count, 'call')}", _QUIET))
    page.line(*words, ": ", (_did(component, missing, place), "bold"))
    for note in _notes(component["notes"], count):
        page.line((note, _WARN), indent=4)


def _placed(layer: Figures) -> Iterator[tuple[str, Figures]]:
    for component in layer["components"]:
        yield f"{layer['layer']}.{component['component']}", component


def _did(component: Figures, missing: Sequence[str], place: str) -> str:
    if component["did"] is not None:
        return str(component["did"])
    count = sum(key.startswith(f"{place}.") for key in missing)
    return f"misses {counted(count, 'call')}" if count else "has its replies"


def _notes(notes: Sequence[Figures], calls: int) -> Iterator[str]:
    """Each once, with how often it was so."""
    for (kind, why), count in Counter((note["kind"], note["why"]) for note in notes).items():
        if kind in _OF_CALLS:
            yield f"{kind}: {count} of {counted(calls, 'call')} ({why})"
        else:
            yield f"{kind}: {why}" + (f" ({count} times)" if count > 1 else "")


def _print_tests(page: Page, tests: Sequence[str], before: Sequence[str]) -> None:
    if tests == before:
        return
    rows = [(str(number), test) for number, test in enumerate(tests, 1)]
    page.space()
    page.table(("#", "unit test"), rows, indent=2)


def _print_candidates(page: Page, left: Sequence[Figures], arrived: Sequence[Figures]) -> None:
    if not left:
        return
    page.space()
    if [_known(c) for c in left] == [_known(c) for c in arrived]:
        page.line(("the candidates are those before", _QUIET), indent=2)
        return
    there_before = {candidate["id"] for candidate in arrived}
    rows = [_row(candidate, made=candidate["id"] not in there_before) for candidate in left]
    names = ("candidate", "made of", "tests", "scores", "first words")
    told = [index for index in range(len(names)) if any(row[index] for row in rows)]
    page.table(
        [names[index] for index in told],
        [[row[index] for index in told] for row in rows],
        indent=2,
    )


def _known(candidate: Figures) -> object:
    return candidate["id"], candidate["tests"], candidate["scores"]


def _row(candidate: Figures, *, made: bool) -> tuple[str, ...]:
    # The share of the tests is told by their number already.
    scores = {k: v for k, v in candidate["scores"].items() if k != "unit_tests"}
    told = ", ".join(f"{name} {value:.3g}" for name, value in scores.items())
    return (
        candidate["id"],
        # Told once, where it is made.
        _some(candidate["parents"]) if made else "",
        _tests(candidate["tests"]),
        told,
        candidate["text"][:200],
    )


def _tests(tests: Sequence[Figures] | None) -> str:
    if tests is None:
        return ""
    failed = [str(number) for number, test in enumerate(tests, 1) if not test["passed"]]
    told = f"{len(tests) - len(failed)} of {len(tests)}"
    return f"{told}, not {_some(failed)}" if 0 < len(failed) < len(tests) else told


def _print_short(page: Page, figures: Figures) -> None:
    """All of it once more in a line a component: the end of a page is what is seen first."""
    rows = []
    for layer in figures["layers"]:
        for place, component in _placed(layer):
            notes = Counter(note["kind"] for note in component["notes"])
            kinds = ", ".join(f"{kind}: {count}" for kind, count in notes.items())
            told = _did(component, figures["missing"], place) + (f"; {kinds}" if kinds else "")
            calls = str(len(component["calls"])) if component["model"] else ""
            rows.append((place, component["type"], calls, told))
    if len(rows) > 1:
        page.heading("in short")
        page.table(("", "component", "calls", "what it did"), rows, whole=True)


def _print_end(page: Page, figures: Figures) -> None:
    page.heading(f"{figures['status'].replace('_', ' ')}: {figures['id']}")
    if figures["answer"] is not None:
        if figures["candidate"] is not None:
            page.line((f"candidate {figures['candidate']}{_maker(figures)}", _GOOD))
        page.prose(figures["answer"])
    if figures["reason"] is not None:
        page.line((figures["reason"], _WRONG))
    if figures["missing"]:
        missing = figures["missing"]
        page.line((f"{counted(len(missing), 'call')} missing: {_some(missing)}", _WARN))
    page.space()
    page.line((_account(figures), _QUIET))


def _maker(figures: Figures) -> str:
    """The component that made the candidate that answers, by what its id begins with."""
    at = ".".join(figures["candidate"].split(".")[:2])
    makers = [c for layer in figures["layers"] for place, c in _placed(layer) if place == at]
    return "".join(f", of {at} {c['type']} {c['model'] or ''}".rstrip() for c in makers)


def _account(figures: Figures) -> str:
    told = [counted(figures["calls"], "call")]
    told += [f"{figures[k]} {w}" for k, w in _CALLS if figures[k]]
    told += [counted(figures["attempts"], "attempt")]
    told += [f"{figures['prompt_tokens']:,} tokens in", f"{figures['completion_tokens']:,} out"]
    told += [f"{money(figures['usd'], figures['unpriced_calls'])} paid"]
    told += [f"{money(figures[k])} {w}" for k, w in _SPENT if figures[k]]
    if figures["seconds"] is not None:
        told += [f"{figures['seconds']:.1f} s"]
    return ", ".join(told)


_CALLS = (("cached_calls", "found again"), ("failed_calls", "failed"))
_SPENT = (("in_doubt_usd", "possibly paid"), ("saved_usd", "saved"))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" +{more}" if more > 0 else "")
