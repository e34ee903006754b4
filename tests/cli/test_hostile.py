"""What providers, models, datasets and files say reaches neither a terminal nor a page raw."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from archon_batch.archon import Call, Message, Question, Reply
from archon_batch.store import Job, Store
from tests.cli.terminal import Terminal
from tests.html_report.jobs import a_finished_job

#: A title, a colour, a cursor that goes back, letters that run the other way.
WORDS = "said \x1b]0;owned\x07\x1b[31m\x9b2J\r\u202etxt.exe\u2066 end"
_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """A stopped job: rows that were answered, given up, are open, all with such words."""
    store = Store.open(f"sqlite:///{tmp_path}/archon-batch.db")
    questions = [Question(f"row-{n}", (Message("user", f"{WORDS} {n}?"),)) for n in range(4)]

    def say(ix: int, _call: Call) -> Reply:
        return (
            Reply(f"4 {WORDS}", finish_reason="stop")
            if ix < 2
            else Reply(None, failure=f"500: {WORDS}")
        )

    played = a_finished_job(
        store, questions, say, {"type": "generator"}, rows=3, name=f"arch {WORDS}"
    )
    store.jobs.change_state(
        played.id, "stopped", from_states=["running"], reason=f"openai/m: 401: {WORDS}"
    )
    yield store.jobs.get(played.id)
    store.close()


COMMANDS = (
    "jobs", "jobs --json", "status JOB", "status JOB --json", "status JOB --follow", "show JOB",
    "show JOB --json", "show JOB row-0", "show JOB row-0 --full", "show JOB row-2 --json", "cost JOB",
    "cost JOB --by model", "verify JOB", "export JOB", "score JOB --metric number --reference place",
    "retry JOB --where reason=nothing", "limits", "cache stats", "cancel JOB",
    "check HOSTILE", "submit HOSTILE --arch HOSTILE", "HOSTILE", "show JOB HOSTILE", "status HOSTILE",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_it_raw(terminal: Terminal, job: Job, command: str) -> None:
    words = [
        {"JOB": job.id, "HOSTILE": WORDS.replace(" ", "")}.get(word, word)
        for word in command.split()
    ]

    ended = terminal.run(*words)

    assert not _RAW.search(ended.out + ended.err)
    assert "should not happen" not in ended.err
    assert ended.out + ended.err


def test_it_is_spelt_out_where_it_is_told(terminal: Terminal, job: Job) -> None:
    assert r"\x1b]0;owned\x07" in terminal.run("status", job.id).out
    assert r"\u202etxt.exe" in terminal.run("show", job.id).out
    assert (
        r"stopped: openai/m: 401: said \x1b]0;owned"
        in terminal.run("status", job.id, "--follow").err
    )


def test_data_reads_back_as_it_was_said(terminal: Terminal, job: Job) -> None:
    first = terminal.run("export", job.id).out.splitlines()[0]

    assert json.loads(first)["answer"] == f"4 {WORDS}"
    assert terminal.json("show", job.id)[0]["answer"] == f"4 {WORDS}"


def test_a_page_shows_it_and_turns_no_letter(terminal: Terminal, job: Job) -> None:
    pytest.importorskip("jinja2")
    terminal.run("score", job.id, "--metric", f"regex:{WORDS}", "--reference", "place")

    assert terminal.run("report", job.id, "-o", "page.html").status == 0

    page = terminal.read("page.html")
    assert not _RAW.search(page)
    assert page.count(r"\u202etxt.exe") > 5
