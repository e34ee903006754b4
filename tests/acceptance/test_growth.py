"""A dataset that grows, is edited, or is submitted twice pays only for new rows."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from archon_batch.application import run
from tests.acceptance.stage import LAYERS, PRICES, Stage
from tests.cli.terminal import Terminal
from tests.provider import ProviderServer

pytestmark = pytest.mark.timeout(120)

#: Calls of a row.
ROW = 8


@dataclass(frozen=True, kw_only=True)
class Submission:
    rows: Sequence[dict[str, object]]
    layers: str = LAYERS
    options: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(prices=PRICES) as started:
        yield started


@dataclass
class Desk:
    """Submissions typed in this process, each folder with a database of its own."""

    folder: Path
    provider: ProviderServer
    monkeypatch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    #: The provider's, by folder.
    bills: Counter[str] = field(default_factory=Counter)

    def submit(self, where: str, given: Submission) -> tuple[int, dict[str, str]]:
        """How many requests it was, and the answers by row."""
        folder = self.folder / where
        folder.mkdir(exist_ok=True)
        self.monkeypatch.chdir(folder)
        stage, terminal = Stage(folder), Terminal(folder, self.capture)
        stage.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in given.rows))
        stage.architecture(self.provider.url, given.layers)
        requests, self.bills[where] = (
            self.provider.request_count,
            self.bills[where] - self.provider.bill,
        )

        ended = terminal.run(
            "submit", "rows.jsonl", "--arch", "layered.yaml", "-o", "out.jsonl", "--force",
            *given.options,
        )  # fmt: skip

        assert ended.status == 0, ended.err
        self.bills[where] += self.provider.bill
        assert sum(round(job["usd"] * 10**9) for job in terminal.json("jobs")) == self.bills[where]
        lines = stage.lines("out.jsonl")
        assert [line["id"] for line in lines] == [row["id"] for row in given.rows]
        return self.provider.request_count - requests, {
            line["id"]: line["answer"] for line in lines
        }


@pytest.fixture
def desk(
    tmp_path: Path,
    provider: ProviderServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    # Nobody watches: the looks at a job's progress are close together.
    monkeypatch.setattr(run, "_PAUSE_FACTOR", 1)
    monkeypatch.setattr(run, "_POLL_SECONDS", 0.05)
    return Desk(tmp_path, provider, monkeypatch, capsys)


def _row(n: int, **changes: object) -> dict[str, object]:
    return {"id": f"q{n}", "prompt": f"What is {n} plus {n}?", "topic": "sums", **changes}


FIRST = Submission(rows=[_row(n) for n in range(4)])

#: What is submitted after the first, and how many rows of it are paid for.
CHANGES = {
    "the same": (FIRST, 0),
    "a row more": (replace(FIRST, rows=[*FIRST.rows, _row(4)]), 1),
    "an edited row": (replace(FIRST, rows=[_row(0), _row(1, prompt="Why?"), *FIRST.rows[2:]]), 1),
    "a row less": (replace(FIRST, rows=FIRST.rows[1:]), 0),
    "another order": (replace(FIRST, rows=FIRST.rows[::-1]), 0),
    "other ids": (replace(FIRST, rows=[_row(n, id=f"r{n}") for n in range(4)]), 0),
    "other keys": (replace(FIRST, rows=[_row(n, topic="maths") for n in range(4)]), 0),
    "a row that asks the same": (replace(FIRST, rows=[*FIRST.rows, _row(0, id="again")]), 0),
    "another template": (replace(FIRST, options=("--template", "Be brief. {prompt}")), 4),
    "another temperature": (
        replace(FIRST, layers=LAYERS.replace("512}}", "512, temperature: 0.1}}")),
        4,
    ),
    "--no-cache under a name": (replace(FIRST, options=("--no-cache", "--name", "again")), 4),
}


@pytest.mark.parametrize(("given", "rows"), CHANGES.values(), ids=CHANGES)
def test_only_what_is_new_is_paid_for_and_nothing_is_stale(
    desk: Desk, given: Submission, rows: int
) -> None:
    paid, _ = desk.submit("here", FIRST)
    again, answers = desk.submit("here", given)
    _, afresh = desk.submit("elsewhere", given)

    assert paid == 4 * ROW
    assert again == rows * ROW
    assert answers == afresh


def test_two_simultaneous_submissions_make_one_job_and_one_bill(
    tmp_path: Path, any_url: str
) -> None:
    stage = Stage(tmp_path, ARCHON_BATCH_DATABASE_URL=any_url)
    stage.dataset(12)
    submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "-o")

    with ProviderServer(prices=PRICES, latency=0.05) as provider:
        stage.architecture(provider.url)
        both = [stage.start(*submit, out) for out in ("one.jsonl", "two.jsonl")]
        said = [process.communicate(timeout=60) for process in both]

        assert [process.returncode for process in both] == [0, 0], said
        (job,) = stage.json("jobs")
        assert [out.strip() for out, _ in said] == [job["job"]] * 2
        assert provider.request_count == 12 * ROW
        assert stage.nano_usd(job["job"]) == provider.bill
    assert stage.lines("one.jsonl") == stage.lines("two.jsonl")
