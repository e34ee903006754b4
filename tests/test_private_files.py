"""Files that the program writes are readable only by their owner, under any umask."""

import os
import stat
from pathlib import Path

import pytest

from archon_batch.cli import doctor
from archon_batch.private_files import open_private
from archon_batch.settings import Settings
from archon_batch.store import Store
from tests.cli.terminal import Terminal

ARCH = "layers: [{type: generator, model: scripted/plausible}]\n"
SPACE = "roles: {generators: scripted/plausible}\naxes: {generators: 1, fusions: 0}\n"
ROWS = "".join(f'{{"prompt": "Why {n}?", "answer": "x"}}\n' for n in range(6))


@pytest.fixture(autouse=True)
def _usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(tmp_path, capsys)


def rights(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


def test_every_file_of_a_command_is_private(terminal: Terminal, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("pyarrow")
    terminal.write("arch.yaml", ARCH)
    terminal.write("space.yaml", SPACE)
    terminal.write("rows.jsonl", ROWS)
    given = set(tmp_path.iterdir())

    for command in (
        "submit rows.jsonl --arch arch.yaml --processes 1 -o out.jsonl",
        "export rows-arch -o out.csv",
        "export rows-arch -o out.jsonl.gz",
        "export rows-arch -o out.parquet",
        "report rows-arch -o page.html",
        "search rows.jsonl --space space.yaml --metric contains --algorithm random -o found",
    ):
        assert terminal.run(*command.split()).status in (0, 1), command

    made = [path for path in tmp_path.rglob("*") if path not in given]
    assert {path.name for path in made} >= {
        "archon-batch.db", "out.jsonl", "out.csv", "out.jsonl.gz", "out.parquet", "page.html", "found",
        "trials.csv", "trials.json",
    }  # fmt: skip
    assert {rights(path) for path in made if path.is_file()} == {"-rw-------"}
    assert rights(tmp_path / "found") == "drwx------"


def test_the_database_and_its_companion_files_are_private(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/ledger.db")
    try:
        found = {path.name: rights(path) for path in tmp_path.iterdir()}
    finally:
        store.close()

    assert found == dict.fromkeys(["ledger.db", "ledger.db-wal", "ledger.db-shm"], "-rw-------")


def test_a_replaced_file_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    path.write_text("old")
    path.chmod(0o644)

    with open_private(path, "w") as file:
        file.write("new")

    assert (rights(path), path.read_text()) == ("-rw-------", "new")


def test_doctor_reports_a_database_that_other_users_can_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    Store.open(url).close()
    (tmp_path / "ledger.db").chmod(0o644)

    shown = [
        message for fine, message in doctor._check_database(Settings(database_url=url)) if not fine
    ]

    assert [message for message in shown if "other users" in message and "chmod 600" in message]
