"""What the docs name exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
#: `store/jobs.py: Jobs.add`, a file of the package with a name in it.
_NAMED = re.compile(r"`(?:archon_batch/)?([\w/]+\.py)(?:: ([\w.]+))?`")
#: Prefixes of files outside the package: in the repository, and in code of other projects.
_ELSEWHERE = ("workers/", "tests/", "benchmarks/", "docs/", "test_", "archon_batch_")


def _references(page):
    text = page.read_text(encoding="utf-8").replace("\n", " ")
    return sorted({(match[1], match[2] or "") for match in _NAMED.finditer(text)})


@cache
def _names(file):
    """Functions, classes and constants of a file, methods and attributes after their class."""
    found = set()

    def visit(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + child.name)
                if isinstance(child, ast.ClassDef):
                    visit(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.Assign | ast.AnnAssign):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                found.update(prefix + t.id for t in targets if isinstance(t, ast.Name))

    visit(ast.parse(file.read_text(encoding="utf-8")), "")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_name_that_a_page_mentions_exists(page):
    missing = []
    for name, symbol in _references(page):
        if name.startswith(_ELSEWHERE):
            # Pages name files of the examples from the example's own folder.
            if not any(
                (folder / name).exists() for folder in (ROOT, *(ROOT / "docs/examples").iterdir())
            ):
                missing.append(name)
            continue
        file = ROOT / "archon_batch" / name
        if not file.exists() or (symbol and symbol not in _names(file)):
            missing.append(f"{name}: {symbol}")
    assert missing == []


def test_a_name_that_does_not_exist_is_found():
    assert "Jobs.get_or_create" in _names(ROOT / "archon_batch" / "store" / "jobs.py")
    assert "Jobs.no_such_method" not in _names(ROOT / "archon_batch" / "store" / "jobs.py")


def test_the_glossary_has_at_most_forty_terms():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\| (?!term \|)(.+?) \|", text, re.MULTILINE)

    assert terms == sorted(terms)
    assert 0 < len(terms) <= 40


def test_every_log_event_that_the_manual_names_is_logged():
    manual = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    section = manual.partition("## What to do when")[2].partition("\n## ")[0]
    first_cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")]
    events = {name for cell in first_cells for name in re.findall(r"`([a-z]+_[a-z_]+)`", cell)}
    source = "".join(
        file.read_text(encoding="utf-8") for file in (ROOT / "archon_batch").rglob("*.py")
    )

    assert len(events) > 10
    assert [
        name for name in sorted(events) if f'"{name}"' not in source and f"_{name}" not in source
    ] == []
