"""Pools with their own queues: which worker consumes what, where calls go, and the metrics."""

import re
from pathlib import Path
from urllib.request import urlopen

import pytest

from archon_batch.store import Store
from tests.acceptance.stage import PRICES, Stage, until
from tests.acceptance.test_flower import free_port
from tests.provider import ProviderServer

pytestmark = [pytest.mark.redis, pytest.mark.timeout(300)]

TWO = """\
name: two
models:
  one: {{model: openai/stand-in, api_base: {url}, price: {{input: {input}, output: {output}}}}}
  two: {{model: hosted_vllm/other, api_base: {url}, price: {{input: {input}, output: {output}}}}}
defaults: {{max_tokens: 64}}
layers:
  - - {{type: generator, model: one, samples: 2}}
    - {{type: generator, model: two, samples: 2}}
  - {{type: fuser, model: two}}
"""


def _metrics(port: int) -> dict[str, float]:
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    lines = re.findall(r"^(archon_batch_\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines if "_created" not in name}


def test_calls_go_to_the_pool_of_their_provider_while_there_is_one(
    tmp_path: Path, redis_url: str
) -> None:
    stage = Stage(tmp_path, ARCHON_BATCH_BROKER_URL=redis_url)
    stage.forked = False
    stage.dataset(6)
    ports = {name: free_port() for name in ("own", "default")}
    own_pool = f"queues: [calls.openai]\nconcurrency: 4\nmetrics_port: {ports['own']}\n"
    default_pool = f"queues: [calls, joins]\nconcurrency: 4\nmetrics_port: {ports['default']}\n"

    with ProviderServer(prices=PRICES) as provider, stage.workers({"default.yaml": default_pool}):
        stage.architecture(provider.url, TWO)
        with stage.workers({"own.yaml": own_pool}):
            until(lambda: _consumed(stage) == {"calls", "calls.openai", "joins"}, 100)
            doctor = stage.json("doctor")
            stage.run("submit", "rows.jsonl", "--arch", "layered.yaml", "--follow")
            own, default = (_metrics(port) for port in ports.values())
            listened = {port: _listened(port) for port in ports.values()}
        (job,) = stage.json("jobs")
        after = _consumed(stage)

    # A worker's own port for its metrics, and no other.
    assert listened == {port: {port} for port in ports.values()}

    def calls(metrics: dict[str, float]) -> dict[str, float]:
        return {
            name.removeprefix("archon_batch_calls_total"): value
            for name, value in metrics.items()
            if name.startswith("archon_batch_calls_total")
        }

    assert [line["detail"].partition("@")[0] for line in doctor if line["check"] == "workers"] == [
        "default-1", "own-1",
    ]  # fmt: skip
    one, two = '{model="openai/stand-in",outcome="ok"}', '{model="hosted_vllm/other",outcome="ok"}'
    assert calls(own) == {one: 12}
    assert calls(default) == {two: 18}
    assert after == {"calls", "joins"}

    usd = sum(v for m in (own, default) for n, v in m.items() if n.startswith("archon_batch_usd"))
    assert usd == pytest.approx(job["usd"])
    assert own['archon_batch_calls_in_flight{model="openai/stand-in"}'] == 0
    # Two a row: so small a job has shards of one.
    assert default["archon_batch_rounds_total"] == 12
    assert default['archon_batch_queue_messages{queue="joins"}'] == 0
    assert own['archon_batch_queue_messages{queue="calls.openai"}'] == 0


def _consumed(stage: Stage) -> frozenset[str]:
    store = Store.open(f"sqlite:///{stage.folder}/archon-batch.db")
    try:
        return store.workers.consumed_queues()
    finally:
        store.close()


def _listened(port: int) -> set[int]:
    """The ports on which the processes with this metrics port listen."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (
                f"ARCHON_BATCH_METRICS=127.0.0.1:{port}\0".encode()
                not in (folder / "environ").read_bytes()
            ):
                continue
            opened = {str(fd.readlink()) for fd in (folder / "fd").iterdir()}
            lines = [
                line.split()
                for kind in ("tcp", "tcp6")
                for line in (folder / "net" / kind).read_text().splitlines()[1:]
            ]
        except OSError:
            continue  # it has ended, or is another user's
        # Local address, state (0A listens) and inode.
        found |= {
            int(line[1].rpartition(":")[2], 16)
            for line in lines
            if line[3] == "0A" and f"socket:[{line[9]}]" in opened
        }
    return found
