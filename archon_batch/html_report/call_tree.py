"""The call tree of a row, truncated to a bounded size."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: The most characters of a text, calls of a component and of a row, candidates of a layer.
MAX_TEXT_CHARS, MAX_CALLS, MAX_ROW_CALLS, MAX_CANDIDATES = 2_000, 12, 120, 24
#: Characters of a preview.
_MAX_PREVIEW_CHARS = 160

JsonObject = Mapping[str, Any]


def call_tree(row: JsonObject) -> JsonObject:
    """The output of ``show --json`` for a row, with truncated texts and lists.

    A text becomes an object: ``text`` is the part to show, ``more`` the number of omitted characters.
    """
    *earlier, query = row["messages"] or [{"content": ""}]
    calls = {call["call"]: call for call in row["calls_made"]}
    left = MAX_ROW_CALLS
    layers = []
    shown: set[str] = set()
    before: JsonObject = {"candidates": (), "unit_tests": ()}
    for layer in row["layers"]:
        components = []
        for component in layer["components"]:
            keys = component["calls"][: min(MAX_CALLS, left)]
            shown.update(component["calls"])
            left -= len(keys)
            components.append({
                **component,
                "notes": [f"{note['kind']}: {note['why']:.200}" for note in component["warnings"][:6]],
                "calls": [_render_call(calls[key], calls) for key in keys],
                "more": len(component["calls"]) - len(keys),
            })  # fmt: skip
        candidates = _changed(layer, before, "candidates")
        tests = _changed(layer, before, "unit_tests")
        layers.append({
            "layer": layer["layer"],
            "components": components,
            "unit_tests": [test[:_MAX_PREVIEW_CHARS] for test in tests[:MAX_CANDIDATES]],
            "candidates": [_render_candidate(one) for one in candidates[:MAX_CANDIDATES]],
            "more": max(0, len(candidates) - MAX_CANDIDATES),
        })  # fmt: skip
        before = layer
    other_calls = [call for key, call in calls.items() if key not in shown]
    shown_calls = other_calls[: min(MAX_CALLS, max(0, left))]
    return {
        "id": row["id"],
        "status": row["status"],
        "question": truncate(query["content"]),
        "earlier": len(earlier),
        "answer": None if row["answer"] is None else truncate(row["answer"]),
        "first_words": " ".join((row["answer"] or row["reason"] or "").split())[
            :_MAX_PREVIEW_CHARS
        ],
        "reason": row["reason"],
        **{name: row[name] for name in ("seconds", "usd", "unpriced_calls", "calls")},
        "notes": len(row["warnings"]),
        "layers": layers,
        "trace_error": row["trace_error"],
        "other_calls": [_render_call(call, calls) for call in shown_calls],
        "more_other_calls": len(other_calls) - len(shown_calls),
        "missing": len(row["missing"]),
        "fields": dict(_row_fields(row["row"])),
    }


def _changed(layer: JsonObject, before: JsonObject, key: str) -> Sequence[Any]:
    """The layer's list under that key; empty if the layer left it unchanged."""
    left: Sequence[Any] = layer[key] or ()
    return () if left == before[key] else left


def truncate(text: str) -> Mapping[str, Any]:
    return {"text": text[:MAX_TEXT_CHARS], "more": max(0, len(text) - MAX_TEXT_CHARS)}


def _render_call(call: JsonObject, all_calls: Mapping[str, JsonObject]) -> JsonObject:
    *slot, again = call["call"].split(".")
    attempts: Sequence[JsonObject] = call["attempts"]
    paid = [attempt["usd"] for attempt in attempts if attempt["usd"] is not None]
    return {
        "call": call["call"],
        "model": call["model"],
        "text": None if call["text"] is None else truncate(call["text"]),
        "failure": None if call["failure"] is None else truncate(call["failure"]),
        "cached": call["cached"],
        "cut": call["finish"] == "length",
        "refused": ".".join((*slot, str(int(again) + 1))) in all_calls,
        "attempts": attempts[-MAX_CALLS:],
        "tries": len(attempts),
        "prompt_tokens": sum(attempt["prompt_tokens"] or 0 for attempt in attempts),
        "completion_tokens": sum(attempt["completion_tokens"] or 0 for attempt in attempts),
        "usd": sum(paid) if paid else None,
    }


def _render_candidate(candidate: JsonObject) -> JsonObject:
    tests = candidate["tests"]
    return {
        "id": candidate["id"],
        "words": " ".join(candidate["text"].split())[:_MAX_PREVIEW_CHARS],
        "parents": candidate["parents"][:MAX_CANDIDATES],
        "tests": None if tests is None else (sum(t["passed"] for t in tests), len(tests)),
        "scores": {k: v for k, v in candidate["scores"].items() if k != "unit_tests"},
    }


def _row_fields(row: JsonObject) -> Iterator[tuple[str, str]]:
    """The first few other fields of the row, each truncated to one line."""
    for name, value in list(row.items())[:MAX_CALLS]:
        yield name[:_MAX_PREVIEW_CHARS], str(value)[:_MAX_PREVIEW_CHARS]
