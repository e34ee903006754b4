"""A job on one machine: no server but the provider's."""

import re
import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import ProviderServer

pytestmark = pytest.mark.timeout(120)

#: Every type of component, on rows that are asked about in some twenty calls.
EVERY = """\
name: every
models:
  one:
    model: openai/stand-in
    api_base: {url}
    price: {{input: {input}, output: {output}}}
    json_schema: false
defaults: {{model: one, max_tokens: 512, shuffle: true}}
layers:
  - {{type: generator, samples: 4}}
  - {{type: unit_test_generator, samples: 2}}
  - {{type: critic, samples: 2}}
  - {{type: unit_test_evaluator, first_k: 1, top_k: 3}}
  - {{type: verifier, first_k: 2}}
  - {{type: ranker}}
  - {{type: fuser, samples: 3}}
  - {{type: voter, extract: text}}
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_every_row_is_answered_and_the_cost_is_the_provider_s_bill(stage: Stage) -> None:
    rows = 200
    stage.dataset(rows)

    with ProviderServer(prices=PRICES, latency=0.02) as provider:
        stage.architecture(provider.url)
        submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "-o", "out.jsonl")
        job = stage.run(*submit).strip()
        bill, requests = provider.bill, provider.request_count
        again = stage.run(*submit, "--force").strip()

        assert provider.request_count == requests
    assert again == job
    answers = stage.lines("out.jsonl")
    assert [a["id"] for a in answers] == [f"q{n}" for n in range(rows)]
    assert [a["row"] for a in answers] == [{"topic": ["sums", n]} for n in range(rows)]
    assert {a["status"] for a in answers} == {"answered"}
    assert all(a["answer"] for a in answers)
    assert stage.nano_usd(job) == bill
    assert sum(round(a["cost_usd"] * 10**9) for a in answers) == bill
    status = stage.json("status", job)
    assert (status["answered"], status["attempts"]) == (rows, requests)


def test_a_killed_run_continues_and_ends_with_the_same_answers(stage: Stage) -> None:
    stage.dataset(30)
    submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--no-cache", "-o", "out.jsonl")

    with ProviderServer(prices=PRICES, latency=0.05) as provider:
        stage.architecture(provider.url)
        stage.run(*submit)
        expected = [(a["id"], a["answer"]) for a in stage.lines("out.jsonl")]
        paid = provider.request_count

        (stage.folder / "archon-batch.db").rename(stage.folder / "first.db")
        # On purpose: without it the same job in another database is refused, not paid for again.
        stage.run("db", "accept")
        run = stage.start(*submit, "--force")
        until(lambda: provider.request_count >= paid + 120)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        job = stage.run(*submit, "--force").strip()
        twice = provider.request_count - 2 * paid

    assert [(a["id"], a["answer"]) for a in stage.lines("out.jsonl")] == expected
    figures = stage.json("cost", job)
    # Calls in flight when it was killed are reported, and only they were paid again.
    assert 0 < twice <= figures["attempts_in_doubt"]
    assert figures["attempts"] == paid + figures["attempts_in_doubt"]


def test_an_interrupted_run_finishes_its_calls_and_says_how_to_continue(stage: Stage) -> None:
    stage.dataset(30)
    submit = ("submit", "rows.jsonl", "--arch", "layered.yaml")

    with ProviderServer(prices=PRICES, latency=0.2) as provider:
        stage.architecture(provider.url)
        run = stage.start(*submit)
        until(lambda: provider.request_count >= 60)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)

        assert run.returncode == 130, err
        job = out.strip()
        assert f"archon-batch resume {job}" in err
        assert stage.json("cost", job)["attempts_in_doubt"] == 0
        assert stage.nano_usd(job) == provider.bill
        stage.run("resume", job)
        assert stage.nano_usd(job) == provider.bill


def test_a_budget_stops_the_job_and_a_larger_one_continues_it(stage: Stage) -> None:
    stage.dataset(20)

    with ProviderServer(prices=PRICES, latency=0.01) as provider:
        stage.architecture(provider.url)
        submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "small")
        stage.run(*submit, "--budget", "0.005", status=4)
        figures = stage.json("status", "small")
        assert figures["state"] == "paused"
        assert 0 < provider.bill <= 5_000_000
        assert stage.nano_usd("small") == provider.bill

        stage.run("resume", "small", status=2)
        stage.run("resume", "small", "--budget", "5")
    assert stage.json("status", "small")["answered"] == 20


def test_with_every_fault_every_row_is_answered_and_every_attempt_recorded(
    stage: Stage,
) -> None:
    stage.dataset(8)
    faults = {"429": 0.1, "overloaded": 0.1, "reset": 0.03}

    with ProviderServer(prices=PRICES, faults=faults, seed=7) as provider:
        stage.architecture(provider.url, EVERY)
        foreseen = stage.json("plan", "rows.jsonl", "--arch", "layered.yaml")
        job = stage.run("submit", "rows.jsonl", "--arch", "layered.yaml").strip()

    figures = stage.json("status", job)
    assert figures["answered"] == 8
    assert figures["attempts"] == provider.request_count
    by = stage.json("cost", job, "--by", "component")["by"]
    assert [one["kind"] for one in by] == re.findall(r"type: (\w+)", EVERY)[:-1]
    assert foreseen["low"]["calls"] <= figures["calls"] <= foreseen["high"]["calls"]
    assert foreseen["low"]["usd"] <= figures["usd"] <= foreseen["high"]["usd"]
    # A connection that was reset may have been served, and here it was.
    lost = provider.bill - stage.nano_usd(job)
    assert 0 < lost <= round(figures["in_doubt_usd"] * 10**9)


def test_a_wrong_key_stops_the_job_at_once_and_keeps_every_row(stage: Stage) -> None:
    stage.dataset(30)

    with ProviderServer(prices=PRICES, faults=lambda _: "401") as provider:
        stage.architecture(provider.url)
        stage.run("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "locked", status=2)
        assert provider.request_count <= 128
    figures = stage.json("status", "locked")
    assert (figures["state"], figures["open"], figures["usd"]) == ("stopped", 30, 0)

    stage.run("cancel", "locked")
    assert stage.json("status", "locked")["cancelled"] == 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_ends_it_at_once_and_leaves_calls_in_flight_in_doubt(
    stage: Stage, number: int
) -> None:
    stage.dataset(4)
    submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "hasty")

    with ProviderServer(prices=PRICES, latency=lambda n: 10.0 if n <= 20 else 0.0) as provider:
        stage.architecture(provider.url)
        run = stage.start(*submit)
        until(lambda: provider.request_count == 20)
        run.send_signal(number)
        assert run.stderr is not None
        until(lambda: run.stderr.readline().startswith("Stopping: "))
        began = time.monotonic()
        run.send_signal(number)
        run.communicate(timeout=30)
        took = time.monotonic() - began
        stage.run("resume", "hasty")

    assert run.returncode == 130
    assert took < 5
    figures = stage.json("status", "hasty")
    assert (figures["answered"], figures["attempts_in_doubt"]) == (4, 20)
    assert figures["attempts"] == provider.request_count == 4 * 8 + 20
