"""A job under faults ends with every row final and the provider's bill in the ledger."""

from pathlib import Path

import pytest

from benchmarks.chaos import ChaosResult, ChaosRun, run
from tests.acceptance.stage import Stage

pytestmark = pytest.mark.timeout(180)

WIDTH = 32


def _held(figures: ChaosResult, chaos_run: ChaosRun) -> None:
    assert figures.problems == []
    assert figures.answered + sum(figures.failed.values()) == chaos_run.rows
    assert figures.answered > chaos_run.rows / 2
    # All planned faults happened, or the run proves nothing.
    assert figures.kills == chaos_run.max_kills
    outcomes = {"rate_limit", "provider_down", "provider_failed", "broken_reply"}
    assert outcomes <= set(figures.outcomes)
    assert figures.in_flight_at_kills <= figures.kills * WIDTH
    assert figures.extra_paid_by_kills <= figures.in_flight_at_kills


def test_a_command_killed_repeatedly_ends_with_the_bill_in_its_ledger(
    tmp_path: Path,
) -> None:
    chaos_run = ChaosRun(rows=40, shard=1, latency=0.2, lifetimes=(0.5, 1.0), max_kills=3)

    figures = run(Stage(tmp_path, ARCHON_BATCH_MAX_IN_FLIGHT=str(WIDTH)), chaos_run)

    _held(figures, chaos_run)
    assert figures.in_flight_at_kills > 0


@pytest.mark.redis
@pytest.mark.postgres
def test_workers_killed_repeatedly_end_with_the_bill_in_their_ledger(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    chaos_run = ChaosRun(
        rows=40, shard=1, latency=0.2, lifetimes=(0.5, 1.0), max_kills=3, workers=2
    )
    stage = Stage(
        tmp_path,
        ARCHON_BATCH_MAX_IN_FLIGHT=str(WIDTH),
        ARCHON_BATCH_BROKER_URL=redis_url,
        ARCHON_BATCH_DATABASE_URL=postgres_url,
    )

    _held(run(stage, chaos_run), chaos_run)
