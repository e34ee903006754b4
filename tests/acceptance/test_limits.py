"""Rate limits over several processes, counted by the provider, and changed by an operator meanwhile."""

from pathlib import Path

import pytest

from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import ProviderServer
from tests.test_rate_limits import most_within

LIMITED = """\
name: limited
models:
  one: {{model: openai/stand-in, api_base: {url}, rpm: {rpm}, price: {{input: 0.15, output: 0.60}}}}
defaults: {{model: one, max_tokens: 64}}
layers: [{{type: generator, samples: 5}}]
"""
POOL = "queues: [calls, joins]\nconcurrency: 16\n"

pytestmark = pytest.mark.timeout(120)


@pytest.mark.redis
def test_three_workers_over_redis_keep_to_one_rate_and_use_it(
    tmp_path: Path, redis_url: str
) -> None:
    stage = Stage(tmp_path, ARCHON_BATCH_BROKER_URL=redis_url)
    stage.dataset(60)

    with ProviderServer(prices=PRICES, latency=0.2) as provider:
        stage.write("limited.yaml", LIMITED.format(url=provider.url, rpm=1800))
        with stage.workers({f"pool-{n}.yaml": POOL for n in range(3)}):
            job = stage.run("submit", "rows.jsonl", "--arch", "limited.yaml").strip()
            until(lambda: provider.request_count >= 40)
            (told,) = stage.json("limits")
            stage.run("status", job, "--follow")

    came = [entry.time for entry in provider.entries]
    assert len(came) == 300
    # 30 a second over all of it; in a part of it also those that a busy machine kept for a second.
    assert came[-1] - came[0] > 9
    assert most_within(came, 5.0) <= 150 + 30
    middle = [t for t in came if came[0] + 2 <= t < came[0] + 7]
    assert len(middle) >= 0.95 * 150 - 10
    assert (told["model"], told["rpm"], told["adaptive_limit"]) == ("openai/stand-in", 1800, None)
    assert told["in_flight"] > 0


def test_limits_are_set_shown_and_cleared_while_a_job_runs(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.dataset(40)

    with ProviderServer(prices=PRICES, latency=0.05) as provider:
        stage.write("limited.yaml", LIMITED.format(url=provider.url, rpm=600))
        job = stage.start("submit", "rows.jsonl", "--arch", "limited.yaml", "--name", "nightly")
        until(lambda: provider.request_count >= 5)
        stage.run("limits", "openai/stand-in", "--rpm", "60000", "--max-in-flight", "7")
        (told,) = stage.json("limits", "openai/stand-in")
        job.communicate(timeout=60)
        after = stage.json("limits")
        stage.run("limits", "openai/stand-in", "--api-base", provider.url, "--clear")

    assert (told["rpm"], told["max_in_flight"]) == (60_000, 7)
    assert told["set"] == {"rpm": 60_000, "tpm": None, "max_in_flight": 7}
    # At 600 a minute 200 calls would have taken twenty seconds.
    came = [entry.time for entry in provider.entries]
    assert came[-1] - came[0] < 15
    assert len(after) == 1
    assert "no limits are set" in stage.run("limits")
    assert "name the MODEL" in stage.start("limits", "--rpm", "3").communicate()[1]
