"""Wherever the program dies, it is started again, and loses nothing but what was in flight.

What is checked is the database, read without the program's help, against the provider's own bill.
The tests die once at every point of a small job, and twice at a sample of pairs of points.

    python -m tests.acceptance.test_crash_sweep 1

dies at all pairs of points of a job of one row, which takes a quarter of an hour; of two, an hour.
"""

import json
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.acceptance.dying import BILL, REACHED, SAID, Order, Point, Runs

pytestmark = pytest.mark.timeout(180)

BUDGET = 10_000_000
ARCHITECTURE = """\
name: small
models: {one: {model: scripted/plausible, price: {input: 0.1503, output: 0.6007}}}
defaults: {model: one, max_tokens: 64}
layers:
  - {type: generator, samples: 2}
  - {type: ranker}
  - {type: fuser}
"""
#: Calls of a row.
CALLS = 4

#: Processes that run at a time when all pairs of points are died at.
_AT_A_TIME = 2

#: The steps of a run, each of which has a point before it and one after it.
STEPS = {
    "the dataset is read",
    "the commit of the tables",
    "the commit of the installation's id",
    "the commit of the job and its rows",
    "the process is made",
    "the commit of a lease",
    "the commit of a recovery",
    "the commit of the shard cursors",
    "the commit of a cursor's step",
    "a worker is started",
    "a shard's message",
    "a round's messages",
    "a batch is planned",
    "the commit of an admission",
    "the commit of a settlement",
    "the commit of a row's end",
    "the next shard's message",
    "the commit of the job's move to done",
    "the process is closed",
    "the export's fsync",
    "the export's rename",
}
#: The points that stand alone.
MOMENTS = {
    "before a row is added",
    "before a request",
    "between a request and its answer",
    "after an answer",
    "before the export's file is opened",
    "after the export's file is opened",
    "before a line of the export",
    "after the export's last line",
    "before the exit",
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is run: how large, and how much of it at once."""

    rows: int
    shard: int
    in_flight: int
    latency: float

    @property
    def submit(self) -> tuple[str, ...]:
        return (
            "submit", "rows.jsonl", "--arch", "small.yaml", "--name", "labels",
            "--budget", "0.01", "--shard-size", str(self.shard), "-o", "out.jsonl", "--force",
        )  # fmt: skip


#: One call after the other: every run reaches the same points.
IN_LINE = Job(rows=2, shard=1, in_flight=1, latency=0.0)
#: Up to six calls at once, which share commits as it happens.
AT_ONCE = Job(rows=3, shard=3, in_flight=6, latency=0.004)


class JobFolder:
    """A folder in which a job runs, dies, and is run again; and what is known of it from outside."""

    def __init__(self, folder: Path, runs: Runs, job: Job) -> None:
        self.folder, self.job, self._runs = folder, job, runs
        #: Attempts in flight when the process died.
        self.lost: set[str] = set()
        rows = [{"id": f"q{n}", "prompt": f"What is {n} + {n}?"} for n in range(job.rows)]
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "rows.jsonl").exists():
            (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        (folder / "small.yaml").write_text(ARCHITECTURE)

    def anew(self, folder: Path) -> "JobFolder":
        """The same job in another folder, not begun."""
        return JobFolder(folder, self._runs, self.job)

    def again(self, folder: Path) -> "JobFolder":
        """A copy of this folder with its job, as it is now."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        copy = self.anew(folder)
        copy.lost = set(self.lost)
        return copy

    def run(
        self, at: Point | None = None, number: int = signal.SIGKILL, resume: bool = False
    ) -> int:
        """The exit status of the command, which gets the signal when it comes there."""
        return self.do(("resume", "labels") if resume else self.job.submit, at, number)

    def do(
        self, arguments: Sequence[str], at: Point | None = None, number: int = signal.SIGKILL
    ) -> int:
        """The same of any command."""
        job = self.job
        return self._runs(
            Order(str(self.folder), arguments, at, number, job.in_flight, job.latency)
        )

    @property
    def reached(self) -> list[Point]:
        """The points that the last run reached, in order."""
        return [Point.read(line) for line in (self.folder / REACHED).read_text().splitlines()]

    @property
    def bill(self) -> list[tuple[str, int]]:
        """What the provider has served: the attempt, and nano-dollars."""
        file = self.folder / BILL
        lines = file.read_text().splitlines() if file.exists() else []
        return [(entry["attempt"], entry["nano_usd"]) for entry in map(json.loads, lines)]

    @property
    def answers(self) -> list[dict[str, Any]] | None:
        """The export, without what a death may change of it; None if there is none."""
        file = self.folder / "out.jsonl"
        if not file.exists():
            return None
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        return [
            {k: v for k, v in line.items() if k not in ("seconds", "attempts")} for line in lines
        ]

    def ask(self, query: str) -> list[sqlite3.Row]:
        """What the database says; nothing, if there are no tables yet."""
        file = self.folder / "archon-batch.db"
        if not file.exists():
            return []
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return connection.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                assert "no such table" in str(error)  # noqa: PT017
                return []

    def attempts(self) -> dict[str, sqlite3.Row]:
        """The attempts by the id that the provider gets."""
        rows = self.ask(
            "SELECT job_id || '/' || ix || '/' || key || '/' || attempt_number AS id, * FROM attempts"
        )
        return {row["id"]: row for row in rows}

    @property
    def is_running(self) -> bool:
        return [row["state"] for row in self.ask("SELECT state FROM jobs")] == ["running"]


def check_always(job_folder: JobFolder, whole: JobFolder) -> None:
    """What holds at every moment, also while the program is dead."""
    attempts, bill = job_folder.attempts(), job_folder.bill
    assert job_folder.answers in (None, whole.answers), "an export that is not the whole one"
    assert {entry for entry, _ in bill} <= set(attempts), "sent, and not recorded"
    assert len(bill) == len(dict(bill)), "one attempt, and two requests"
    for job in job_folder.ask("SELECT * FROM jobs"):
        assert job["spent"] + job["held"] + job["in_doubt"] <= job["budget"] == BUDGET
        assert job["spent"] == sum(a["cost"] or 0 for a in attempts.values())
        for money, state in (("held", "sending"), ("in_doubt", "in_doubt")):
            kept = sum(a["hold"] for a in attempts.values() if a["state"] == state)
            assert job[money] == kept, f"{money} is not the sum of its attempts"
        assert (
            job_folder.ask("SELECT count(*) FROM items")[0][0] == job["rows"] == job_folder.job.rows
        )


def note_death(job_folder: JobFolder) -> None:
    """Remember what was in flight when the program died."""
    sending = {name for name, a in job_folder.attempts().items() if a["state"] == "sending"}
    assert len(sending - job_folder.lost) <= job_folder.job.in_flight
    job_folder.lost |= sending


def check_end(job_folder: JobFolder, whole: JobFolder) -> None:
    """What holds when the job has been run to its end, whatever befell it on the way."""
    check_always(job_folder, whole)
    assert job_folder.answers == whole.answers
    assert [row["state"] for row in job_folder.ask("SELECT state FROM jobs")] == ["done"]
    attempts, bill = job_folder.attempts(), dict(job_folder.bill)
    states = Counter(a["state"] for a in attempts.values())
    assert states == Counter(billed=job_folder.job.rows * CALLS, in_doubt=len(job_folder.lost))
    assert {name for name, a in attempts.items() if a["state"] == "in_doubt"} == job_folder.lost
    for name, attempt in attempts.items():
        if attempt["state"] == "billed":
            assert attempt["cost"] == bill[name], f"{name} is not recorded at its cost"
        else:
            assert attempt["hold"] >= bill.get(name, 0), f"{name} may have cost more than its hold"
    # A served call without a received reply is in doubt; all other billed calls are recorded.
    assert set(bill) - job_folder.lost == {n for n, a in attempts.items() if a["state"] == "billed"}


@contextmanager
def failure_notes(what: str, job_folder: JobFolder) -> Iterator[None]:
    """Have a failure say where the program died, and what it said."""
    try:
        yield
    except AssertionError as error:
        said = (job_folder.folder / SAID).read_text()[-2000:]
        error.add_note(f"{what}; in {job_folder.folder}:\n{said}")
        raise


def die_once(whole: JobFolder, at: Point, folder: Path) -> None:
    job_folder = whole.anew(folder)
    with failure_notes(f"died {at}", job_folder):
        assert job_folder.run(at) == -signal.SIGKILL
        note_death(job_folder)
        check_always(job_folder, whole)
        assert job_folder.run() == 0
        check_end(job_folder, whole)


def die_twice(
    whole: JobFolder, first: Point, folder: Path, choose: Callable[[list[Point]], list[Point]]
) -> Counter[str]:
    """Die there, and then at points of the run that goes on: at those that are chosen of them."""
    figures: Counter[str] = Counter()
    dead = whole.anew(folder / "dead")
    with failure_notes(f"died {first}", dead):
        dead.run(first)
        note_death(dead)
        check_always(dead, whole)
        # Every second time by `resume`; after a crash at the end of a run only `submit` continues it.
        resume = dead.is_running and first.nth % 2 == 0
        undisturbed = dead.again(folder / "undisturbed")
        assert undisturbed.run(resume=resume) == 0
    for at in choose(undisturbed.reached):
        job_folder = dead.again(folder / "labels")
        with failure_notes(f"died {first}, and then {at}", job_folder):
            figures["pairs"] += 1
            figures["died twice"] += job_folder.run(at, resume=resume) == -signal.SIGKILL
            note_death(job_folder)
            check_always(job_folder, whole)
            assert job_folder.run() == 0
            check_end(job_folder, whole)
        figures["in doubt"] += len(job_folder.lost)
        figures["paid twice"] += len(job_folder.lost & set(dict(job_folder.bill)))
        shutil.rmtree(job_folder.folder)
    return figures


def interrupt(whole: JobFolder, at: Point, number: int, folder: Path) -> None:
    job_folder = whole.anew(folder)
    with failure_notes(f"interrupted {at}", job_folder):
        status = job_folder.run(at, number)
        check_always(job_folder, whole)
        assert {a["state"] for a in job_folder.attempts().values()} <= {"billed"}
        # Unless there was nothing left to do when all that was in flight had landed.
        assert status == 130 or (status == 0 and job_folder.answers == whole.answers)
        assert job_folder.run() == 0
        check_end(job_folder, whole)


@pytest.fixture(scope="module")
def in_line(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    return a_complete_run(tmp_path_factory.mktemp("in-line"), runs, IN_LINE)


@pytest.fixture(scope="module")
def at_once(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    return a_complete_run(tmp_path_factory.mktemp("at-once"), runs, AT_ONCE)


def a_complete_run(folder: Path, runs: Runs, job: Job) -> JobFolder:
    """A run without a crash: the expected result of every other run."""
    job_folder = JobFolder(folder, runs, job)
    with failure_notes("undisturbed", job_folder):
        assert job_folder.run() == 0
        assert [answer["status"] for answer in job_folder.answers or ()] == ["answered"] * job.rows
        check_end(job_folder, job_folder)
    return job_folder


def test_the_crash_points_surround_every_step_of_a_run(in_line: JobFolder) -> None:
    names = {point.name for point in in_line.reached}

    assert names == MOMENTS | {f"{when} {step}" for when in ("before", "after") for step in STEPS}


@pytest.mark.parametrize("part", range(8))
def test_a_run_continues_after_a_crash_at_any_point_and_loses_only_calls_in_flight(
    in_line: JobFolder, tmp_path: Path, part: int
) -> None:
    points = sorted(in_line.reached)[part::8]

    for number, at in enumerate(points):
        die_once(in_line, at, tmp_path / str(number))

    assert len(points) > 10


@pytest.mark.parametrize("seed", range(8))
def test_a_run_survives_a_second_crash_while_it_continues(
    at_once: JobFolder, tmp_path: Path, seed: int
) -> None:
    dice = Random(seed)  # noqa: S311
    figures: Counter[str] = Counter()

    for number, first in enumerate(dice.sample(sorted(at_once.reached), 2)):
        folder = tmp_path / str(number)
        figures += die_twice(at_once, first, folder, lambda points: dice.sample(points, 4))

    # What shares a commit differs from run to run, so that not every point is reached again.
    assert figures["pairs"] == 8
    assert figures["died twice"] >= 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_finishes_its_calls_and_leaves_none_in_doubt(
    at_once: JobFolder, tmp_path: Path, number: int
) -> None:
    reached = at_once.reached
    first = reached.index(Point("before a worker is started", 1))
    last = reached.index(Point("after the commit of the job's move to done", 1))

    for place, at in enumerate(Random(number).sample(reached[first:last], 10)):  # noqa: S311
        interrupt(at_once, at, number, tmp_path / str(place))


def main() -> None:
    """Crash at every pair of points, and print the outcome."""
    job = replace(IN_LINE, rows=int(sys.argv[1]))

    def some(part: int) -> Counter[str]:
        figures: Counter[str] = Counter()
        with Runs() as runs, tempfile.TemporaryDirectory() as name:
            whole = a_complete_run(Path(name, "whole"), runs, job)
            for first in sorted(whole.reached)[part::_AT_A_TIME]:
                figures += die_twice(whole, first, Path(name, str(first)), lambda points: points)
                shutil.rmtree(Path(name, str(first)))
                sys.stdout.write(f"{first}: {dict(figures)}\n")
                sys.stdout.flush()
        return figures

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        figures = sum(pool.map(some, range(_AT_A_TIME)), Counter[str]())
    sys.stdout.write(f"all: {dict(figures)}\n")


if __name__ == "__main__":
    main()
