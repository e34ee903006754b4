"""Answers scored by the command that a person types."""

import csv
import hashlib
import json
from collections.abc import Sequence

import pytest

from archon_batch.archon import Answer, Failed
from archon_batch.money import Price
from archon_batch.store import NewItem, NewJob, Store
from tests.builders import MODEL, a_finish, a_question, a_start, an_architecture
from tests.cli.terminal import Terminal

ARCH = """\
models: {one: {model: scripted/plausible, price: {input: 2, output: 10}}}
layers:
  - {type: generator, model: one}
"""
JURY = """\
models: {one: {model: scripted/plausible, price: {input: 2, output: 10}}}
layers:
  - - {type: judge, model: one}
    - {type: judge, model: one, temperature: 0.5}
    - {type: judge, model: one, temperature: 1.0}
  - {type: voter, extract: regex, pattern: '\\[\\[(.+?)\\]\\]'}
"""


@pytest.fixture
def folder(terminal: Terminal) -> Terminal:
    """Two jobs of twelve rows that are done: one is right in half of them, one never is."""
    terminal.write("good.yaml", ARCH)
    store = Store.open("sqlite:///archon-batch.db")
    _done(store, "good", [f"answer {n}" for n in range(12)])
    _done(store, "rough", [None if n % 4 == 0 else "It is hard to say." for n in range(12)])
    store.close()
    return terminal


def _done(store: Store, name: str, answers: Sequence[str | None]) -> None:
    new = NewJob(
        submit_key=hashlib.sha256(name.encode()).hexdigest(),
        name=name,
        dataset="rows.jsonl",
        architecture=an_architecture("generator").to_dict(),
        prices={MODEL: Price(1, 1)},
        options={},
        shard_size=16,
        concurrent_shards=4,
        budget=None,
    )
    rows = [
        NewItem(
            f"q{n}",
            a_question(row=f"q{n}"),
            {
                "topic": "even" if n % 2 == 0 else "odd",
                "gold": f"answer {n}" if n % 2 == 0 else "other",
            },
        )
        for n in range(12)
    ]
    job, _ = store.jobs.get_or_create(new, rows)
    ends = [
        (n, Failed(0, "refused") if t is None else Answer(t, "0")) for n, t in enumerate(answers)
    ]
    store.items.finish(job.id, ends)
    start = a_start(job)
    store.attempt_writer.admit(start).result()
    store.attempt_writer.settle(a_finish(start)).result()
    store.jobs.change_state(job.id, "done", from_states=["running"])


EXACT = ("--metric", "exact", "--reference", "gold")


def test_a_job_is_scored_with_its_interval_by_a_field_and_for_its_money(folder: Terminal) -> None:
    figures = folder.json("score", "good", *EXACT, "--by", "topic")
    again = folder.json("score", "good", *EXACT, "--by", "topic")

    assert (figures["metric"], figures["rows"], figures["mean"]) == ("exact against gold", 12, 0.5)
    assert 0.1 < figures["low"] < 0.5 < figures["high"] < 0.9
    assert [(group["topic"], group["mean"]) for group in figures["by"]] == [("even", 1), ("odd", 0)]
    assert figures["usd_per_point"] == pytest.approx(figures["usd"] / 6)
    assert again == figures
    said = folder.run("score", "good", *EXACT, "--by", "topic").out
    assert "0.5000, 95 % interval" in said
    assert "for each right answer" in said


def test_the_scores_come_with_the_export_and_only_when_there_are_some(folder: Terminal) -> None:
    folder.run("export", "good", "-o", "before.jsonl")
    folder.run("score", "good", *EXACT)
    folder.run("export", "good", "-o", "after.jsonl")
    folder.run("export", "good", "-o", "after.csv")
    folder.run("export", "good", "-o", "after.parquet")

    assert "scores" not in json.loads(folder.read("before.jsonl").splitlines()[0])
    rows = [json.loads(line) for line in folder.read("after.jsonl").splitlines()]
    assert [row["scores"]["exact against gold"]["value"] for row in rows] == [1, 0] * 6
    (cell, *_) = [row["scores"] for row in csv.DictReader(folder.read("after.csv").splitlines())]
    assert json.loads(cell)["exact against gold"]["value"] == 1
    assert folder.has("after.parquet")


def test_two_jobs_are_compared_row_by_row(folder: Terminal) -> None:
    compared = folder.json("score", "good", *EXACT, "--compare", "rough")["compared"]

    assert (compared["name"], compared["rows"]) == ("rough", 12)
    assert compared["mean"] == pytest.approx(0.5)
    assert (compared["better"], compared["worse"]) == (6, 0)
    assert "against rough: +0.5000" in folder.run("score", "good", *EXACT, "--compare", "rough").out


def test_rows_that_were_given_up_are_wrong_and_counted(folder: Terminal) -> None:
    figures = folder.json("score", "rough", *EXACT)

    assert (figures["failed"], figures["rows"], figures["mean"]) == (3, 12, 0)


def test_unparsed_answers_are_reported_with_reasons(folder: Terminal) -> None:
    figures = folder.json("score", "good", "--metric", "regex:no such thing", "--reference", "gold")

    assert figures["unparsed_reasons"] == {"the pattern matches nothing in the answer": 12}
    assert figures["mean"] == 0


def test_labels_come_with_their_matrix(folder: Terminal) -> None:
    ended = folder.run("score", "good", "--metric", "label", "--reference", "topic")

    assert "macro F1 0.0000" in ended.out
    assert "reference \\ answer" in ended.out


def test_a_judge_rates_in_a_job_of_its_own_that_is_paid_once(folder: Terminal) -> None:
    judge = ("--metric", "judge-single", "--judge", "good.yaml")
    figures = folder.json("score", "good", *judge)
    jobs = len(folder.json("jobs"))
    again = folder.json("score", "good", *judge)

    assert 1 <= figures["mean"] <= 10
    assert (figures["rows"], figures["usd_per_point"]) == (12, None)
    of_judge = folder.json("status", figures["judge"]["job"])
    assert of_judge["name"] == "good-judge-single-good"
    # An opinion and a verdict for each row; the architecture has no judge of its own.
    assert of_judge["calls"] == figures["judge"]["calls"] == 24
    assert of_judge["usd"] == figures["judge"]["usd"] > 0
    assert again == figures
    assert len(folder.json("jobs")) == jobs


def test_a_jury_compares_with_another_job_in_both_orders(folder: Terminal) -> None:
    folder.write("jury.yaml", JURY)

    figures = folder.json(
        "score", "good", "--metric", "judge-pairwise", "--judge", "jury.yaml",
        "--baseline", "rough", "--reference", "gold",
    )  # fmt: skip

    assert figures["unparsed_reasons"] == {"the baseline has no answer": 3}
    assert figures["won"] + figures["tied"] + figures["lost"] == figures["rows"] == 9
    assert figures["judge"]["calls"] == 2 * 3 * 9
    assert figures["metric"] == "judge-pairwise by jury.yaml against rough"


def test_a_judge_stops_at_its_budget_and_goes_on_with_a_larger_one(folder: Terminal) -> None:
    judge = ("score", "good", "--metric", "judge-single", "--judge", "good.yaml")

    ended = folder.run(*judge, "--budget", "0.025")
    scored = [job for job in folder.json("jobs") if job["name"] == "good-judge-single-good"]
    resumed = folder.json(*judge, "--budget", "10")

    assert ended.status == 4
    assert "the same command continues it" in ended.err
    assert scored[0]["state"] == "paused"
    assert resumed["rows"] == 12
    assert resumed["judge"]["job"] == scored[0]["job"]


REFUSED = [
    (("--metric", "exakt"), "did you mean 'exact'?"),
    (("--metric", "exact"), "in a field of the row: --reference"),
    (("--metric", "exact", "--reference", "golt"), "did you mean 'gold'?"),
    (("--metric", "number", "--reference", "topic"), "number expects a number"),
    (("--metric", "number:3", "--reference", "gold"), "no argument after its name"),
    (("--metric", "regex:(", "--reference", "gold"), "regex expects a regular expression"),
    (("--metric", "json:@none.json"), "none.json: no such file"),
    (("--metric", "json:[]"), "json expects a JSON schema"),
    ((*EXACT, "--judge", "good.yaml"), "are of judge-single, judge-pairwise"),
    (("--metric", "judge-single"), "--judge: judge-single wants a model"),
    (("--metric", "judge-single", "--judge", "none"), "no such file"),
    (("--metric", "judge-single", "--judge", "openay/gpt-4o"), "--judge: openay/gpt-4o"),
    (("--metric", "judge-pairwise", "--judge", "good.yaml"), "--baseline"),
    (
        ("--metric", "judge-single", "--judge", "good.yaml", "--baseline", "gold"),
        "--baseline",
    ),
    (
        ("--metric", "judge-pairwise", "--judge", "good.yaml", "--baseline", "nobody"),
        "no job with this id or name",
    ),
]


def test_what_cannot_be_scored_is_refused_and_nothing_is_stored(folder: Terminal) -> None:
    for arguments, why in REFUSED:
        ended = folder.run("score", "good", *arguments)
        assert ended.status == 2, arguments
        assert why in ended.err, arguments

    assert len(folder.json("jobs")) == 2
    folder.run("export", "good", "-o", "after.jsonl")
    assert '"scores"' not in folder.read("after.jsonl")


def test_a_field_or_a_job_that_is_not_there_is_named(folder: Terminal) -> None:
    assert "did you mean 'topic'?" in folder.run("score", "good", *EXACT, "--by", "topik").err
    assert "no job with this id" in folder.run("score", "good", *EXACT, "--compare", "nobody").err
