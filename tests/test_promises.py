"""Each promise of the README and of docs/operate.md names the test that holds it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": ROOT / "README.md", "operate.md": ROOT / "docs" / "operate.md"}
#: Sections of operate.md that tell what to do, or give figures with their command.
_HOW = {"Operate", "How many", "What to do when"}
#: Sections with a table of which each row is a promise.
_TABLES = {"Scheduled runs", "What recovers by itself"}


def _plain(text: str) -> str:
    return " ".join(text.split())


def _promises() -> list[tuple[str, str, str]]:
    """Page, words and test of each row."""
    found = []
    page = ""
    for line in (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            page = line[3:]
        row = re.fullmatch(r"\| (.+) \| `(tests/\S+::test_\w+)` \|", line)
        if row:
            found.append((page, row[1], row[2]))
    return found


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_stands_on_its_page(page: str) -> None:
    text = _plain(PAGES[page].read_text(encoding="utf-8"))

    words = [said for where, said, _ in _promises() if where == page]

    assert len(words) > 20
    assert [said for said in words if said not in text] == []


def test_every_promise_names_a_test_that_exists() -> None:
    missing = []
    for _, said, test in _promises():
        file, _, name = test.partition("::")
        path = ROOT / file
        found = path.is_file() and re.search(rf"def {name}\(", path.read_text(encoding="utf-8"))
        if not found:
            missing.append((said, test))

    assert missing == []


def test_no_section_on_operation_goes_without_a_promise_that_is_held() -> None:
    words = [said for page, said, _ in _promises() if page == "operate.md"]

    empty = [
        title
        for title, text in _sections(PAGES["operate.md"].read_text(encoding="utf-8")).items()
        if title not in _HOW and text.strip() and not any(said in _plain(text) for said in words)
    ]

    assert empty == []


@pytest.mark.parametrize("title", sorted(_TABLES))
def test_each_row_of_a_table_of_faults_is_a_promise_that_is_held(title: str) -> None:
    section = _sections(PAGES["operate.md"].read_text(encoding="utf-8"))[title]
    table = section.partition("| what happens |")[2].partition("\n\n")[0]
    rows = [line.split(" | ")[0][2:] for line in table.splitlines()[2:]]

    words = {said for page, said, _ in _promises() if page == "operate.md"}

    assert rows
    assert [row for row in rows if row not in words] == []
