"""Finding and reading published files."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from archon_batch.errors import DatasetError
from archon_batch.evaluation.benchmark_files import read_benchmark_files
from archon_batch.evaluation.benchmarks.benchmark import FileSet
from archon_batch.evaluation.benchmarks.record import BenchmarkRecord

ROWS = FileSet("rows", ("rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.parquet", "*/*.json"))
OTHERS = FileSet("others", ("more/*.csv",), required=False, columns=("a", "b"))


def fields(records: Sequence[BenchmarkRecord]) -> list[object]:
    return [dict(record.fields) for record in records]


@pytest.mark.parametrize("form", ["rows.jsonl", "rows.jsonl.gz", "list", "object", "rows.parquet"])
def test_records_are_the_same_in_every_format(tmp_path: Path, form: str) -> None:
    # U+2028 inside a text does not end a line.
    rows = [{"a": "x\u2028y", "n": [1]}, {"a": "z", "n": [2]}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    match form:
        case "rows.jsonl":
            (tmp_path / form).write_text(lines, encoding="utf-8")
        case "rows.jsonl.gz":
            (tmp_path / form).write_bytes(gzip.compress(lines.encode()))
        case "list":
            (tmp_path / "rows.json").write_text(json.dumps(rows))
        case "object":
            (tmp_path / "rows.json").write_text(json.dumps({"0": rows[0], "1": rows[1]}))
        case _:
            arrow = pytest.importorskip("pyarrow")
            parquet = pytest.importorskip("pyarrow.parquet")
            parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / form)
    found = read_benchmark_files(tmp_path, (ROWS, OTHERS), {})
    assert fields(found.records["rows"]) == rows
    assert found.records["others"] == []
    assert [len(digest) for digest in found.digests.values()] == [64]


def test_the_first_matching_pattern_wins_unless_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "rows.json").write_text('[{"a": 2}]')
    (tmp_path / "mine.jsonl").write_text('{"a": 3}\n')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.csv").write_text("1,2\n")
    found = read_benchmark_files(tmp_path, (ROWS, OTHERS), {})
    assert fields(found.records["rows"]) == [{"a": 1}]
    assert fields(found.records["others"]) == [{"a": "1", "b": "2"}]
    assert list(found.digests) == ["rows.jsonl", "more/x.csv"]
    named = read_benchmark_files(
        tmp_path / "rows.json", (ROWS, OTHERS), {"others": tmp_path / "mine.jsonl"}
    )
    assert fields(named.records["rows"]) == [{"a": 2}]
    assert fields(named.records["others"]) == [{"a": 3}]


def test_a_file_may_contain_a_single_problem(tmp_path: Path) -> None:
    (tmp_path / "algebra").mkdir()
    for n in (2, 1):
        (tmp_path / "algebra" / f"{n}.json").write_text(f'{{"a": {n}}}')
    found = read_benchmark_files(tmp_path, (ROWS,), {}).records["rows"]
    assert [(record.file, record.fields["a"]) for record in found] == [
        ("algebra/1.json", 1),
        ("algebra/2.json", 2),
    ]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("rows.jsonl", '{"a": 1}\n[2]\n', "rows.jsonl:2: expected an object"),
        ("rows.jsonl", '{"a": \n', "rows.jsonl:1: "),
        ("rows.json", "[1]", "rows.json:1: expected an object"),
        ("rows.jsonl", "", "no records"),
        ("other.txt", "", r"no rows: expected rows.jsonl or"),
    ],
)
def test_an_unexpected_file_is_rejected_with_its_location(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=why):
        read_benchmark_files(tmp_path, (ROWS,), {})


def test_a_csv_file_without_a_header_must_have_all_columns(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.csv").write_text('"1\n2",3\n4\n')
    with pytest.raises(DatasetError, match=r"more/x.csv:3: 1 cells; expected a, b"):
        read_benchmark_files(tmp_path, (ROWS, OTHERS), {})
