"""Every command that writes may die at each of its commits: it can be done again, and leads on.

What is checked is the database, read without the program's help, after the same command, or the one
that leads out, has been run once more.
"""

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.acceptance.dying import Point, Runs
from tests.acceptance.test_crash_sweep import IN_LINE, JobFolder, failure_notes, note_death
from tests.store import schema_0012

pytestmark = pytest.mark.timeout(180)

SUBMIT = ("submit", "rows.jsonl", "--arch", "small.yaml", "--name", "labels", "--shard-size", "1")
STORED = (*SUBMIT, "--budget", "0.01", "--detach")
DONE = (*SUBMIT, "--budget", "0.01")
#: Pays for a part of a row.
PAUSED = (*SUBMIT, "--budget", "0.00025")
JOB = """\
dataset: rows.jsonl
architecture: small.yaml
name: labels-{date}
budget_usd: 0.01
when: "0 1 * * *"
export: out.jsonl
on_failure: ["true"]
"""
SPACE = """\
name: small
models: {one: {model: scripted/plausible, price: {input: 1, output: 1}}}
roles: {generators: [one], fusers: [one], ranker: one}
axes: {generators: 1, samples: [1, 2], fusions: 0}
"""
SEARCH = (
    "search", "gold.jsonl", "--space", "space.yaml", "--metric", "contains", "--reference", "gold",
    "-o", "found", "--dev", "0.5", "--trials", "2",
)  # fmt: skip
#: Where a job stands, and its rows; where it runs, it does so to the same end.
STANDS = "SELECT state, budget FROM jobs ORDER BY name"
ROWS = "SELECT status, answer FROM items ORDER BY job_id, ix"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, the commands before it, and its expected result."""

    line: Sequence[str]
    before: Sequence[Sequence[str]] = ()
    #: What leads on if the command, done again, says that there is nothing to do.
    out: Sequence[str] | None = None
    #: The last point that is its own: from there on it is a run like any other.
    until: str = "after the commit of the shard cursors"
    #: Points that are died at, at most.
    most: int = 16
    #: Queries whose rows are the result.
    comes_to: Sequence[str] = (STANDS, ROWS)
    ends: int = 0


COMMANDS = {
    "cancel": Command(line=("cancel", "labels"), before=[STORED]),
    "retry": Command(
        line=("retry", "labels"), before=[STORED, ("cancel", "labels")], out=("resume", "labels")
    ),
    "retry some": Command(
        line=("retry", "labels", "--where", "id=q1"),
        before=[STORED, ("cancel", "labels")],
        out=("resume", "labels"),
    ),
    "resume": Command(line=("resume", "labels"), before=[STORED]),
    "resume with a budget": Command(
        line=("resume", "labels", "--budget", "0.02"), before=[PAUSED], out=("resume", "labels")
    ),
    "submit with a budget": Command(
        line=(*SUBMIT, "--budget", "0.02", "--priority", "low"),
        before=[PAUSED],
        comes_to=(STANDS, ROWS, "SELECT priority FROM jobs"),
    ),
    "export": Command(line=("export", "labels", "-o", "out.jsonl", "--force"), before=[DONE]),
    "cache purge": Command(
        line=("cache", "purge", "--older-than", "0m"),
        before=[DONE],
        comes_to=(STANDS, ROWS, "SELECT count(*) FROM completions"),
    ),
    "limits": Command(
        line=("limits", "scripted/plausible", "--rpm", "600", "--max-in-flight", "3"),
        before=[STORED],
        comes_to=(STANDS, "SELECT model, rpm, tpm, max_in_flight FROM rate_limits"),
    ),
    "score": Command(
        line=("score", "labels", "--metric", "contains", "--reference", "gold"),
        before=[DONE],
        comes_to=(STANDS, "SELECT metric, ix, value, extracted FROM scores ORDER BY ix"),
    ),
    "a scheduled run": Command(
        line=("submit", "--job", "job.yaml", "--date", "2026-11-30", "--follow"),
        until="before the exit",
        comes_to=(STANDS, ROWS, "SELECT day, state, reason, job_id FROM scheduled_runs"),
    ),
    "a pilot": Command(
        line=("plan", "rows.jsonl", "--arch", "small.yaml", "--pilot", "2", "--budget", "0.01"),
        until="before the exit",
    ),
    "try": Command(line=("try", "What is 2 + 2?", "--arch", "small.yaml"), until="before the exit"),
    "search": Command(
        line=SEARCH,
        until="before the exit",
        most=4,
        comes_to=("SELECT state FROM searches", "SELECT stage FROM trials", ROWS),
    ),
}


def points(job_folder: JobFolder, command: Command) -> list[Point]:
    """The commits of the command's own, and what is around the files that it writes."""
    own: list[Point] = []
    for point in job_folder.reached:
        if "commit" in point.name or "export" in point.name:
            own.append(point)
        if point.name == command.until:
            break
    every = max(1, -(-len(own) // command.most))
    return own[::every]


def sound(job_folder: JobFolder) -> None:
    """What holds of the books at every moment."""
    attempts, bill = job_folder.attempts(), job_folder.bill
    assert {entry for entry, _ in bill} <= set(attempts), "sent, and not recorded"
    assert len(bill) == len(dict(bill)), "one attempt, and two requests"
    for job in job_folder.ask("SELECT * FROM jobs"):
        own = [a for a in attempts.values() if a["job_id"] == job["id"]]
        assert job["spent"] == sum(a["cost"] or 0 for a in own)
        for money, state in (("held", "sending"), ("in_doubt", "in_doubt")):
            kept = sum(a["hold"] for a in own if a["state"] == state)
            assert job[money] == kept, f"{money} is not the sum of its attempts"
        (left,) = job_folder.ask(
            f"SELECT count(*) FROM items WHERE job_id = '{job['id']}' AND status = 'open'"  # noqa: S608
        )
        assert job["state"] not in ("done", "cancelled") or not left[0], "an end with open rows"


def comes_to(job_folder: JobFolder, command: Command) -> list[list[tuple[object, ...]]]:
    return [[tuple(row) for row in job_folder.ask(query)] for query in command.comes_to]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_dies_at_a_commit_can_be_repeated(
    runs: Runs, tmp_path: Path, name: str
) -> None:
    command = COMMANDS[name]
    before = JobFolder(tmp_path / "before", runs, IN_LINE)
    rows = [{"id": f"q{n}", "prompt": f"What is {n} + {n}?", "gold": "the"} for n in range(2)]
    for file in ("rows.jsonl", "gold.jsonl"):
        (before.folder / file).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (before.folder / "job.yaml").write_text(JOB)
    (before.folder / "space.yaml").write_text(SPACE)
    for line in command.before:
        before.do(line)
    whole = before.again(tmp_path / "whole")
    with failure_notes("undisturbed", whole):
        assert whole.do(command.line) == command.ends
        sound(whole)

    at = points(whole, command)
    for number, point in enumerate(at):
        job_folder = before.again(tmp_path / str(number))
        with failure_notes(f"died {point}", job_folder):
            assert job_folder.do(command.line, point) == -signal.SIGKILL
            note_death(job_folder)
            sound(job_folder)
            status = job_folder.do(command.line)
            if status == 2 and command.out:
                assert job_folder.do(command.out) == command.ends
            else:
                # To be done already is no way on only where there is nothing left to do.
                assert status == command.ends or (status == 2 and name == "cancel")
            sound(job_folder)
            assert comes_to(job_folder, command) == comes_to(whole, command)

    assert len(at) >= 2


def test_an_upgrade_that_dies_at_its_commit_can_be_repeated(runs: Runs, tmp_path: Path) -> None:
    before = JobFolder(tmp_path / "before", runs, IN_LINE)
    engine = sa.create_engine(f"sqlite:///{before.folder}/archon-batch.db")
    with engine.begin() as connection:
        schema_0012.create(connection)
    engine.dispose()
    whole = before.again(tmp_path / "whole")
    assert whole.do(("db", "upgrade")) == 0

    at = [point for point in whole.reached if "commit" in point.name]
    for number, point in enumerate(at):
        job_folder = before.again(tmp_path / str(number))
        with failure_notes(f"died {point}", job_folder):
            assert job_folder.do(("db", "upgrade"), point) == -signal.SIGKILL
            assert job_folder.do(("db", "upgrade")) == 0
            schema = "SELECT sql FROM sqlite_master ORDER BY name"
            assert job_folder.ask(schema) == whole.ask(schema)
            assert job_folder.run() == 0

    assert len(at) >= 2


def test_every_command_that_writes_is_covered() -> None:
    """A command that is added is swept, or said to write nothing."""
    from archon_batch.cli import archon_batch  # noqa: PLC0415

    reads = {"check", "status", "jobs", "cost", "show", "verify", "report", "doctor"}
    #: Of processes and of other commands: a worker's tasks, a scheduler's commands, a benchmark's jobs.
    made_of_others = {"worker", "schedule", "bench"}
    swept = {command.line[0] for command in COMMANDS.values()} | {"db", "retry", "plan"}

    assert swept | reads | made_of_others == set(archon_batch.list_commands(None))  # type: ignore[arg-type]
    assert not reads & swept
