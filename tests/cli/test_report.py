"""``archon-batch report``: a job as one HTML page."""

import importlib.util
import json
from importlib.machinery import ModuleSpec

import pytest

from tests.cli.terminal import Terminal

LAYERS = """\
name: board
models: {rough: {model: scripted/rough, price: {input: 2, output: 10}}}
defaults: {model: rough}
layers:
  - {type: generator, samples: 3}
  - {type: ranker}
"""


@pytest.fixture
def job(terminal: Terminal) -> str:
    terminal.write("board.yaml", LAYERS)
    rows = [{"id": f"q{n}", "prompt": f"What is {n} + {n}?"} for n in range(4)]
    terminal.write("rows.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    assert terminal.run("submit", "rows.jsonl", "--arch", "board.yaml").status in (0, 1)
    return "rows-board"


def test_a_job_becomes_one_page(terminal: Terminal, job: str) -> None:
    ended = terminal.run("report", job, "-o", "report.html", "--rows", "1")

    assert ended.status == 0, ended.err
    assert ended.err.startswith("report.html: ")
    page = terminal.read("report.html")
    assert page.startswith("<!doctype html>\n")
    assert page.count('<details class="row">') == 2
    assert "2 rows of 4 are not shown" in page


def test_a_page_that_is_there_is_kept_unless_it_is_said(terminal: Terminal, job: str) -> None:
    terminal.write("report.html", "mine")

    ended = terminal.run("report", job, "-o", "report.html")

    assert (ended.status, ended.err) == (
        2,
        "error: report.html exists; --force overwrites it\n",
    )
    assert terminal.read("report.html") == "mine"
    assert terminal.run("report", job, "-o", "report.html", "--force").status == 0
    assert terminal.read("report.html") != "mine"


def test_a_metric_that_has_no_scores_is_told(terminal: Terminal, job: str) -> None:
    ended = terminal.run("report", job, "-o", "report.html", "--metric", "number")

    assert ended.status == 2
    assert "rows-board has no scores under 'number'" in ended.err
    assert not terminal.has("report.html")


def test_without_the_extra_it_says_what_to_install(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "matplotlib" else find(name, package)

    monkeypatch.setattr("archon_batch.html_report.find_spec", found)
    ended = terminal.run("report", "any", "-o", "report.html")

    assert ended.status == 2
    assert ended.err == "error: a report needs: pip install archon-batch[report]\n"


@pytest.mark.slow
def test_help_needs_no_matplotlib() -> None:
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    code = (
        "import sys, archon_batch.cli.report\n"
        "print([m for m in ('matplotlib', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
