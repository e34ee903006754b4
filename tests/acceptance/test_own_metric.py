"""A metric of one's own, from a package in a folder to the scores of a job."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archon_batch.archon import Answer
from archon_batch.store import Store
from tests.acceptance.stage import Stage
from tests.builders import a_job

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "archon-batch-brief"
DOCS = ROOT / "docs" / "scoring.md"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed into, with nothing but what is here."""
    # A copy, so that nothing is left in the project's folder.
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / EXAMPLE.name)
    target = tmp_path_factory.mktemp("installed")
    pip = ["pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
    command: list[str | Path] = [sys.executable, "-m", *pip, *options, "--target", target, source]
    subprocess.run(command, check=True)
    return target


def test_a_package_s_metric_scores_a_job(tmp_path: Path, installed: Path) -> None:
    stage = Stage(tmp_path, PYTHONPATH=str(installed))
    store = Store.open(f"sqlite:///{tmp_path}/archon-batch.db")
    job = a_job(store, questions=2)
    store.items.finish(job.id, [(0, Answer("one two", "0.0.0")), (1, Answer("one", "0.0.0"))])
    store.close()

    scores = stage.json("score", job.id, "--metric", "brief:1")

    assert (scores["metric"], scores["mean"], scores["rows"]) == ("brief:1", 0.75, 2)


@pytest.mark.parametrize("name", ["pyproject.toml", "archon_batch_brief/__init__.py"])
def test_the_page_shows_the_example_as_it_is(name: str) -> None:
    language = {".toml": "toml", ".py": "python"}[Path(name).suffix]
    blocks = re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)

    assert (EXAMPLE / name).read_text() in blocks
