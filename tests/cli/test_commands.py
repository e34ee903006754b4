"""A job's life, by the commands that a person types."""

import csv
import json
import re
import socket
import sys

import pytest

from archon_batch.cli import archon_batch
from tests.cli.terminal import Terminal

ARCH = """\
models:
  one: {model: scripted/plausible, price: {input: 2, output: 10}}
  rough: {model: scripted/rough, price: {input: 2, output: 10}}
layers:
  - {type: generator, model: MODEL, samples: 3}
  - {type: critic, model: MODEL}
  - {type: ranker, model: MODEL, top_k: 2}
  - {type: fuser, model: MODEL}
"""


@pytest.fixture
def folder(terminal: Terminal) -> Terminal:
    """A folder with a dataset of twenty rows and two architectures."""
    rows = [{"id": f"q{n}", "prompt": f"What is {n}?", "topic": "=1+1"} for n in range(20)]
    terminal.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    terminal.write("good.yaml", ARCH.replace("MODEL", "one"))
    terminal.write("bad.yaml", ARCH.replace("MODEL", "rough").replace("samples: 3", "samples: 2"))
    return terminal


def test_without_a_command_it_says_what_to_do_first(terminal: Terminal) -> None:
    ended = terminal.run()

    assert ended.status == 0
    assert "Start here:" in ended.out


@pytest.mark.parametrize("command", archon_batch.list_commands(None))  # type: ignore[arg-type]
def test_every_command_has_help_that_fits_a_screen(terminal: Terminal, command: str) -> None:
    ended = terminal.run(command, "--help")

    assert ended.status == 0
    assert len(ended.out.splitlines()) <= 45
    assert max(map(len, ended.out.splitlines())) <= 80


def test_a_job_from_plan_to_export(folder: Terminal) -> None:
    plan = folder.json("plan", "rows.jsonl", "--arch", "good.yaml")
    submitted = folder.run("submit", "rows.jsonl", "--arch", "good.yaml", "-o", "out.jsonl")
    job = submitted.out.strip()
    status = folder.json("status", job)
    cost = folder.json("cost", job, "--by", "layer")

    assert submitted.status == 0
    assert (status["state"], status["answered"], status["calls"]) == ("done", 20, 120)
    assert plan["expected"]["calls"] == 120
    assert plan["low"]["usd"] <= status["usd"] <= plan["high"]["usd"]
    assert sum(group["usd"] for group in cost["by"]) == pytest.approx(cost["usd"], abs=1e-12)
    rows = [json.loads(line) for line in folder.read("out.jsonl").splitlines()]
    assert [row["id"] for row in rows] == [f"q{n}" for n in range(20)]
    assert [row["row"] for row in rows] == [{"topic": "=1+1"}] * 20
    assert sum(row["cost_usd"] for row in rows) == pytest.approx(status["usd"], abs=1e-12)


def test_the_same_submission_is_the_same_job_and_makes_no_call(folder: Terminal) -> None:
    first = folder.run("submit", "rows.jsonl", "--arch", "good.yaml")
    before = folder.json("status", first.out.strip())

    again = folder.run("submit", "rows.jsonl", "--arch", "good.yaml")

    assert again.out == first.out
    assert folder.json("status", first.out.strip()) == before
    assert len(folder.json("jobs")) == 1


def test_another_job_with_the_same_rows_uses_the_cache(folder: Terminal) -> None:
    folder.run("submit", "rows.jsonl", "--arch", "good.yaml")

    folder.run("submit", "rows.jsonl", "--arch", "good.yaml", "--name", "twin")

    twin = folder.json("cost", "twin")
    first = folder.json("cost", "rows-good")
    assert (twin["usd"], twin["attempts"]) == (0, 0)
    assert twin["cached_calls"] == twin["calls"] == 120
    assert twin["cache_saved_usd"] == pytest.approx(first["usd"])


def test_a_name_belongs_to_one_dataset_and_architecture(folder: Terminal) -> None:
    folder.run("submit", "rows.jsonl", "--arch", "good.yaml", "--name", "mine")

    ended = folder.run("submit", "rows.jsonl", "--arch", "bad.yaml", "--name", "mine")

    assert ended.status == 2
    assert "'mine' is job" in ended.err


def test_failed_rows_are_reported_and_can_be_retried(folder: Terminal) -> None:
    ended = folder.run("submit", "rows.jsonl", "--arch", "bad.yaml", "--name", "rough")
    before = folder.json("status", "rough")
    retried = folder.run("retry", "rough")
    after = folder.json("status", "rough")

    assert ended.status == 1
    assert before["failed"] > 0
    assert before["answered"] + before["failed"] == 20
    # The script refuses the same calls again; only they were asked.
    assert retried.status == 1
    assert f"{before['failed']} rows reopened" in retried.err
    assert after["answered"] == before["answered"]
    assert before["attempts"] < after["attempts"] <= before["attempts"] + 2 * before["failed"]


def test_an_exhausted_budget_pauses_the_job(folder: Terminal) -> None:
    ended = folder.run(
        "submit", "rows.jsonl", "--arch", "good.yaml", "--name", "small", "--budget", "0.05"
    )
    paused = folder.json("status", "small")
    open_rows = [a["id"] for a in folder.json("show", "small") if a["status"] == "open"]
    unfinished = [folder.json("show", "small", row)["calls_made"] for row in open_rows]
    smaller = folder.run("resume", "small", "--budget", "0.001")
    resumed = folder.run("resume", "small", "--budget", "10")

    assert ended.status == 4
    assert smaller.status == 2
    assert "has spent up to 0.0" in smaller.err
    assert (paused["state"], paused["reason"]) == ("paused", "the budget is reached")
    assert 0 < paused["usd"] <= 0.05
    assert paused["in_flight_usd"] == 0
    assert paused["attempts"] == paused["calls"]
    assert len(open_rows) == paused["open"] > 0
    # A row that has its last reply is answered, also when the money ran out meanwhile.
    assert not [call for calls in unfinished for call in calls if call["component"] == "fuser"]
    assert resumed.status == 0
    assert folder.json("status", "small")["answered"] == 20


def test_a_stored_job_can_be_cancelled_and_opened_again(folder: Terminal) -> None:
    job = folder.run("submit", "rows.jsonl", "--arch", "good.yaml", "--detach").out.strip()

    cancelled = folder.run("cancel", job)
    resumed = folder.run("resume", job)
    retried = folder.run("retry", job)

    assert cancelled.status == 0
    assert resumed.status == 2
    assert "archon-batch retry" in resumed.err
    assert retried.status == 0
    assert folder.json("status", job)["answered"] == 20


def test_a_row_is_shown_with_every_call_and_attempt(folder: Terminal) -> None:
    folder.run("submit", "rows.jsonl", "--arch", "good.yaml")

    shown = folder.json("show", "rows-good", "q3")

    assert [c["call"] for c in shown["calls_made"]] == [
        "0.0.0.0", "0.0.1.0", "0.0.2.0", "1.0.0.0", "2.0.0.0", "3.0.0.0",
    ]  # fmt: skip
    assert all(c["attempts"][0]["outcome"] == "ok" for c in shown["calls_made"])
    assert shown["candidate"] == "3.0.0"
    assert folder.run("show", "rows-good", "q99").status == 2
    answers = folder.json("show", "rows-good")
    assert [a["id"] for a in answers] == [f"q{n}" for n in range(20)]
    assert len(folder.run("show", "rows-good").out.splitlines()) == 21


def test_try_shows_every_call_and_records_the_job(folder: Terminal) -> None:
    ended = folder.run("try", "What is 7?", "--arch", "good.yaml")

    assert ended.status == 0
    for did in (
        "made 3 candidates",
        "wrote critiques of 3",
        "ranked 3, kept",
        "fused 2 candidates",
    ):
        assert did in ended.out
    (job,) = folder.json("jobs")
    assert job["name"] == "try-good"
    assert job["usd"] > 0


def test_an_export_is_safe_to_open_in_a_spreadsheet(folder: Terminal) -> None:
    folder.run("submit", "rows.jsonl", "--arch", "good.yaml")

    ended = folder.run("export", "rows-good", "-o", "out.csv")
    again = folder.run("export", "rows-good", "-o", "out.csv")

    assert (ended.status, again.status) == (0, 2)
    assert "--force" in again.err
    rows = list(csv.DictReader(folder.read("out.csv").splitlines()))
    assert len(rows) == 20
    assert not any(cell[:1] in "=+@" for row in rows for cell in row.values() if cell)


def test_a_job_file_replaces_the_options(folder: Terminal) -> None:
    folder.write(
        "job.yaml",
        "dataset: rows.jsonl\narchitecture: good.yaml\nname: labels-{date}\n"
        'budget_usd: 25\nexport: "{name}.jsonl"\nlimit: 5\n',
    )

    ended = folder.run("submit", "--job", "job.yaml")

    assert ended.status == 0
    (job,) = folder.json("jobs")
    assert job["rows"] == 5
    assert len(folder.read(f"{job['name']}.jsonl").splitlines()) == 5


def test_check_shows_the_layers_and_says_what_is_wrong_with_each_file(folder: Terminal) -> None:
    folder.write("wrong.yaml", "layers: []\n")
    folder.write("pool.yaml", "queues: [calls]\n")

    good = folder.run("check", "good.yaml", "pool.yaml")
    both = folder.run("check", "wrong.yaml", "good.yaml")

    assert good.status == 0
    assert "a row" in good.out
    assert ": pool:" in good.out
    assert both.status == 2
    assert "wrong.yaml" in both.err
    assert "a row" in both.out


@pytest.mark.slow
def test_doctor_sends_nothing_and_finds_no_problem_here(
    folder: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(_self: socket.socket, address: object) -> None:
        pytest.fail(f"it reached for {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)

    found = folder.json("doctor")

    assert {line["check"] for line in found} >= {"database", "broker", "local model"}


def test_doctor_lists_the_workers_and_unconsumed_queues(
    folder: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archon_batch.cli import doctor  # noqa: PLC0415
    from archon_batch.store import Store  # noqa: PLC0415

    monkeypatch.setattr(doctor, "_CHECKS", {"workers": doctor._check_workers})
    monkeypatch.setenv("ARCHON_BATCH_BROKER_URL", "redis://127.0.0.1:1/0")
    store = Store.open("sqlite:///archon-batch.db")
    store.workers.register("calls-1@host.4711", {"calls", "calls.openai"})
    store.close()

    ended = folder.run("doctor")

    assert ended.status == 3
    assert ended.out.splitlines() == [
        "ok     workers: calls-1@host.4711 consumes calls, calls.openai",
        "FAILED workers: no worker consumes joins: start a pool that does",
    ]


def test_words_are_completed_in_bash(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["archon-batch"])
    monkeypatch.setenv("_ARCHON_BATCH_COMPLETE", "bash_source")
    source = terminal.run().out
    monkeypatch.setenv("_ARCHON_BATCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "archon-batch su")
    monkeypatch.setenv("COMP_CWORD", "1")

    assert "_ARCHON_BATCH_COMPLETE=bash_complete" in source
    assert terminal.run().out == "plain,submit\n"


def test_submitting_again_with_another_priority_changes_it(folder: Terminal) -> None:
    from archon_batch.store import Store  # noqa: PLC0415

    submit = ("submit", "rows.jsonl", "--arch", "good.yaml", "--detach")
    found = []
    for more in ((), ("--priority", "high"), ()):
        folder.run(*submit, *more)
        store = Store.open("sqlite:///archon-batch.db")
        found += [[job.priority for job in store.jobs.all()]]
        store.close()

    assert found == [["normal"], ["high"], ["high"]]


def test_a_model_without_a_price_is_refused_unless_it_is_allowed_and_then_takes_no_budget(
    folder: Terminal,
) -> None:
    folder.write(
        "mixed.yaml",
        """\
models:
  priced: {model: scripted/plausible, price: {input: 2, output: 10}}
  own: {model: openai/mine, api_base: "http://127.0.0.1:9/v1"}
layers:
  - {type: generator, model: priced}
  - {type: fuser, model: own}
""",
    )
    submit = ("submit", "rows.jsonl", "--arch", "mixed.yaml", "--detach")

    refused = folder.run(*submit)
    bounded = folder.run(*submit, "--allow-unpriced", "--budget", "5")
    nothing = not folder.has("archon-batch.db")
    allowed = folder.run(*submit, "--allow-unpriced")

    assert (refused.status, bounded.status, allowed.status) == (2, 2, 0)
    assert "no price is known" in refused.err
    assert "--budget: it cannot hold, since a model has no price" in bounded.err
    assert nothing


def test_a_worker_without_a_broker_says_what_to_set(folder: Terminal) -> None:
    folder.write("pool.yaml", "queues: [calls]\n")

    ended = folder.run("worker", "pool.yaml")

    assert ended.status == 2
    assert "ARCHON_BATCH_BROKER_URL" in ended.err


def test_old_names_of_commands_and_options_work_and_warn(terminal: Terminal) -> None:
    helped = terminal.run("--help")
    rehearsed = terminal.run("rehearse", "--help")
    submitted = terminal.run("submit", "rows.jsonl", "--arch", "none.yaml", "--shard=4", "--go-on")

    assert "try " in helped.out
    assert "rehearse" not in helped.out
    assert rehearsed.status == 0
    assert "warning: the command rehearse is now called try" in rehearsed.err
    assert submitted.status == 2
    assert "warning: the option --shard is now called --shard-size" in submitted.err
    assert "warning: the option --go-on is now called --continue" in submitted.err
    assert "--date and --continue need a job file" in submitted.err


def test_help_lists_every_command_once_and_the_first_steps_first(terminal: Terminal) -> None:
    lines = terminal.run("--help").out.splitlines()

    first, evaluate = lines.index("First steps:"), lines.index("Evaluate:")
    listed = [line.split()[0] for line in lines[first:] if re.match(r"  [a-z]+  ", line)]
    assert first < evaluate
    assert len(listed) == len(set(listed)) >= 23
    assert listed[:5] == ["doctor", "check", "plan", "try", "submit"]
