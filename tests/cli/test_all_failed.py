"""A job whose rows all failed says so first, and why."""

import pytest

from archon_batch.archon import Call, Reply
from archon_batch.store import Store
from tests.cli.terminal import Terminal
from tests.html_report.jobs import a_finished_job
from tests.provider import ProviderServer

ARCH = """\
models: {{m: {{model: openai/m, api_base: "{url}", price: {{input: 1, output: 1}}}}}}
layers: [{{type: generator, model: m, retries: 0}}]
"""


def test_a_submission_reports_it_first_and_exits_with_1(terminal: Terminal) -> None:
    terminal.write("rows.jsonl", "".join(f'{{"prompt": "Why {n}?"}}\n' for n in range(3)))
    with ProviderServer(faults=lambda _n: "refused") as provider:
        terminal.write("arch.yaml", ARCH.format(url=provider.url))
        ended = terminal.run("submit", "rows.jsonl", "--arch", "arch.yaml", "--processes", "1")

    assert ended.status == 1
    # A slow machine tells on the way how far it is.
    first, second, *_ = [line for line in ended.err.splitlines() if " calls/s" not in line]
    assert first.startswith("all 3 rows failed: layer 0: ")
    assert "400" in first
    assert second == "0 of 3 rows answered, 3 failed"
    for command in ("status", "show"):
        assert first in terminal.run(command, "rows-arch").out
    assert terminal.json("status", "rows-arch")["all_failed"] == first


@pytest.mark.parametrize(
    ("failures", "says"),
    [
        (["500: down, request req_8fa2", "500: down, request req_77c1"], "all 2 rows failed: layer 0: 500: down, request req_77c1"),
        (["no luck", "no luck", "another"], "all 3 rows failed, 2 of them: layer 0: no luck"),
        (["no luck", None], None),
    ],
)  # fmt: skip
def test_request_ids_do_not_make_reasons_different(
    terminal: Terminal,
    store: Store,
    failures: list[str | None],
    says: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def say(ix: int, _call: Call) -> Reply:
        return (
            Reply("4", finish_reason="stop")
            if failures[ix] is None
            else Reply(None, failure=failures[ix])
        )

    job = a_finished_job(store, len(failures), say, {"type": "generator", "retries": 0})
    monkeypatch.setenv("ARCHON_BATCH_DATABASE_URL", str(store.database.engine.url))

    told = terminal.run("status", job.id).out

    assert terminal.json("status", job.id)["all_failed"] == says
    assert ("rows failed" in told) is (says is not None)
