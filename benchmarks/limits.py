"""A limit over several workers, as the provider counts it: ``python -m benchmarks.limits``.

Workers in processes of their own share a model that may take so many requests a minute. The
provider writes down when each request came; of every sliding minute the most is told, and what
was used of the limit while there was enough to do. Redis is needed: ``--redis`` names a database
that may be emptied; with ``--sqlite`` the worker is the command itself, beside others like it.
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
    # More than can be done in that time.
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
        came = [entry.time for entry in provider.entries]
        for command in started:
            command.terminate()
            command.communicate()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "workers": given.workers,
        "limit": given.rpm,
        "requests": len(came),
        "most_in_a_sliding_minute": max_requests_within(came, MINUTE),
        # The last minute, when every worker has long been there.
        "used": round(sum(came[-1] - t < MINUTE for t in came) / given.rpm, 3),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
    }


def max_requests_within(times: Sequence[float], seconds: float) -> int:
    """The most requests in any window of that length."""
    ordered, most, first = sorted(times), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


if __name__ == "__main__":
    main()
