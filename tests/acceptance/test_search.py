"""A search as a user runs it: killed, restarted, and out of budget."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import ProviderServer

SPACE = """\
models:
  one: {{model: openai/one, api_base: {url}, price: {{input: {input}, output: {output}}}}}
  two: {{model: openai/two, api_base: {url}, price: {{input: {input}, output: {output}}}}}
defaults: {{max_tokens: 64}}
roles: {{generators: [one, two], fusers: [one], ranker: one}}
axes:
  generators: [1, 2]
  samples: [1, 2]
  fusions: [0, 1]
  review: [none, ranker]
"""
#: As workers/ has them, with a process each.
POOLS = {
    "calls.yaml": "queues: [calls]\nconcurrency: 16\n",
    "joins.yaml": "queues: [joins]\nconcurrency: 4\n",
}
#: Matches a reply with an even chance.
WORD = "^(all|but|for|from|it|more)"


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(prices=PRICES, latency=0.02) as running:
        yield running


def a_stage(folder: Path, provider: ProviderServer, **environment: str) -> Stage:
    folder.mkdir()
    stage = Stage(folder, **environment)
    rows = [
        json.dumps({"id": f"q{n}", "prompt": f"Say {n} words.", "answer": WORD}) for n in range(16)
    ]
    stage.write("rows.jsonl", "\n".join(rows) + "\n")
    text = SPACE.format(url=provider.url, input=PRICES[0], output=PRICES[1])
    stage.write("space.yaml", text)
    return stage


def ended(stage: Stage, *arguments: str, status: int = 0) -> str:
    """What the command prints; a busy machine takes its time over it."""
    running = stage.start(*arguments)
    out, err = running.communicate(timeout=600)
    assert running.returncode == status, err
    return out


def found(stage: Stage, *arguments: str) -> Any:
    return json.loads(ended(stage, *arguments, "--json"))


def command(*more: str) -> tuple[str, ...]:
    return (
        "search", "rows.jsonl", "--space", "space.yaml", "--metric", "regex", "--dev", "0.5",
        "--trials", "5", "--parallel", "2", "--algorithm", "random", "-o", "found", *more,
    )  # fmt: skip


def tried(told: dict[str, Any]) -> list[Any]:
    return [(t["n"], t["stage"], t["point"], t["dev"]) for t in told["trials"]]


def in_doubt(stage: Stage) -> int:
    with closing(sqlite3.connect(stage.folder / "archon-batch.db")) as database:
        query = "SELECT count(*) FROM attempts WHERE state = 'in_doubt'"
        return int(database.execute(query).fetchone()[0])


@pytest.mark.timeout(1800)
def test_a_killed_search_continues_to_the_same_result_and_pays_nothing_twice(
    tmp_path: Path, provider: ProviderServer
) -> None:
    whole = found(a_stage(tmp_path / "whole", provider), *command("--budget", "1"))
    asked = provider.request_count
    killed = a_stage(tmp_path / "killed", provider)

    running = killed.start(*command("--budget", "1"))
    until(lambda: provider.request_count > asked + asked // 2, 600)
    running.kill()
    running.communicate()
    again = found(killed, *command("--budget", "1"))

    assert tried(again) == tried(whole)
    assert again["result"]["winner"]["point"] == whole["result"]["winner"]["point"]
    assert provider.request_count - asked <= asked + in_doubt(killed)
    assert (killed.folder / "found" / "winner.yaml").read_text().startswith("# Found by search")
    ended(killed, "check", "found/winner.yaml")
    # What is done is told, and costs nothing.
    before = provider.request_count
    assert tried(found(killed, "search", "show", again["search"])) == tried(whole)
    assert tried(found(killed, *command("--budget", "1"))) == tried(whole)
    assert provider.request_count == before


@pytest.mark.timeout(1800)
def test_a_budget_covers_the_whole_search(tmp_path: Path, provider: ProviderServer) -> None:
    stage = a_stage(tmp_path / "poor", provider)

    out = ended(stage, *command("--budget", "0.0003"), status=4)

    assert "no winner" in out
    assert 0 < provider.bill <= 300_000
    (one,) = found(stage, "search", "status")
    assert one["state"] == "paused"
    assert one["usd"] * 1e9 == pytest.approx(provider.bill)


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(1800)
def test_workers_over_redis_and_postgres_find_the_same_winner_as_one_machine(
    tmp_path: Path, provider: ProviderServer, redis_url: str, postgres_url: str
) -> None:
    alone = found(a_stage(tmp_path / "alone", provider), *command("--budget", "1"))
    asked, paid = provider.request_count, provider.bill
    many = a_stage(
        tmp_path / "many", provider,
        ARCHON_BATCH_BROKER_URL=redis_url, ARCHON_BATCH_DATABASE_URL=postgres_url,
    )  # fmt: skip

    with many.workers(POOLS):
        ended(many, *command("--budget", "0.0003"), status=4)
        assert provider.bill - paid <= 300_000
        together = found(many, *command("--budget", "1"))

    assert tried(together) == tried(alone)
    assert together["result"]["winner"]["point"] == alone["result"]["winner"]["point"]
    assert provider.request_count == 2 * asked
    assert together["usd"] == alone["usd"]
