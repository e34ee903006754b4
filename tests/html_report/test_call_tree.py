"""The truncated call tree of a row."""

import json

from archon_batch.html_report.call_tree import (
    MAX_CALLS,
    MAX_CANDIDATES,
    MAX_ROW_CALLS,
    MAX_TEXT_CHARS,
    call_tree,
)
from archon_batch.jobs import views
from tests.builders import a_question
from tests.html_report.jobs import a_finished_job


def shown(store, job):
    return call_tree(views.item_details(store, job, next(store.item_results.all(job.id))))


def test_a_long_text_is_truncated_with_a_count(store) -> None:
    job = a_finished_job(
        store, [a_question("q" * 5000)], lambda *_: "x" * (MAX_TEXT_CHARS + 7), "generator"
    )

    row = shown(store, job)

    assert row["question"] == {"text": "q" * MAX_TEXT_CHARS, "more": 3000}
    assert row["answer"] == {"text": "x" * MAX_TEXT_CHARS, "more": 7}


def test_some_of_many_calls_are_shown_with_a_count(store) -> None:
    job = a_finished_job(
        store, 1, lambda *_: "x", {"type": "generator", "samples": MAX_CANDIDATES + 9}
    )

    (layer,) = shown(store, job)["layers"]

    (generator,) = layer["components"]
    assert len(generator["calls"]) == MAX_CALLS
    assert generator["more"] == MAX_CANDIDATES + 9 - MAX_CALLS
    assert (len(layer["candidates"]), layer["more"]) == (MAX_CANDIDATES, 9)


def test_the_largest_row_has_a_bounded_size(store) -> None:
    many = [{"type": "generator", "samples": 16} for _ in range(14)]
    rubbish = "\x01" * 20_000
    job = a_finished_job(store, [a_question(rubbish)], lambda *_: rubbish, many)

    row = shown(store, job)

    calls = sum(len(c["calls"]) for layer in row["layers"] for c in layer["components"])
    assert calls == MAX_ROW_CALLS
    assert sum(c["more"] for layer in row["layers"] for c in layer["components"]) == 224 - calls
    assert (
        len(json.dumps(row, ensure_ascii=False, default=str))
        < 2 * MAX_ROW_CALLS * 6 * MAX_TEXT_CHARS
    )


def test_unchanged_candidates_are_shown_once(store) -> None:
    job = a_finished_job(
        store, 1, lambda _, call: "[Correct]" if call.component_type == "verifier" else "x",
        {"type": "generator", "samples": 2}, "critic",
    )  # fmt: skip

    first, second = shown(store, job)["layers"]

    assert len(first["candidates"]) == 2
    assert second["components"][0]["notes"]
    assert second["candidates"] == []
