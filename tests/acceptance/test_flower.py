"""Flower in a browser while a job runs: what it shows, and what it must not show."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import ProviderServer

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

POOL = {"pool.yaml": "queues: [calls, joins]\nconcurrency: 8\n"}
#: A job's name is the one thing of a user's that is shown.
NAME = os.environ.get("PICTURE_OF", "sums <img src=x onerror=document.title=1>")
FIRST = "rows 1-7, layer 0, stand-in x 35"
LAST = "rows 1-12, layer 3, stand-in x 12"
KEY = "sk-not-to-be-seen-anywhere"
USER, PASSWORD = "operator", "secret"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def flower(stage: Stage) -> Iterator[str]:
    """Flower as docs/operate.md starts it; its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "flower",
         f"--conf={ROOT}/workers/flowerconfig.py"],
        cwd=stage.folder,
        env={**stage.environment, "FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": f"{USER}:{PASSWORD}"},
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def up() -> bool:
        try:
            return bool(urlopen(f"{address}/healthcheck").status == 200)  # noqa: S310
        except OSError:
            return False

    try:
        until(up)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def browser(address: str) -> Iterator[Page]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"no {CHROMIUM}")
        pytest.skip(f"no {CHROMIUM}")
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = chromium.new_context(
            base_url=address,
            http_credentials={"username": USER, "password": PASSWORD, "send": "always"},
            viewport={"width": 1360, "height": 620},
        )
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page
        chromium.close()


def test_flower_shows_jobs_rows_and_models_and_nothing_private(
    tmp_path: Path, redis_url: str
) -> None:
    stage = Stage(tmp_path, ARCHON_BATCH_BROKER_URL=redis_url, ARCHON_BATCH_KEY_127_0_0_1=KEY)
    stage.dataset(12)
    picture = os.environ.get("PICTURE")

    with (
        ProviderServer(prices=PRICES, latency=lambda n: 10.0 if n <= 60 else 0.5) as provider,
        stage.workers(POOL),
        flower(stage) as address,
        browser(address) as page,
    ):
        stage.architecture(provider.url)
        began = time.time()
        submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", NAME)
        job = stage.run(*submit, "--shard-size", "12").strip()
        until(lambda: provider.request_count > 0)

        page.goto("/tasks")
        page.get_by_role("row").filter(has_text=FIRST).filter(has_text="STARTED").wait_for()
        seen = page.content()

        stage.run("status", job, "--follow")
        page.goto("/tasks")
        page.get_by_role("row").filter(has_text=LAST).filter(has_text="SUCCESS").wait_for()
        if picture:
            page.screenshot(path=picture)
        seen += page.content()
        page.get_by_role("row").filter(has_text=LAST).get_by_role("link").last.click()
        page.get_by_text(LAST).wait_for()
        page.get_by_text(NAME).wait_for()
        seen += page.content()
        page.goto("/workers")
        page.get_by_role("row").filter(has_text="pool-1@").filter(has_text="Online").wait_for()
        # Five batches of calls: two of the first layer, and one of each further; a join before
        # each, and one after the last.
        until(lambda: _counts(page) == {"pool-1": (10, 0, 10)})
        seen += page.content()
        tasks = page.request.get("/api/tasks").json().values()
        metrics = page.request.get("/metrics").text()
        title, refused = page.title(), _refusals(page)
        strangers = {path: _status(address + path) for path in ("/tasks", "/api/tasks", "/metrics")}

    (first,) = [task for task in tasks if task["kwargs"] == FIRST]
    assert (first["args"], first["state"]) == (NAME, "SUCCESS")
    assert 10.0 <= first["runtime"] < 60.0
    assert began - 1 <= first["received"] <= time.time()
    assert sum(task["runtime"] for task in tasks if task["kwargs"] == LAST) >= 0.5

    for text in (seen, str(list(tasks)), metrics):
        said = ("What is", " plus ", "Strengths", "Weaknesses", "Answer: [", KEY, PASSWORD)
        assert not [word for word in said if word in text]
    assert "sums" not in metrics
    assert title == "Workers · Flower"
    assert strangers == {"/tasks": 401, "/api/tasks": 401, "/metrics": 200}
    assert refused == {"/api/worker/shutdown/x": 403, "/api/task/revoke/x": 403}


def _counts(page: Page) -> dict[str, tuple[int, int, int]]:
    """Processed, failed and succeeded, by worker."""
    heads = [head.strip() for head in page.locator("thead th").all_text_contents()]
    places = [heads.index(name) for name in ("Processed", "Failed", "Succeeded")]
    found = {}
    for row in page.locator("#workers-table tbody tr").all():
        cells = [cell.strip() for cell in row.locator("td").all_text_contents()]
        processed, failed, succeeded = (int(cells[place] or 0) for place in places)
        found[cells[0].partition("@")[0]] = (processed, failed, succeeded)
    return found


def _status(url: str) -> int:
    """What a stranger is told."""
    try:
        return int(urlopen(url).status)  # noqa: S310
    except HTTPError as error:
        return error.code


def _refusals(page: Page) -> dict[str, int]:
    """What also the one who has the password is not to do."""
    paths = ("/api/worker/shutdown/x", "/api/task/revoke/x")
    return {path: page.request.post(path).status for path in paths}
