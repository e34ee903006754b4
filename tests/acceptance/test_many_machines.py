"""A job with a broker: workers in other processes give the same answers."""

from pathlib import Path

import pytest

from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import ProviderServer

#: As workers/ has them, with a process each: a machine that tests has few cores.
POOLS = {
    "calls.yaml": "queues: [calls]\nconcurrency: 16\n",
    "joins.yaml": "queues: [joins]\nconcurrency: 4\n",
}

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]


def _submit_and_follow(stage: Stage, provider: ProviderServer) -> tuple[list[tuple[str, str]], int]:
    job = stage.run(
        "submit", "rows.jsonl", "--arch", "layered.yaml", "-o", "out.jsonl", "--follow"
    ).strip()
    assert stage.nano_usd(job) == provider.bill
    return [(a["id"], a["answer"]) for a in stage.lines("out.jsonl")], provider.request_count


def test_workers_over_redis_give_the_same_answers_as_one_machine(
    tmp_path: Path, redis_url: str
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    one = Stage(tmp_path / "one")
    many = Stage(tmp_path / "many", ARCHON_BATCH_BROKER_URL=redis_url)

    with ProviderServer(prices=PRICES, latency=0.01) as provider:
        for stage in (one, many):
            stage.dataset(24)
            stage.architecture(provider.url)
        expected = _submit_and_follow(one, provider)

    with ProviderServer(prices=PRICES, latency=0.01) as provider:
        many.architecture(provider.url)
        with many.workers(POOLS):
            answers = _submit_and_follow(many, provider)

    assert answers == expected


@pytest.mark.postgres
def test_stopping_workers_finish_their_calls_and_other_workers_continue(
    tmp_path: Path, redis_url: str
) -> None:
    stage = Stage(tmp_path, ARCHON_BATCH_BROKER_URL=redis_url, ARCHON_BATCH_MAX_IN_FLIGHT="8")
    stage.dataset(12)

    with ProviderServer(prices=PRICES, latency=0.3) as provider:
        stage.architecture(provider.url)
        job = stage.run("submit", "rows.jsonl", "--arch", "layered.yaml").strip()
        with stage.workers(POOLS):
            until(lambda: provider.request_count >= 16)
        stopped = stage.json("status", job)
        with stage.workers(POOLS):
            stage.run("status", job, "--follow")

    assert 0 < stopped["open"] <= 12
    assert stopped["attempts_in_doubt"] == 0
    assert provider.request_count == 12 * 8
    assert stage.nano_usd(job) == provider.bill


def test_workers_over_redis_and_postgres_record_the_provider_s_bill(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    stage = Stage(
        tmp_path, ARCHON_BATCH_BROKER_URL=redis_url, ARCHON_BATCH_DATABASE_URL=postgres_url
    )
    stage.dataset(24)

    with ProviderServer(prices=PRICES, latency=0.01) as provider:
        stage.architecture(provider.url)
        with stage.workers(POOLS):
            answers, requests = _submit_and_follow(stage, provider)

    assert (len(answers), requests) == (24, 24 * 8)
