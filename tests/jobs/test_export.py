import csv
import errno
import gzip
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archon_batch.archon import Answer, Failed, ItemWarning, Message, Question
from archon_batch.errors import InputError
from archon_batch.jobs.export import export_job, validate_export_path
from archon_batch.money import NanoUsd
from archon_batch.store import Admitted, Job, NewItem, NewJob, Store, now
from tests.builders import a_finish, a_start

FIELDS = [
    "id", "status", "answer", "reason", "cost_usd", "unpriced_calls", "calls", "cached_calls",
    "attempts", "prompt_tokens", "completion_tokens", "seconds", "row", "warnings",
]  # fmt: skip


@pytest.fixture
def job(store: Store) -> Job:
    """A job with an item of each status: answered, failed, open, and invalid from the start."""
    job = a_job(store, "a", "b", "c", "d", invalid={"d": "prompt: missing"})
    store.items.finish(
        job.id,
        [
            (0, Answer("Because.", "0.0.0", (ItemWarning(1, 0, "unparsed", "no ranking"),))),
            (1, Failed(0, "rate_limit after 6 attempts: slow down")),
        ],
    )
    return job


def a_job(store: Store, *ids: str, invalid: dict[str, str] | None = None) -> Job:
    new = NewJob(
        submit_key=hashlib.sha256("-".join(ids).encode()).hexdigest(),
        name="job",
        dataset="rows.jsonl",
        architecture={},
        prices={},
        options={},
        shard_size=16,
        concurrent_shards=32,
        budget=None,
    )
    items = (
        NewItem(
            row_id,
            Question(row_id, (Message("user", "Why?"),)),
            {"gold": n, "note": "ä\u2028"},
            (invalid or {}).get(row_id),
        )
        for n, row_id in enumerate(ids)
    )
    return store.jobs.get_or_create(new, items)[0]


def call(store: Store, job: Job, ix: int, fingerprint: str = "f", **changes: Any) -> None:
    """One call of the item, with an attempt and a reply unless the reply is cached."""
    request = a_start(job, ix, fingerprint=fingerprint)
    admitted = store.attempt_writer.admit(request).result()
    if isinstance(admitted, Admitted):
        result = a_finish(request, admitted.attempt_number, **changes)
        store.attempt_writer.settle(result).result()


def lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    return [json.loads(line, parse_float=Decimal) for line in text.split("\n")[:-1]]


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_row_is_a_line_in_the_datasets_order(store, job, tmp_path):
    path = tmp_path / "out.jsonl"

    count = export_job(store, job, path)

    rows = lines(path)
    assert count == 4
    assert all(list(row) == FIELDS for row in rows)
    assert [(row["id"], row["status"], row["answer"], row["reason"]) for row in rows] == [
        ("a", "answered", "Because.", None),
        ("b", "failed", None, "layer 0: rate_limit after 6 attempts: slow down"),
        ("c", "open", None, None),
        ("d", "failed", None, "prompt: missing"),
    ]
    assert [row["row"] for row in rows] == [{"gold": n, "note": "ä\u2028"} for n in range(4)]
    assert [row["warnings"] for row in rows] == [
        [{"layer": 1, "component": 0, "kind": "unparsed", "why": "no ranking"}], [], [], [],
    ]  # fmt: skip


def test_a_row_has_its_usage_and_cost(store, tmp_path):
    job = a_job(store, "priced", "unpriced", "found", "untouched")
    call(store, job, 0, cost=NanoUsd(1_500_000_001))
    call(store, job, 2)
    call(store, job, 1, fingerprint="g", cost=None)

    export_job(store, job, path := tmp_path / "out.jsonl")

    usage = {row["id"]: [row[name] for name in FIELDS[4:12]] for row in lines(path)}
    assert usage == {
        "priced": [Decimal("1.500000001"), 0, 1, 0, 1, 10, 5, None],
        "unpriced": [None, 1, 1, 0, 1, 10, 5, None],
        "found": [0, 0, 1, 1, 0, 0, 0, None],
        "untouched": [0, 0, 0, 0, 0, 0, 0, None],
    }


def test_seconds_run_from_the_first_attempt_to_the_end(store, tmp_path):
    job = a_job(store, "a")
    store.attempt_writer.admit(a_start(job, begun_at=now() - timedelta(seconds=5))).result()
    store.items.finish(job.id, [(0, Answer("a", "0.0.0"))])

    export_job(store, job, path := tmp_path / "out.jsonl")

    assert 5 <= lines(path)[0]["seconds"] < 60


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (1, "0.000000001"),
        (100_000_000, "0.1"),
        (300_000_000, "0.3"),
        (2_000_000_000, "2"),
        (20_000_000_000, "20"),
        (9_007_199_254_740_993, "9007199.254740993"),
        (9_999_999_999_999_999, "9999999.999999999"),
    ],
)
def test_a_cost_has_all_its_digits(store, job, tmp_path, cost, text):
    call(store, job, 0, cost=NanoUsd(cost))

    export_job(store, job, tmp_path / "out.jsonl")
    export_job(store, job, tmp_path / "out.csv")

    assert f'"cost_usd": {text}, ' in (tmp_path / "out.jsonl").read_text().splitlines()[0]
    assert cells(tmp_path / "out.csv")[0]["cost_usd"] == text


# Formats


def test_gzip_has_the_same_lines_and_the_same_bytes_each_time(store, job, tmp_path):
    for name in ("out.jsonl", "one.jsonl.gz", "two.JSONL.gz"):
        export_job(store, job, tmp_path / name)

    one, two = (tmp_path / "one.jsonl.gz").read_bytes(), (tmp_path / "two.JSONL.gz").read_bytes()
    assert gzip.decompress(one) == (tmp_path / "out.jsonl").read_bytes()
    assert one == two


def test_no_json_line_contains_a_unicode_line_separator(store, job, tmp_path):
    store.items.finish(job.id, [(2, Answer("a\x85b\u2028c\u2029d\r\n\x0b", "0.0.0"))])

    export_job(store, job, path := tmp_path / "out.jsonl")

    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) == 4
    assert "ä" in text
    assert lines(path)[2]["answer"] == "a\x85b\u2028c\u2029d\r\n\x0b"


def test_csv_has_the_other_keys_as_json_and_no_warnings(store, job, tmp_path):
    call(store, job, 0, cost=NanoUsd(1))

    count = export_job(store, job, path := tmp_path / "out.csv")

    rows = cells(path)
    assert count == len(rows) == 4
    assert list(rows[0]) == [name for name in FIELDS if name != "warnings"]
    assert [(row["id"], row["status"]) for row in rows] == [
        ("a", "answered"), ("b", "failed"), ("c", "open"), ("d", "failed"),
    ]  # fmt: skip
    assert (rows[0]["cost_usd"], rows[0]["calls"], rows[2]["answer"]) == ("0.000000001", "1", "")
    assert json.loads(rows[1]["row"]) == {"gold": 1, "note": "ä\u2028"}


@pytest.mark.parametrize(
    ("answer", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1 555", "'+1 555"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("＝1+1", "'＝1+1"),  # noqa: RUF001
        ("＋1", "'＋1"),  # noqa: RUF001
        ("－1", "'－1"),  # noqa: RUF001
        ("＠x", "'＠x"),  # noqa: RUF001
        ("-", "'-"),
        ("-1.5", "-1.5"),
        ("+7", "+7"),
        ("-2e-3", "-2e-3"),
        ("-1\n", "'-1\n"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_a_cell_that_looks_like_a_formula_begins_with_an_apostrophe(store, tmp_path, answer, cell):
    job = a_job(store, "=id")
    store.items.finish(job.id, [(0, Answer(answer, "0.0.0"))])

    export_job(store, job, path := tmp_path / "out.csv")

    (row,) = cells(path)
    assert (row["id"], row["answer"]) == ("'=id", cell)


def test_parquet_has_exact_costs_and_the_other_keys_as_json(store, job, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    call(store, job, 0, cost=NanoUsd(9_999_999_999_999_999))
    call(store, job, 1, fingerprint="g", cost=None)

    count = export_job(store, job, path := tmp_path / "out.parquet")

    rows = parquet.read_table(path).to_pylist()
    assert count == len(rows) == 4
    assert list(rows[0]) == FIELDS
    assert rows[0]["cost_usd"] == Decimal("9999999.999999999")
    assert rows[1]["cost_usd"] is None
    assert (rows[0]["answer"], rows[2]["answer"], rows[0]["calls"]) == ("Because.", None, 1)
    assert json.loads(rows[3]["row"]) == {"gold": 3, "note": "ä\u2028"}
    assert json.loads(rows[0]["warnings"])[0]["why"] == "no ranking"


def test_a_job_with_many_rows_is_written_completely(store, tmp_path):
    job = a_job(store, *(f"q{n}" for n in range(1_234)))

    for name in ("out.jsonl", "out.csv", "out.parquet"):
        assert export_job(store, job, tmp_path / name) == 1_234

    assert [row["id"] for row in lines(tmp_path / "out.jsonl")] == [f"q{n}" for n in range(1_234)]


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_answer_is_exported_unchanged(store, tmp_path, text):
    job = a_job(store, text.encode().hex())
    store.items.finish(job.id, [(0, Answer(text, "0.0.0"))])

    export_job(store, job, tmp_path / "out.jsonl", force=True)
    export_job(store, job, tmp_path / "out.csv", force=True)

    assert lines(tmp_path / "out.jsonl")[0]["answer"] == text
    assert cells(tmp_path / "out.csv")[0]["answer"] in (text, f"'{text}")


# Targets


@pytest.mark.parametrize("target", [None, Path("-")])
def test_without_a_file_the_lines_go_to_standard_output(store, job, target, capfdbinary):
    count = export_job(store, job, target)

    out, _ = capfdbinary.readouterr()
    assert count == 4
    assert [json.loads(line)["id"] for line in out.decode().splitlines()] == ["a", "b", "c", "d"]


def test_a_closed_pipe_ends_the_export_quietly(store, job, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stdout:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", stdout)

        rows = export_job(store, job)

    assert rows == 4


def test_a_full_disk_behind_standard_output_is_reported(store, job, monkeypatch):
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=full))

        with pytest.raises(InputError, match="standard output: cannot be written: no space left"):
            export_job(store, job)


def test_an_existing_file_is_replaced_only_by_force(store, job, tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("precious")

    with pytest.raises(InputError, match=r"out\.jsonl exists; --force overwrites it$"):
        export_job(store, job, path)
    assert path.read_text() == "precious"

    export_job(store, job, path, force=True)
    assert len(lines(path)) == 4


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none/out.jsonl", "no such folder: {folder}/none"),
        ("out.txt", "the suffix says the format: .jsonl, .jsonl.gz, .csv, .parquet"),
        ("out", "the suffix says the format: .jsonl, .jsonl.gz, .csv, .parquet"),
        ("folder.jsonl", "is a folder; name a file in it"),
        ("pipe.csv", "is not a regular file"),
        ("store.db/out.csv", "no such folder: {folder}/store.db"),
        ("x" * 300 + ".csv", "cannot be written: file name too long"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_a_target_that_cannot_be_written_is_refused(store, job, tmp_path, name, reason, force):
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")

    for check in (
        lambda: validate_export_path(tmp_path / name, force=force),
        lambda: export_job(store, job, tmp_path / name, force=force),
    ):
        with pytest.raises(InputError) as caught:
            check()
        assert str(caught.value).endswith(reason.format(folder=tmp_path))
        assert str(caught.value).startswith(str(tmp_path / name))


def test_parquet_without_its_library_names_the_command_that_installs_it(
    store, job, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(InputError, match=r"Parquet needs: pip install archon-batch\[parquet\]"):
        export_job(store, job, tmp_path / "out.parquet")


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.csv", "out.parquet"])
def test_a_full_disk_leaves_the_old_file_and_no_other(store, job, tmp_path, monkeypatch, name):
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / name
    path.write_text("precious")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(InputError, match="cannot be written: no space left on device"):
        export_job(store, job, path, force=True)

    assert path.read_text() == "precious"
    assert not list(tmp_path.glob(".archon-batch-*"))


def test_an_interrupted_export_leaves_no_file(store, job, tmp_path, monkeypatch):
    def interrupted(_job_id: str) -> Iterator[object]:
        yield from store_all(job.id)
        raise KeyboardInterrupt

    store_all = store.item_results.all
    monkeypatch.setattr(store.item_results, "all", interrupted)

    with pytest.raises(KeyboardInterrupt):
        export_job(store, job, tmp_path / "out.jsonl")

    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".archon-batch-*"))
