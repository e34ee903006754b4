"""Several jobs, one worker: a higher priority goes first, equal priorities share."""

from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.stage import PRICES, Stage
from tests.provider import ProviderServer

pytestmark = [pytest.mark.redis, pytest.mark.postgres, pytest.mark.timeout(180)]

ROWS, CALLS = 24, 8
POOL = {"pool.yaml": "queues: [calls, joins]\nconcurrency: 4\nmax_in_flight: 4\n"}


def _served(folder: Path, redis_url: str, postgres_url: str, *priorities: str) -> list[str]:
    """Jobs of these priorities, all waiting when the worker starts; whose calls came, in order."""
    stage = Stage(folder, ARCHON_BATCH_BROKER_URL=redis_url, ARCHON_BATCH_DATABASE_URL=postgres_url)
    stage.dataset(ROWS)
    with ProviderServer(prices=PRICES, latency=0.01) as provider:
        stage.architecture(provider.url)
        jobs = {}
        for n, priority in enumerate(priorities):
            submit = (
                "submit",
                "rows.jsonl",
                "--arch",
                "layered.yaml",
                "--shard-size",
                "4",
                "--no-cache",
            )
            job = stage.run(*submit, "--name", f"job-{n}", "--priority", priority).strip()
            jobs[job] = f"{n} {priority}"
        with stage.workers(POOL):
            for job in jobs:
                stage.run("status", job, "--follow")
    return [jobs[str(entry.client_request_id).split("/")[0]] for entry in provider.entries]


def test_a_job_of_high_priority_is_done_first_although_submitted_last(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    served = _served(tmp_path, redis_url, postgres_url, "low", "normal", "high")

    assert Counter(served) == {"0 low": 192, "1 normal": 192, "2 high": 192}
    ends = {job: len(served) - served[::-1].index(job) for job in set(served)}
    assert sorted(ends, key=lambda job: ends[job]) == ["2 high", "1 normal", "0 low"]
    # While its joins run, the worker takes what there is of the others.
    assert served[:192].count("2 high") > 100


def test_jobs_of_one_priority_get_equal_shares_in_any_order_of_submission(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    served = _served(tmp_path, redis_url, postgres_url, "normal", "normal")

    half = Counter(served[: len(served) // 2])
    assert min(half["0 normal"], half["1 normal"]) > len(served) // 2 * 0.35
