"""A Redis that only accepts ``rediss://``, with certificate validation."""

import re
from pathlib import Path

import pytest

from tests.acceptance.servers import TlsRedisServer, serving
from tests.acceptance.stage import PRICES, Stage
from tests.provider import ProviderServer

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]

LIMITED = """\
name: limited
models:
  one:
    model: openai/stand-in
    api_base: {url}
    max_in_flight: 3
    price: {{input: {input}, output: {output}}}
defaults: {{model: one, max_tokens: 64}}
layers: [{{type: generator, samples: 2}}, {{type: fuser}}]
"""
POOL = {"pool.yaml": "queues: [calls, joins]\nconcurrency: 8\n"}


def _rights() -> list[str]:
    """What docs/operate.md says that the broker's user needs on Redis."""
    page = (Path(__file__).parents[2] / "docs" / "operate.md").read_text(encoding="utf-8")
    rights: list[str] = re.findall(r"^`(~\* .+)`", page, re.MULTILINE)
    return rights[0].split()


def test_workers_and_rate_limits_use_tls_and_a_user_with_few_permissions(
    tmp_path: Path,
) -> None:
    with (
        serving(server := TlsRedisServer()),
        ProviderServer(prices=PRICES, latency=0.02) as provider,
    ):
        server.client.execute_command("ACL SETUSER", "nightly", "on", ">word", *_rights())
        address = server.url.replace("//", "//nightly:word@")
        stage = Stage(tmp_path, ARCHON_BATCH_BROKER_URL=address)
        stage.dataset(12)
        stage.architecture(provider.url, LIMITED)
        with stage.workers(POOL):
            job = stage.run("submit", "rows.jsonl", "--arch", "layered.yaml", "--follow").strip()
        limits = list(server.client.scan_iter("archon-batch:limits:*"))

    assert (
        stage.json(
            "status",
            job,
        )["answered"]
        == 12
    )
    assert provider.max_concurrent <= 3
    assert len(limits) == 1


def test_a_server_with_an_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    with serving(server := TlsRedisServer()):
        address = server.url.partition("?")[0]
        stage = Stage(tmp_path, ARCHON_BATCH_BROKER_URL=f"{address}?ssl_cert_reqs=required")
        stage.dataset(2)
        stage.architecture("http://127.0.0.1:9/v1")
        refused = stage.start("submit", "rows.jsonl", "--arch", "layered.yaml")
        _, err = refused.communicate(timeout=60)

    assert refused.returncode != 0
    assert "certificate verify failed" in err
