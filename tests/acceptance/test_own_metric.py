"""A metric of one's own, from a package in a folder to the scores of a job."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.stage import Stage

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


def test_a_package_s_metric_scores_a_job_and_is_unknown_without_it(
    tmp_path: Path, installed: Path
) -> None:
    stage = Stage(tmp_path, PYTHONPATH=str(installed))
    stage.dataset(3)
    stage.write("one.yaml", "layers: [{type: generator, model: scripted/plausible}]\n")
    stage.run("submit", "rows.jsonl", "--arch", "one.yaml", "--name", "night")

    scores = stage.json("score", "night", "--metric", "brief:1000")
    short = stage.json("score", "night", "--metric", "brief:1")

    assert (scores["metric"], scores["mean"], scores["rows"]) == ("brief:1000", 1, 3)
    assert 0 < short["mean"] < 1
    bare = Stage(tmp_path).start("score", "night", "--metric", "brief:1")
    _, err = bare.communicate(timeout=60)
    assert bare.returncode == 2
    assert "no metric 'brief'" in err


@pytest.mark.parametrize("name", ["pyproject.toml", "archon_batch_brief/__init__.py"])
def test_the_page_shows_the_example_as_it_is(name: str) -> None:
    language = {".toml": "toml", ".py": "python"}[Path(name).suffix]
    blocks = re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)

    assert (EXAMPLE / name).read_text() in blocks
