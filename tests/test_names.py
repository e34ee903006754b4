"""One name is one thing."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "archon_batch"


def _classes():
    """Each class at the top of a module, public or not, with its bases."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if "versions" in file.parts:
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield node, file.relative_to(PACKAGE)


def test_no_class_name_is_defined_twice():
    places = defaultdict(list)
    for node, file in _classes():
        places[node.name].append(str(file))

    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_only_table_classes_are_named_tables():
    tables = {
        node.name
        for node, _ in _classes()
        if any(keyword.arg == "table" for keyword in node.keywords)
    }

    assert len(tables) > 10
    assert {node.name for node, _ in _classes() if node.name.endswith("Table")} >= tables
