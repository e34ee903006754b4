"""A row's tree of calls, whatever the row has, in some size."""

import json

from archon_batch.html_report.call_tree import CALLS, CANDIDATES, ROW_CALLS, TEXT, tree
from archon_batch.jobs import views
from tests.builders import a_question
from tests.html_report.jobs import a_played_job


def shown(store, job):
    return tree(views.show(store, job, next(store.endings.all(job.id))))


def test_a_long_text_is_cut_and_says_by_how_much(store) -> None:
    job = a_played_job(store, [a_question("q" * 5000)], lambda *_: "x" * (TEXT + 7), "generator")

    row = shown(store, job)

    assert row["question"] == {"text": "q" * TEXT, "more": 3000}
    assert row["answer"] == {"text": "x" * TEXT, "more": 7}


def test_of_many_calls_some_are_shown_and_the_others_counted(store) -> None:
    job = a_played_job(store, 1, lambda *_: "x", {"type": "generator", "samples": CANDIDATES + 9})

    (layer,) = shown(store, job)["layers"]

    (generator,) = layer["components"]
    assert len(generator["calls"]) == CALLS
    assert generator["more"] == CANDIDATES + 9 - CALLS
    assert (len(layer["candidates"]), layer["more"]) == (CANDIDATES, 9)


def test_the_largest_row_comes_to_no_more_than_some_size(store) -> None:
    many = [{"type": "generator", "samples": 16} for _ in range(14)]
    rubbish = "\x01" * 20_000
    job = a_played_job(store, [a_question(rubbish)], lambda *_: rubbish, many)

    row = shown(store, job)

    calls = sum(len(c["calls"]) for layer in row["layers"] for c in layer["components"])
    assert calls == ROW_CALLS
    assert sum(c["more"] for layer in row["layers"] for c in layer["components"]) == 224 - calls
    assert len(json.dumps(row, ensure_ascii=False, default=str)) < 2 * ROW_CALLS * 6 * TEXT


def test_what_a_layer_left_as_it_was_is_shown_once(store) -> None:
    job = a_played_job(
        store, 1, lambda _, call: "[Correct]" if call.kind == "verifier" else "x",
        {"type": "generator", "samples": 2}, "critic",
    )  # fmt: skip

    first, second = shown(store, job)["layers"]

    assert len(first["candidates"]) == 2
    assert second["components"][0]["notes"]
    assert second["candidates"] == []
