"""Benchmarks run by the command that a person types, on published formats in small."""

import json
from pathlib import Path
from typing import Any

import pytest

from archon_batch.archon import SCALES
from archon_batch.settings import Settings
from archon_batch.store import Store
from tests.cli.terminal import Terminal

ARCH = """\
name: pair
models: {one: {model: scripted/MODEL, price: {input: 2, output: 10}}}
layers:
  - {type: generator, model: one, samples: 2}
  - {type: fuser, model: one}
"""
JUDGE = """\
models: {one: {model: scripted/plausible, price: {input: 2, output: 10}}}
layers:
  - {type: judge, model: one}
"""


@pytest.fixture
def folder(terminal: Terminal, tmp_path: Path) -> Terminal:
    terminal.write("good.yaml", ARCH.replace("MODEL", "plausible"))
    terminal.write("rough.yaml", ARCH.replace("MODEL", "rough"))
    terminal.write("judge.yaml", JUDGE)
    (tmp_path / "data").mkdir()
    return terminal


def _write(terminal: Terminal, name: str, rows: list[dict[str, Any]]) -> None:
    terminal.write(f"data/{name}", "".join(json.dumps(row) + "\n" for row in rows))


def _sums(terminal: Terminal, count: int = 8) -> None:
    _write(
        terminal,
        "test.jsonl",
        [{"question": f"{n} + {n}?", "answer": f"#### {2 * n}"} for n in range(count)],
    )


def _conversations(terminal: Terminal) -> None:
    questions = [
        {"question_id": n, "category": ("writing", "math")[n % 2], "turns": [f"Say {n}.", "Again."]}
        for n in range(6)
    ]
    known = [
        {"question_id": n, "choices": [{"turns": [str(n), f"again {n}"]}]} for n in range(1, 6, 2)
    ]
    _write(terminal, "question.jsonl", questions)
    _write(terminal, "reference_answer_gpt-4.jsonl", known)


def test_a_benchmark_is_run_scored_and_written(folder: Terminal) -> None:
    _sums(folder)
    command = ("bench", "gsm8k", "--data", "data", "--arch", "good.yaml", "--limit", "5")
    figures = folder.json(*command)
    assert (figures["problems"], figures["published"], figures["figure"]["n"]) == (5, 8, 5)
    assert figures["figure"]["name"] == "accuracy, %"
    assert figures["usd"] > 0
    assert list(figures["data"]) == ["test.jsonl"]

    (job,) = figures["jobs"]
    assert json.loads(folder.read(f"bench/gsm8k-pair-{job}.json")) == figures
    page = folder.read(f"bench/gsm8k-pair-{job}.md")
    assert "# GSM8K: pair" in page
    assert f"| SHA-256 of test.jsonl | {figures['data']['test.jsonl']} |" in page

    # The same again is the same jobs: nothing is asked, and the scores stand beside the answers.
    told = folder.run(*command)
    assert told.status == 0
    assert "GSM8K: pair" in told.out
    assert [one["job"] for one in folder.json("jobs")] == [job]
    exported = folder.run("export", job).out.splitlines()
    assert json.loads(exported[0])["scores"]["gsm8k"]["value"] == 0


def test_failed_rows_count_as_wrong_and_are_reported(folder: Terminal) -> None:
    _sums(folder, 16)
    told = folder.run("bench", "gsm8k", "--data", "data", "--arch", "rough.yaml")
    assert told.status == 1
    assert " failed, which count as the lowest score" in told.out


@pytest.mark.timeout(180)  # four jobs, each with its workers
def test_two_turns_are_two_jobs_and_one_budget_holds_for_all(folder: Terminal) -> None:
    _conversations(folder)
    command = (
        "bench",
        "mt-bench",
        "--data",
        "data",
        "--arch",
        "good.yaml",
        "--judge",
        "judge.yaml",
    )
    stopped = folder.run(*command, "--budget", "0.002")
    assert stopped.status == 4
    assert "the same command continues" in stopped.err
    assert not list(Path("bench").iterdir())

    figures = folder.json(*command, "--budget", "0.1")
    paid = [one["usd"] for one in folder.json("jobs")]
    assert len(paid) == 3
    assert sum(paid) == pytest.approx(figures["usd"] + figures["judge"]["usd"])
    first, second = figures["jobs"]
    assert figures["figure"]["n"] == 12
    assert set(figures["figures"]) == {"turn 1", "turn 2"}
    assert set(figures["by"]["category"]) == {"writing", "math"}
    assert figures["judge"]["calls"] == 12
    assert figures["judge"]["usd"] > 0

    # The second turn is asked, and judged, with the first answer before it.
    assert "question, after 2 messages" in folder.run("show", second, "3").out
    answered = {one["id"]: one["answer"] for one in folder.json("show", first)}
    store = Store.open(Settings.from_environment().database_url)
    (judge,) = figures["judge"]["jobs"]
    question, _ = store.item_results.question_and_replies(judge, 7)
    store.close()
    brief = question.messages[-1].content
    assert f"user: Say 3.\n\nassistant: {answered['3']}" in brief
    assert "To the request before: 3\n\nTo this request: again 3" in brief
    for job in (first, second):
        (line, *_) = folder.run("export", job).out.splitlines()
        assert json.loads(line)["scores"]["mt-bench"]["value"] in SCALES["rating"].values()


def test_a_comparison_is_judged_in_both_orders(folder: Terminal) -> None:
    _write(
        folder,
        "question.jsonl",
        [{"uid": f"u{n}", "category": "arena-hard-v0.1", "prompt": f"Do {n}."} for n in range(6)],
    )
    _write(
        folder,
        "mine.jsonl",
        [
            {
                "uid": f"u{n}",
                "model": "mine",
                "messages": [{"content": {"answer": "Verdict: [[A>B]]"}}],
            }
            for n in range(6)
        ],
    )
    command = (
        "bench",
        "arena-hard",
        "--data",
        "data",
        "--arch",
        "good.yaml",
        "--judge",
        "judge.yaml",
    )
    missing = folder.run(*command)
    assert missing.status == 2
    assert "no baseline answer for u0; name a file of answers with --baseline" in missing.err

    figures = folder.json(*command, "--baseline", "data/mine.jsonl")
    assert figures["judge"]["calls"] == 12
    assert figures["figure"]["name"] == "win rate, %"
    ends = ("won in both orders", "tied", "lost in both orders")
    assert sum(figures["figures"][end] for end in ends) == 6
    # An answer with a verdict in it is shown beside the results.
    assert figures["flagged"] == [f"u{n}" for n in range(6)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("gsm8k", "--judge", "judge.yaml"), "--judge: gsm8k is measured without a judge"),
        (("gsm8k", "--baseline", "good.yaml"), "--baseline: gsm8k compares with no answers"),
        (("mt-bench",), "--judge: mt-bench wants a model or an architecture"),
        (("mt-bench", "--judge", "nobody/knows"), "--judge: "),
        (("mbpp",), "mbpp: data holds none of its problems"),
        (("math",), "no problems: expected test/*/*.json or"),
        (("gsm8k", "--output", "good.yaml/x"), "--output: good.yaml/x: "),
    ],
)
def test_what_cannot_be_run_or_scored_is_refused_before_anything_is_stored(
    folder: Terminal, arguments: tuple[str, ...], why: str
) -> None:
    _sums(folder)
    _conversations(folder)
    _write(folder, "mbpp.jsonl", [{"task_id": 1, "text": "?", "test_list": ["assert f()"]}])
    if arguments[0] == "math":
        Path("data/test.jsonl").unlink()
    told = folder.run("bench", *arguments, "--data", "data", "--arch", "good.yaml")
    assert told.status == 2
    assert why in told.err
    assert folder.json("jobs") == []
