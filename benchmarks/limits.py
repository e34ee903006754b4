"""The rate limit of several workers as the provider counts it: ``python -m benchmarks.limits``.

Workers in separate processes share a model with a limit of requests per minute. The provider records
the time of each request. The output has the largest number of requests in any sliding minute, and
the share of the limit that was used while there was enough work. ``--redis`` names a Redis database
that may be emptied; with ``--sqlite`` several commands share one database instead.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from redis import Redis

from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import ProviderServer

ARCHITECTURE = """\
name: limited
models:
  one: {{model: openai/stand-in, api_base: {url}, rpm: {rpm}, price: {{input: 0.15, output: 0.60}}}}
defaults: {{model: one, max_tokens: 64}}
layers: [{{type: generator, samples: 5}}]
"""
MINUTE = 60.0
POOL = "queues: [calls, joins]\nconcurrency: 64\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rpm", type=int, default=300)
    options.add_argument("--minutes", type=float, default=2.0)
    options.add_argument("--workers", type=int, default=3)
    options.add_argument("--redis", default="redis://127.0.0.1:6379/9")
    options.add_argument("--sqlite", action="store_true", help="commands on one database, no Redis")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure_limits(Path(folder), given)))


def measure_limits(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    redis = "" if given.sqlite else given.redis
    stage = Stage(folder, **({"ARCHON_BATCH_BROKER_URL": redis} if redis else {}))
    seconds = given.minutes * MINUTE
    # More rows than the limit allows in that time.
    rows = int(given.rpm * (given.minutes + 1) / 5)
    stage.dataset(rows)
    with ProviderServer(prices=PRICES, latency=0.3) as provider, ExitStack() as ending:
        text = ARCHITECTURE.format(url=provider.url, rpm=given.rpm)
        stage.write("limited.yaml", text)
        if redis:
            Redis.from_url(redis).flushdb()
            pools = {f"pool-{n}.yaml": POOL for n in range(given.workers)}
            ending.enter_context(stage.workers(pools))
        names = ["all"] if redis else [f"job-{n}" for n in range(given.workers)]
        started = [
            stage.start("submit", "rows.jsonl", "--arch", "limited.yaml", "--name", name)
            for name in names
        ]
        until(lambda: provider.request_count > 0, 60)
        time.sleep(seconds)
        times = [entry.time for entry in provider.entries]
        for command in started:
            command.terminate()
            command.communicate()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "workers": given.workers,
        "limit": given.rpm,
        "requests": len(times),
        "most_in_a_sliding_minute": max_requests_within(times, MINUTE),
        # Only the last minute, long after every worker started.
        "used": round(sum(times[-1] - t < MINUTE for t in times) / given.rpm, 3),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
    }


def max_requests_within(times: Sequence[float], seconds: float) -> int:
    """The largest number of requests in any window of that length."""
    ordered, most, first = sorted(times), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


if __name__ == "__main__":
    main()
