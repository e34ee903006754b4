"""Searches by the command that a person types, on spaces at the edge of what can be searched."""

import json

import pytest

from tests.cli.terminal import Terminal

SPACE = """\
name: small
models: {one: {model: scripted/plausible, price: {input: 1, output: 1}}}
roles: {generators: [one], fusers: [one], ranker: one}
axes:
  generators: 1
  samples: [1, 2]
  fusions: [0, 1]
  review: [none, ranker]
"""
ONE = """\
name: one
models: {one: {model: scripted/plausible, price: {input: 1, output: 1}}}
roles: {generators: [one]}
axes: {generators: 1, fusions: 0}
"""


@pytest.fixture
def folder(terminal: Terminal) -> Terminal:
    terminal.write("small.yaml", SPACE)
    terminal.write("one.yaml", ONE)
    rows = [
        {"id": n, "prompt": f"Tell of {n}.", "answer": "^[A-N]", "letter": "t"} for n in range(10)
    ]
    terminal.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return terminal


def command(space: str, *more: str, metric: str = "regex") -> tuple[str, ...]:
    return ("search", "rows.jsonl", "--space", f"{space}.yaml", "--metric", metric, "-o", "found",
            "--dev", "0.5", *more)  # fmt: skip


def test_of_a_space_of_one_architecture_it_is_the_winner_and_the_single_model_too(
    folder: Terminal,
) -> None:
    told = folder.json(*command("one", "--trials", "9"))

    result = told["result"]
    assert result["ended"] == "all 1 architectures were tried"
    assert result["against_best_single"] == {"rows": 5, "mean": 0.0, "low": 0.0, "high": 0.0}
    # The calls of the baselines are paid once, and so are the held-out rows.
    assert (result["paid_calls"], result["sequential_calls"]) == (5, 10)
    assert result["held_out_calls"] == 5
    assert folder.has("found/winner.yaml")
    assert folder.json(*command("one", "--trials", "9"))["result"] == result


def test_a_space_without_an_architecture_says_why(folder: Terminal) -> None:
    folder.write("none.yaml", SPACE + "limits: {tokens: 1}\n")

    ended = folder.run(*command("none"))

    assert ended.status == 2
    assert "small: no architecture of the space is valid: more than 1 tokens per row" in ended.err


def test_a_metric_that_is_always_zero_is_questioned(folder: Terminal) -> None:
    ended = folder.run(*command("small", metric="exact"))

    assert ended.status == 1
    assert "no architecture has a score, so there is no winner" in ended.out
    assert "check the metric and the reference" in ended.out
    assert not folder.has("found/winner.yaml")


def test_a_budget_for_half_a_trial_ends_before_it_and_a_larger_one_goes_on(
    folder: Terminal,
) -> None:
    ended = folder.run(*command("small", "--budget", "0.00002"))
    assert ended.status == 4
    assert "ended: the budget was used up by the baselines" in ended.out

    more = folder.json(*command("small", "--budget", "1", "--trials", "50"))
    assert more["result"]["ended"] == "all 5 architectures were tried"


def test_a_metric_is_named_with_what_stands_behind_it_as_score_names_it(folder: Terminal) -> None:
    told = folder.json(*command("one", "--reference", "letter", metric="regex:(?i)(t)"))
    assert told["asked"]["metric"] == "regex:(?i)(t)"
    assert told["result"]["winner"]["dev"]["mean"] == 1

    unknown = folder.run(*command("one", metric="numbr"))
    assert (unknown.status, "no metric 'numbr'" in unknown.err) == (2, True)
    behind = folder.run(*command("one", metric="number:3"))
    assert (behind.status, "number expects no argument after its name" in behind.err) == (2, True)


def test_a_metric_that_needs_no_reference_is_asked_of_rows_that_have_none(folder: Terminal) -> None:
    folder.write("rows.jsonl", "".join(f'{{"prompt": "Say {n}."}}\n' for n in range(6)))
    folder.write("any.json", "{}")

    ended = folder.run(*command("one", metric="json:@any.json"))

    assert ended.status == 1
    assert "has a score" in ended.out


def test_a_search_is_one_line_among_the_jobs(folder: Terminal) -> None:
    search = folder.json(*command("one"))["search"]

    (line,) = folder.json("jobs")
    every = folder.json("jobs", "--all")

    assert (line["job"], line["search"], line["state"]) == (None, search, "done")
    assert {one["search"] for one in every} == {search}
    assert [one["name"] for one in every if one["job"]]
    assert "search search-one" in folder.run("jobs").out
