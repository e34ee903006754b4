"""``plan --pilot``: some rows are run, and the others are judged by them."""

import json
from random import Random

import pytest

from archon_batch.jobs.pilot_estimate import sample_positions
from tests.cli.terminal import Terminal

ARCH = """\
models:
  one: {model: scripted/MODEL, price: {input: 2, output: 10}}
layers:
  - {type: generator, model: one, samples: 2}
  - {type: critic, model: one}
  - {type: fuser, model: one}
"""
PLAN = ("plan", "rows.jsonl", "--arch", "good.yaml")


@pytest.fixture
def folder(terminal: Terminal) -> Terminal:
    """A dataset of sixty rows, some long and some short, and two architectures."""
    dice = Random(7)  # noqa: S311  (no secret rests on it)
    rows = [
        {"id": f"q{n}", "prompt": f"What is {n}? " + "word " * dice.randint(1, 80), "n": n}
        for n in range(60)
    ]
    terminal.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    terminal.write("good.yaml", ARCH.replace("MODEL", "plausible"))
    terminal.write("bad.yaml", ARCH.replace("MODEL", "rough").replace("samples: 2", "retries: 0"))
    return terminal


def run(terminal: Terminal) -> float:
    """Run the whole dataset; return what that cost."""
    job = terminal.run("submit", "rows.jsonl", "--arch", "good.yaml", "-o", "out.jsonl")
    assert job.status == 0
    usd: float = terminal.json("status", job.out.strip())["usd"]
    return usd


def test_without_a_pilot_nothing_is_sent_and_nothing_is_stored(folder: Terminal) -> None:
    plan = folder.json(*PLAN)

    assert "pilot" not in plan
    assert not folder.has("archon-batch.db")


def test_a_pilot_is_a_job_of_rows_from_all_over_the_dataset(folder: Terminal) -> None:
    pilot = folder.json(*PLAN, "--pilot", "6")["pilot"]

    status = folder.json("status", pilot["job"])
    rows = [json.loads(line) for line in folder.run("export", pilot["job"]).out.splitlines()]
    assert pilot["name"] == status["name"] == "pilot-6-rows-good"
    assert (status["state"], status["answered"]) == ("done", 6)
    assert [row["id"] for row in rows] == [f"q{place}" for place in sample_positions(60, 6)]
    assert [row["row"] for row in rows] == [{"n": place} for place in sample_positions(60, 6)]
    assert (pilot["rows"], pilot["answered"], pilot["failed"]) == (6, 6, 0)
    assert pilot["usd"] == status["usd"] > 0
    assert pilot["per_row_usd"] == pytest.approx(pilot["usd"] / 6, abs=1e-9)


def test_the_pilot_is_paid_once_and_the_job_finds_its_replies(folder: Terminal) -> None:
    whole = folder.json(*PLAN)
    plan = folder.json(*PLAN, "--pilot", "10")
    pilot = plan["pilot"]
    spent = run(folder)
    job = folder.json("status", "rows-good")

    assert job["cached_calls"] == 10 * 4
    assert job["cache_saved_usd"] == pytest.approx(pilot["usd"])
    assert plan["cached_rows"] == 10
    assert plan["expected"]["calls"] == whole["expected"]["calls"] - 10 * 4
    assert pilot["remaining"]["expected"]["calls"] == job["attempts"] == 50 * 4
    assert pilot["remaining"]["low"]["usd"] <= spent <= pilot["remaining"]["high"]["usd"]
    assert pilot["low_usd"] <= pilot["usd"] + spent <= pilot["high_usd"]
    assert whole["low"]["usd"] <= pilot["usd"] + spent <= whole["high"]["usd"]
    for figure in ("prompt_tokens", "completion_tokens"):
        rest = pilot["remaining"]
        assert rest["low"][figure] <= job[figure] <= rest["high"][figure]


def test_together_is_the_pilot_and_the_rest(folder: Terminal) -> None:
    pilot = folder.json(*PLAN, "--pilot", "6")["pilot"]

    for case in ("low", "expected", "high"):
        together = pilot["usd"] + pilot["remaining"][case]["usd"]
        assert pilot[f"{case}_usd"] == pytest.approx(together, abs=1e-12)
    assert pilot["low_usd"] < pilot["expected_usd"] < pilot["high_usd"]
    assert pilot["confidence"] == 0.9


def test_the_same_pilot_again_sends_nothing_and_says_the_same(folder: Terminal) -> None:
    first = folder.json(*PLAN, "--pilot", "6")
    again = folder.run(*PLAN, "--pilot", "6", "--json")

    assert json.loads(again.out) == first
    assert "has already run as job" in again.err
    assert len(folder.json("jobs")) == 1


def test_what_was_paid_before_the_pilot_counts_for_what_a_row_costs(folder: Terminal) -> None:
    first = folder.json(*PLAN, "--pilot", "6")["pilot"]
    folder.run("submit", "rows.jsonl", "--arch", "good.yaml", "--limit", "30", "-o", "half.jsonl")
    run = folder.json(*PLAN, "--pilot", "12")
    pilot = run["pilot"]

    # The rows of the first half cost nothing now, but others would cost as much as they did.
    assert folder.json("status", pilot["job"])["cached_calls"] > 6 * 4 - 1
    assert pilot["per_row_usd"] > 1.5 * pilot["usd"] / 12
    assert pilot["per_row_usd"] == pytest.approx(first["per_row_usd"], rel=0.3)
    assert pilot["remaining"]["expected"]["calls"] == 4 * (60 - run["cached_rows"])
    in_full = pilot["remaining"]["expected"]["usd"] / (60 - run["cached_rows"])
    assert in_full == pytest.approx(pilot["per_row_usd"], rel=0.3)
    tokens = pilot["remaining"]["expected"]["completion_tokens"] / (60 - run["cached_rows"])
    known = first["remaining"]["expected"]["completion_tokens"] / 54
    assert tokens == pytest.approx(known, rel=0.3)


def test_a_pilot_of_every_row_is_the_bill(folder: Terminal) -> None:
    pilot = folder.json(*PLAN, "--pilot", "1000")["pilot"]

    assert (pilot["rows"], run(folder)) == (60, 0)
    assert pilot["usd"] == pilot["low_usd"] == pilot["expected_usd"] == pilot["high_usd"] > 0


def test_a_pilot_shows_its_maximum_and_its_actual_cost(folder: Terminal) -> None:
    ended = folder.run(*PLAN, "--pilot", "6", "--budget", "9")

    before = folder.json(*PLAN, "--pilot", "6")["pilot"]
    assert ended.status == 0
    assert "6 rows, at most $" in ended.err
    assert "; budget: $9.0000" in ended.err
    assert ended.err.index("at most") < ended.err.index("6 of 6 rows answered")
    assert "from a pilot of 6" in ended.out
    assert f"the pilot of 6 rows cost ${before['usd']:.4f}" in ended.out
    assert (
        f"remaining rows: ${before['remaining']['expected']['usd']:.4f}, with 90% confidence"
        in ended.out
    )
    assert f"total: ${before['expected_usd']:.4f}, with 90% confidence" in ended.out
    most = float(ended.err.split("at most $")[1].split(";")[0])
    assert before["usd"] <= most


def test_a_budget_stops_the_pilot_and_a_larger_one_goes_on(folder: Terminal) -> None:
    small = folder.run(*PLAN, "--pilot", "6", "--budget", "0.03", "--json")
    told = folder.run(*PLAN, "--pilot", "6", "--budget", "0.03")
    larger = folder.json(*PLAN, "--pilot", "6", "--budget", "10")["pilot"]

    halted = json.loads(small.out)["pilot"]
    assert (small.status, told.status) == (4, 4)
    assert (halted["state"], halted["remaining"]) == ("paused", None)
    assert 0 < halted["usd"] <= 0.03
    names = ("per_row_usd", "expected_usd", "low_usd", "high_usd")
    assert [halted[name] for name in names] == [None] * 4
    assert "it is paused, so the other rows cannot be estimated from it" in told.out
    assert (larger["state"], larger["answered"]) == ("done", 6)
    assert larger["job"] == halted["job"]


def test_failed_rows_of_a_pilot_are_reported(folder: Terminal) -> None:
    ended = folder.run("plan", "rows.jsonl", "--arch", "bad.yaml", "--pilot", "30", "--json")
    again = folder.run("plan", "rows.jsonl", "--arch", "bad.yaml", "--pilot", "30", "--json")

    pilot = json.loads(ended.out)["pilot"]
    assert (ended.status, again.status) == (1, 1)
    assert pilot["failed"] > 0
    assert pilot["answered"] + pilot["failed"] == pilot["rows"] == 30


def test_wrong_rows_are_no_part_of_a_pilot(folder: Terminal) -> None:
    folder.write("rows.jsonl", '{"id": "no"}\n' * 3 + folder.read("rows.jsonl"))

    plan = folder.json(*PLAN, "--skip-bad-rows", "--pilot", "63")

    assert (plan["rows"], plan["pilot"]["rows"], plan["pilot"]["answered"]) == (60, 60, 60)


def test_without_a_row_there_is_no_pilot(folder: Terminal) -> None:
    folder.write("rows.jsonl", '{"id": "no"}\n')

    ended = folder.run(*PLAN, "--skip-bad-rows", "--pilot", "5")

    assert ended.status == 2
    assert "no row of the dataset can be accepted" in ended.err


def test_a_pilot_of_unpriced_models_judges_calls_and_tokens(folder: Terminal) -> None:
    plan = folder.json(*PLAN, "--pilot", "6")
    free = ARCH.replace("MODEL", "plausible").replace(", price: {input: 2, output: 10}", "")
    folder.write("good.yaml", free)
    unpaid = folder.json(*PLAN, "--pilot", "6")

    assert unpaid["pilot"]["expected_usd"] == 0
    assert (
        unpaid["pilot"]["remaining"]["expected"]["calls"]
        == plan["pilot"]["remaining"]["expected"]["calls"]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "3"], "it needs --pilot N"),
        (["--pilot", "5", "--no-cache"], "leave out --no-cache"),
        (["--pilot", "1"], "1 is not in the range 2<=x<=1000"),
    ],
)
def test_what_does_not_go_together_is_refused(
    folder: Terminal, arguments: list[str], said: str
) -> None:
    ended = folder.run(*PLAN, *arguments)

    assert ended.status == 2
    assert said in ended.err
    assert not folder.has("archon-batch.db")


def test_a_pilot_that_was_cancelled_says_how_to_go_on(folder: Terminal) -> None:
    folder.run(*PLAN, "--pilot", "6", "--budget", "0.03")
    folder.run("cancel", "pilot-6-rows-good")

    ended = folder.run(*PLAN, "--pilot", "6")

    assert ended.status == 2
    assert "archon-batch retry" in ended.err
