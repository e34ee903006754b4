"""A row's tree of calls as a page can hold it: whatever a row has, it comes to some size."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Characters of a text, calls of a component and of a row, candidates of a layer.
TEXT, CALLS, ROW_CALLS, CANDIDATES = 2_000, 12, 120, 24
#: Characters of the first words of a text.
_WORDS = 160

Shown = Mapping[str, Any]


def tree(shown: Shown) -> Shown:
    """What ``show --json`` has of a row, with all texts and lists cut to what is shown of them.

    A text becomes its shown part as ``text`` and the number of characters left out as ``more``.
    """
    *earlier, query = shown["messages"] or [{"content": ""}]
    calls = {call["call"]: call for call in shown["calls_made"]}
    left = ROW_CALLS
    layers = []
    told: set[str] = set()
    before: Shown = {"candidates": (), "unit_tests": ()}
    for layer in shown["layers"]:
        components = []
        for component in layer["components"]:
            keys = component["calls"][: min(CALLS, left)]
            told.update(component["calls"])
            left -= len(keys)
            components.append({
                **component,
                "notes": [f"{note['kind']}: {note['why']:.200}" for note in component["notes"][:6]],
                "calls": [_call(calls[key], calls) for key in keys],
                "more": len(component["calls"]) - len(keys),
            })  # fmt: skip
        candidates = _new(layer, before, "candidates")
        tests = _new(layer, before, "unit_tests")
        layers.append({
            "layer": layer["layer"],
            "components": components,
            "unit_tests": [test[:_WORDS] for test in tests[:CANDIDATES]],
            "candidates": [_candidate(one) for one in candidates[:CANDIDATES]],
            "more": max(0, len(candidates) - CANDIDATES),
        })  # fmt: skip
        before = layer
    rest = [call for key, call in calls.items() if key not in told]
    kept = rest[: min(CALLS, max(0, left))]
    return {
        "id": shown["id"],
        "status": shown["status"],
        "question": cut(query["content"]),
        "earlier": len(earlier),
        "answer": None if shown["answer"] is None else cut(shown["answer"]),
        "first_words": " ".join((shown["answer"] or shown["reason"] or "").split())[:_WORDS],
        "reason": shown["reason"],
        **{name: shown[name] for name in ("seconds", "usd", "unpriced_calls", "calls")},
        "notes": len(shown["notes"]),
        "layers": layers,
        "untold": shown["untold"],
        "rest": [_call(call, calls) for call in kept],
        "more_rest": len(rest) - len(kept),
        "missing": len(shown["missing"]),
        "fields": dict(_fields(shown["row"])),
    }


def _new(layer: Shown, before: Shown, what: str) -> Sequence[Any]:
    """What the layer left of it, unless it left all as it was."""
    left: Sequence[Any] = layer[what] or ()
    return () if left == before[what] else left


def cut(text: str) -> Mapping[str, Any]:
    return {"text": text[:TEXT], "more": max(0, len(text) - TEXT)}


def _call(call: Shown, all_calls: Mapping[str, Shown]) -> Shown:
    *slot, again = call["call"].split(".")
    attempts: Sequence[Shown] = call["attempts"]
    paid = [attempt["usd"] for attempt in attempts if attempt["usd"] is not None]
    return {
        "call": call["call"],
        "model": call["model"],
        "text": None if call["text"] is None else cut(call["text"]),
        "failure": None if call["failure"] is None else cut(call["failure"]),
        "cached": call["cached"],
        "cut": call["finish"] == "length",
        "refused": ".".join((*slot, str(int(again) + 1))) in all_calls,
        "attempts": attempts[-CALLS:],
        "tries": len(attempts),
        "prompt_tokens": sum(attempt["prompt_tokens"] or 0 for attempt in attempts),
        "completion_tokens": sum(attempt["completion_tokens"] or 0 for attempt in attempts),
        "usd": sum(paid) if paid else None,
    }


def _candidate(candidate: Shown) -> Shown:
    tests = candidate["tests"]
    return {
        "id": candidate["id"],
        "words": " ".join(candidate["text"].split())[:_WORDS],
        "parents": candidate["parents"][:CANDIDATES],
        "tests": None if tests is None else (sum(t["passed"] for t in tests), len(tests)),
        "scores": {k: v for k, v in candidate["scores"].items() if k != "unit_tests"},
    }


def _fields(row: Shown) -> Iterator[tuple[str, str]]:
    """The row's other keys, the first few of them, each in a line."""
    for name, value in list(row.items())[:CALLS]:
        yield name[:_WORDS], str(value)[:_WORDS]
