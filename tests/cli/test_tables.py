"""Accounts as lines."""

from typing import Any

from archon_batch.cli.tables import summary_lines
from tests.cli.terminal import Terminal

NOTHING: dict[str, Any] = {
    "rows": 4,
    "answered": 4,
    "failed": 0,
    "open": 0,
    "cancelled": 0,
    "calls": 9,
    "cached_calls": 0,
    "failed_calls": 0,
    "attempts_in_doubt": 0,
    "usd": 1.0,
    "unpriced_calls": 0,
    "in_doubt_usd": 0.0,
    "failed_usd": 0.0,
    "reask_usd": 0.0,
    "unused_usd": 0.0,
    "cache_saved_usd": 0.0,
    "budget_usd": None,
    "prompt_tokens": 1_000,
    "completion_tokens": 10,
    "overbilling": [],
}


def test_the_summary_reports_a_model_that_overbills() -> None:
    (told,) = summary_lines(NOTHING | {"overbilling": ["m exceeds"]})[len(summary_lines(NOTHING)) :]

    assert told == "m exceeds: billed more than requested"


def test_the_summary_shows_costs_that_are_not_zero() -> None:
    plain = summary_lines(NOTHING)
    again = summary_lines(NOTHING | {"failed_usd": 0.25, "reask_usd": 0.125, "budget_usd": 2.0})

    assert plain[-1] == "$1.0000 paid"
    assert again[:-1] == plain[:-1]
    assert again[-1] == (
        "$1.0000 paid, failed attempts: $0.2500, re-asks: $0.1250, budget: $2.0000"
    )


def test_status_and_cost_show_re_asks(terminal: Terminal) -> None:
    terminal.write("rows.jsonl", "".join(f'{{"prompt": "Why {n}?"}}\n' for n in range(20)))
    terminal.write(
        "rough.yaml",
        "models: {one: {model: scripted/rough, price: {input: 2, output: 10}}}\n"
        "layers: [{type: generator, model: one}, {type: ranker, model: one}]\n",
    )
    terminal.run("submit", "rows.jsonl", "--arch", "rough.yaml", "--name", "rough", "-o", "a.jsonl")

    figures = terminal.json("cost", "rough")
    assert 0 < figures["reask_usd"] < figures["usd"]
    assert figures["unused_usd"] == 0
    assert "re-asks: $" in terminal.run("status", "rough").out
    assert "re-asks" in terminal.run("cost", "rough").out.splitlines()[0].split()
