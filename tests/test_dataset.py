import csv
import gzip
import io
import json
import os
import sys
import unicodedata
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archon_batch.archon import Message
from archon_batch.dataset import Dataset, ReadOptions, Row, source
from archon_batch.errors import DatasetError, SettingsError

PLAIN = ReadOptions()


@pytest.fixture
def file(tmp_path: Path):
    """Writes a dataset and returns its path."""

    def write(content: bytes | str, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def parquet(tmp_path: Path):
    """Writes a table as Parquet and returns its path."""
    pyarrow = pytest.importorskip("pyarrow")

    def write(columns: dict[str, list[object]]) -> Path:
        path = tmp_path / "rows.parquet"
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)
        return path

    return write


def read(path: Path | str, reading: ReadOptions = PLAIN) -> list[Row]:
    with Dataset.open(path, reading) as dataset:
        count = dataset.check()
        rows = list(dataset.rows())
    assert len(rows) == count
    return rows


def why(path: Path | str, reading: ReadOptions = PLAIN) -> str:
    """The error of the dataset, with FILE for the path of its file."""
    with pytest.raises(DatasetError) as caught:
        read(path, reading)
    return str(caught.value).replace(str(path), "FILE")


def jsonl(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def prompts(rows: list[Row]) -> list[str]:
    return [row.question.query for row in rows]


# Valid rows


def test_a_row_has_prompt_id_and_the_other_keys_in_order(file):
    path = file(jsonl({"z": 1, "id": "q7", "prompt": "Why?", "a": {"b": [None, 1.5, True]}}))

    (row,) = read(path)

    assert (row.id, row.line, row.reason) == ("q7", 1, None)
    assert row.question.id == "q7"
    assert row.question.messages == (Message("user", "Why?"),)
    assert list(row.extras.items()) == [("z", 1), ("a", {"b": [None, 1.5, True]})]


def test_a_row_may_be_a_conversation(file):
    messages: list[dict[str, str | None]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Why?", "name": None},
    ]

    (row,) = read(file(jsonl({"messages": messages})))

    assert [(m.role, m.content) for m in row.question.messages] == [
        (m["role"], m["content"]) for m in messages
    ]
    assert row.extras == {}


def test_a_row_without_an_id_is_named_after_its_line(file):
    rows = read(file('{"prompt": "a"}\n\n{"prompt": "b"}\n{"id": null, "prompt": "c"}'))

    assert [row.id for row in rows] == ["1", "3", "4"]


def test_an_id_is_stripped_text(file):
    rows = read(file(jsonl({"id": 7, "prompt": "a"}, {"id": " b ", "prompt": "b"})))

    assert [row.id for row in rows] == ["7", "b"]


def test_other_keys_can_hold_the_prompt_and_the_id(file):
    path = file(jsonl({"uid": "u", "question": "Why?", "prompt": "not this", "id": 1}))

    (row,) = read(path, ReadOptions(prompt_field="question", id_field="uid"))

    assert (row.id, row.question.query) == ("u", "Why?")
    assert row.extras == {"prompt": "not this", "id": 1}


def test_a_limit_reads_only_the_first_rows(file):
    path = file(jsonl({"prompt": "a"}, {"prompt": "b"}) + "rubbish")

    assert prompts(read(path, ReadOptions(limit=2))) == ["a", "b"]


# Templates


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("Label: {text}", "Label: so good"),
        ("{id}: {text}, {text}", "7: so good, so good"),
        ("{{text}} {{{text}}}", "{text} {so good}"),
        ("{n} {list} {none}", '12 ["é"] null'),
        ("{text.__class__}", "a key like any other"),
    ],
)
def test_a_template_is_filled_from_the_row(file, template, prompt):
    fields = {
        "id": 7, "text": "so good", "n": 12, "list": ["é"], "none": None,
        "text.__class__": "a key like any other", "prompt": "an extra", "messages": 1,
    }  # fmt: skip

    (row,) = read(file(jsonl(fields)), ReadOptions(template=template))

    assert prompts([row]) == [prompt]
    assert row.extras == {key: value for key, value in fields.items() if key != "id"}


def test_a_template_names_a_missing_key_and_a_similar_one(file):
    path = file(jsonl({"text": "a"}))

    assert why(path, ReadOptions(template="{txt}")) == (
        "FILE:1: template: the row has no 'txt'; did you mean 'text'?"
    )


@pytest.mark.parametrize(("template", "at"), [("a } b", 3), ("{", 1), ("{a{b}}", 1)])
def test_a_lone_brace_in_a_template_is_rejected_before_reading(file, template, at):
    path = file("rubbish")

    with pytest.raises(SettingsError, match=rf"template: a lone . at character {at};"):
        read(path, ReadOptions(template=template))


@pytest.mark.parametrize("template", ["no key at all", "{{text}}", ""])
def test_a_template_without_a_key_is_rejected_before_reading(file, template):
    with pytest.raises(SettingsError, match="all rows would have the same prompt"):
        read(file("rubbish"), ReadOptions(template=template))


def test_a_filled_template_must_not_be_blank(file):
    assert why(file(jsonl({"t": " "})), ReadOptions(template="{t}")) == "FILE:1: template: empty"


# Rejected rows

DEEP = '{"prompt": "a", "x": ' + "[" * 64 + "]" * 64 + "}"

BAD_ROWS = [
    ("{}", "prompt: missing; the row has no keys"),
    (
        '{"id": 1, "question": "a", "answer": "b"}',
        "prompt: missing; keys found: id, question, answer (try --prompt-field question)",
    ),
    ('{"n": 1}', "prompt: missing; keys found: n"),
    ('{"a\\u001b": "x"}', r"prompt: missing; keys found: 'a\x1b'"),
    ('{"prompt": null}', "prompt: expected text, found null"),
    ('{"prompt": ""}', "prompt: empty"),
    ('{"prompt": " \\n"}', "prompt: empty"),
    ('{"prompt": 3}', "prompt: expected text, found a number"),
    ('{"prompt": {}}', "prompt: expected text, found an object"),
    ('{"prompt": []}', "prompt: expected text, found a list; a conversation goes under messages"),
    (
        '{"prompt": "a", "messages": [{}]}',
        "has both prompt and messages; leave one of them out",
    ),
    ('{"messages": "a"}', "messages: expected a list, found text"),
    ('{"messages": []}', "messages: the list is empty"),
    (
        '{"messages": [false]}',
        "messages[0]: expected an object with role and content, found false",
    ),
    (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "a"}]}',
        "messages[1].role: expected one of system, user, assistant, found tool",
    ),
    (
        '{"messages": [{"content": "a"}]}',
        "messages[0].role: expected one of system, user, assistant, found null",
    ),
    (
        '{"messages": [{"role": "user", "content": null}]}',
        "messages[0].content: expected text, found null",
    ),
    ('{"messages": [{"role": "user", "content": ""}]}', "messages[0].content: empty"),
    (
        '{"messages": [{"role": "user", "content": "a", "tool_calls": []}]}',
        "messages[0].tool_calls: a message has role and content only",
    ),
    (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        "messages[1].role: the last message must be the user's",
    ),
    ('{"id": "", "prompt": "a"}', "id: expected 1 to 200 printable characters"),
    ('{"id": "a\\nb", "prompt": "a"}', "id: expected 1 to 200 printable characters"),
    (
        jsonl({"id": "x" * 201, "prompt": "a"}).strip(),
        "id: expected 1 to 200 printable characters",
    ),
    ('{"id": true, "prompt": "a"}', "id: expected text or a whole number, found true"),
    ('{"id": 1.5, "prompt": "a"}', "id: expected text or a whole number, found a number"),
    ('{"prompt": "a\\u0000"}', "prompt: U+0000 at character 2"),
    ('{"prompt": "ab\\ud800"}', "prompt: an unpaired surrogate at character 3"),
    ('{"prompt": "a", "m": {"t": ["\\udc00"]}}', "m.t[0]: an unpaired surrogate at character 1"),
    ('{"prompt": "a", "\\udc00": 1}', r"the key '\udc00': an unpaired surrogate at character 1"),
    ('{"id": 1, "prompt": "a", "id": 2}', "the key id appears twice"),
    ('{"prompt": "a", "x": {"y": 1, "y": 1}}', "the key y appears twice"),
    ('{"prompt": "a", "x": NaN}', "NaN is no JSON number"),
    ('{"prompt": "a", "x": -Infinity}', "-Infinity is no JSON number"),
    ('{"prompt": "a", "x": 1e999}', "1e999 is too large a number"),
    ('{"prompt": "a", "x": ' + "9" * 5000 + "}", "a number is too long"),
    (DEEP, "nested deeper than 64"),
    ('{"prompt": ' + "[" * 100_000 + "}", "nested deeper than 64"),
    ("3", 'expected an object such as {"prompt": ...}, found a number'),
    ('"a"', 'expected an object such as {"prompt": ...}, found text'),
    ("null", 'expected an object such as {"prompt": ...}, found null'),
    ("[1]", 'expected an object such as {"prompt": ...}, found a list'),
    ('{"prompt": "a"} {"prompt": "b"}', "extra data at column 17; one object a line"),
    (
        '{"prompt": "a"}\r{"prompt": "b"}',
        "one line holds several objects; do its lines end in CR alone?",
    ),
    ('{"prompt": "a', "the JSON ends early; is the file cut off?"),
    ('{"prompt":', "the JSON ends early; is the file cut off?"),
    (
        "{'prompt': 1}",
        "not JSON at column 2: expecting property name enclosed in double quotes",
    ),
    ('{"prompt" "a"}', "not JSON at column 11: expecting ':' delimiter"),
    ('{"prompt": "a\tb"}', "not JSON at column 14: invalid control character"),
    ("# a comment", "not JSON at column 1: expecting value"),
    (b'{"prompt": "\xff"}', "not UTF-8 at byte 13 (0xff); save it as UTF-8"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_ROWS, ids=range(len(BAD_ROWS)))
def test_a_rejected_row_names_its_line_and_the_reason(file, line, reason):
    line = line if isinstance(line, bytes) else line.encode()

    path = file(b'{"prompt": "good"}\n' + line + b"\n")

    assert why(path) == f"FILE:2: {reason}"


@pytest.mark.parametrize(("line", "reason"), BAD_ROWS, ids=range(len(BAD_ROWS)))
def test_a_rejected_row_can_be_kept_with_its_reason(file, line, reason):
    line = line if isinstance(line, bytes) else line.encode()
    path = file(b'{"prompt": "a"}\n' + line + b'\n{"prompt": "c"}\n')

    first, bad, last = read(path, ReadOptions(skip_bad_rows=True))

    assert prompts([first, last]) == ["a", "c"]
    assert (bad.reason, bad.line, bad.question.messages) == (reason, 2, ())
    assert bad.question.id == bad.id


def test_a_rejected_row_keeps_its_id_and_keys_if_they_can_be_parsed(file):
    path = file('{"id": "q", "prompt": "", "gold": 4}\n{"prompt": "a\n')

    with_id, without = read(path, ReadOptions(skip_bad_rows=True))

    assert (with_id.id, with_id.extras) == ("q", {"id": "q", "prompt": "", "gold": 4})
    assert (without.id, without.extras) == ("line 2", {})


def test_rejected_rows_are_counted(file):
    path = file(jsonl({"prompt": "a", "id": 1}, {"prompt": "", "id": 2}, {"prompt": "c", "id": 1}))

    with Dataset.open(path, ReadOptions(skip_bad_rows=True)) as dataset:
        count = dataset.check()

    assert (count, dataset.rejected) == (3, 2)


def test_a_nested_row_is_accepted_up_to_the_depth_limit(file):
    (row,) = read(file(DEEP.replace("[" * 64, "[" * 63).replace("]" * 64, "]" * 63)))

    assert row.question.query == "a"


def test_a_row_with_many_shallow_lists_is_accepted(file):
    (row,) = read(file(jsonl({"prompt": "a", "x": [[]] * 99})))

    assert row.extras == {"x": [[]] * 99}


def test_a_surrogate_pair_is_one_character(file):
    assert prompts(read(file('{"prompt": "\\ud83d\\ude00 \\\\u0000"}'))) == ["😀 \\u0000"]


def test_a_named_id_field_must_be_in_every_row(file):
    assert why(file(jsonl({"prompt": "a"})), ReadOptions(id_field="uid")) == (
        "FILE:1: uid: missing; keys found: prompt"
    )


# Repeated ids


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("q7", "q7"),
        (1, "1"),
        ("a", "a "),
        ("\u00e9", "e\u0301"),
        ("3", None),
    ],
)
def test_a_repeated_id_names_both_lines(file, one, other):
    path = file(jsonl({"id": one, "prompt": "a"}, {"prompt": "b"}, {"id": other, "prompt": "c"}))

    shown = unicodedata.normalize("NFD", str(one).strip()) if other == "e\u0301" else str(one)
    assert why(path) == f"FILE:3: id {shown!r} is on line 1 too"


def test_a_repeated_id_rejects_the_later_row(file):
    path = file(jsonl(*({"id": "q", "prompt": p} for p in "abc")))

    first, *others = read(path, ReadOptions(skip_bad_rows=True))

    assert (first.id, first.reason) == ("q", None)
    assert [(row.id, row.reason) for row in others] == [
        ("line 2", "id 'q' is on line 1 too"),
        ("line 3", "id 'q' is on line 1 too"),
    ]


def test_different_ids_with_equal_hashes_are_accepted(file):
    path = file(jsonl(*({"id": f"q{n}", "prompt": "a"} for n in range(9))))

    with Dataset.open(path) as dataset:
        dataset.check()
        # As if every hash were repeated.
        dataset._repeated = frozenset(hash(f"q{n}") for n in range(9))
        rows = list(dataset.rows())

    assert [row.id for row in rows] == [f"q{n}" for n in range(9)]


# Files


@pytest.mark.parametrize("content", ["", "\n", " \n\t\n", "\ufeff", "\ufeff\n"])
def test_a_file_without_rows_is_no_dataset(file, content):
    assert why(file(content)) == "FILE: no rows"


@pytest.mark.parametrize(
    "content",
    [
        '{"prompt": "a"}\n{"prompt": "b"}\n',
        '{"prompt": "a"}\n{"prompt": "b"}',
        '{"prompt": "a"}\r\n{"prompt": "b"}\r\n',
        '\ufeff{"prompt": "a"}\n{"prompt": "b"}\n',
        '\n{"prompt": "a"}\n \n\n{"prompt": "b"}\n\n',
    ],
)
def test_line_endings_blank_lines_and_a_byte_order_mark_are_ignored(file, content):
    assert prompts(read(file(content))) == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    ['[\n{"prompt": "a"}\n]', '[{"prompt": "a"}]', '{\n  "prompt": "a"\n}', '{"a": 1,\n"b": 2}'],
)
@pytest.mark.parametrize("skip", [False, True])
def test_json_that_is_not_json_lines_is_recognized(file, content, skip):
    assert why(file(content), ReadOptions(skip_bad_rows=skip)) == (
        "FILE:1: this looks like JSON, not JSON Lines: one object per line"
    )


def test_unicode_line_separators_do_not_end_a_line(file):
    prompt = "a\u2028b\u2029c\x85d"

    (row,) = read(file(json.dumps({"prompt": prompt}, ensure_ascii=False)))

    assert row.question.query == prompt


def test_a_line_that_is_too_long_is_rejected_and_the_next_is_read(file):
    long = b'{"prompt": "' + b"a" * (17 * 1024 * 1024) + b'"}\n'
    path = file(long + b'{"prompt": "b"}\n')

    bad, good = read(path, ReadOptions(skip_bad_rows=True))

    assert why(path) == "FILE:1: the line is longer than 8 MiB"
    assert bad.reason == "the line is longer than 8 MiB"
    assert (good.line, good.question.query) == (2, "b")


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl", "rows", "rows.csv.gz"])
def test_gzip_is_recognized_by_its_first_bytes(file, name):
    content = b"prompt\na\n" if "csv" in name else b'{"prompt": "a"}\n'

    assert prompts(read(file(gzip.compress(content), name))) == ["a"]


@pytest.mark.parametrize(
    "content", [gzip.compress(b'{"prompt": "a"}\n' * 99)[:-9], b"\x1f\x8bx"], ids=["cut", "no-gzip"]
)
def test_damaged_gzip_is_rejected(file, content):
    assert why(file(content)) == "FILE: the gzip data is damaged or truncated"


def test_a_gzip_bomb_is_rejected_at_its_first_long_line(file):
    path = file(gzip.compress(b" " * (16 << 20)))

    assert why(path) == "FILE: no rows"
    assert why(file(gzip.compress(b"x" * (16 << 20)))) == ("FILE:1: the line is longer than 8 MiB")


def test_a_missing_file_is_reported(tmp_path):
    assert why(tmp_path / "none.jsonl") == "FILE: no such file"
    assert why("nul\0byte") == "FILE: no such file"


def test_folders_and_pipes_are_rejected(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    assert why(tmp_path) == "FILE: is a folder; name a file, or a pattern such as inbox/*.jsonl"
    assert why(tmp_path / "pipe") == "FILE: is not a regular file; use - to read from a pipe"


def test_the_error_says_why_a_file_cannot_be_opened(file):
    path = file(jsonl({"prompt": "a"}))

    with Dataset.open(path) as dataset:
        path.unlink()
        with pytest.raises(DatasetError, match="no such file"):
            dataset.check()
        path.mkdir()
        with pytest.raises(DatasetError, match="cannot be read: is a directory"):
            dataset.check()


# Several files


def test_a_pattern_reads_its_files_in_order(file, tmp_path):
    file(jsonl({"id": "b", "prompt": "b"}), "2.jsonl")
    file(jsonl({"id": "a", "prompt": "a"}), "1.jsonl")
    (tmp_path / "3.jsonl").mkdir()

    assert prompts(read(tmp_path / "*.jsonl")) == ["a", "b"]
    assert prompts(read(tmp_path / "1*.jsonl")) == ["a"]


def test_a_file_whose_name_looks_like_a_pattern_is_read(file):
    assert prompts(read(file(jsonl({"prompt": "a"}), "rows[1].jsonl"))) == ["a"]


def test_a_pattern_without_matches_is_rejected(tmp_path):
    assert why(tmp_path / "*.jsonl") == "FILE: no file matches the pattern"


def test_rows_of_several_files_are_named_after_file_and_line(file, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        file(jsonl({"prompt": folder}) + "?", f"{folder}/rows.jsonl")

    rows = read(tmp_path / "*" / "rows.jsonl", ReadOptions(skip_bad_rows=True))

    assert [row.id for row in rows] == [
        "x/rows.jsonl:1", "line x/rows.jsonl:2", "y/rows.jsonl:1", "line y/rows.jsonl:2",
    ]  # fmt: skip


def test_an_id_in_two_files_names_both_files(file, tmp_path):
    one = file(jsonl({"id": "q", "prompt": "a"}), "1.jsonl")
    other = file(jsonl({"prompt": "x"}, {"id": "q", "prompt": "a"}), "2.jsonl")

    assert why(tmp_path / "*.jsonl") == f"{other}:2: id 'q' is on line 1 of {one} too"


# Standard input


def test_standard_input_can_be_read_twice(monkeypatch):
    content = io.BytesIO(jsonl({"prompt": "a"}, {"prompt": "b"}).encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))

    with Dataset.open("-") as dataset:
        count = dataset.check()
        first, second = list(dataset.rows()), list(dataset.rows())
        assert dataset.digest

    assert (dataset.name, count, prompts(first)) == ("-", 2, ["a", "b"])
    assert first == second


def test_an_error_in_standard_input_names_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n?")))

    assert why("-") == "standard input:2: not JSON at column 1: expecting value"


def test_empty_standard_input_is_rejected(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))

    assert why("-") == "standard input: no rows"


# Two passes over one file


def test_the_digest_depends_on_the_rows_and_not_on_their_encoding(file):
    def digest(content: str, reading: ReadOptions = PLAIN) -> str:
        with Dataset.open(file(content), reading) as dataset:
            return dataset.digest

    plain = digest('{"id": "1", "prompt": "é", "x": 1}\n')

    assert plain == digest(' {"x": 1, "prompt" : "\\u00e9",  "id": 1}\r\n\r\n')
    assert plain == digest('{"q": "é", "x": 1}', ReadOptions(prompt_field="q"))
    assert plain != digest('{"id": "1", "prompt": "é", "x": 2}')
    assert plain != digest('{"id": "1", "prompt": "e", "x": 1}')
    assert plain != digest('{"id": "2", "prompt": "é", "x": 1}')
    assert plain != digest('{"messages": [{"role": "system", "content": "é"},'
                           '{"role": "user", "content": "é"}], "x": 1}')  # fmt: skip
    assert len(plain) == 64


def test_all_rows_are_checked_before_the_first_is_yielded(file):
    with (
        Dataset.open(file('{"prompt": "a"}\n?')) as dataset,
        pytest.raises(DatasetError, match="not JSON"),
    ):
        next(dataset.rows())


def test_a_file_that_grows_between_the_passes_is_rejected(file):
    path = file(jsonl({"prompt": "a"}))

    with Dataset.open(path) as dataset:
        dataset.check()
        path.write_text(jsonl({"prompt": "a"}, {"prompt": "b"}))
        with pytest.raises(DatasetError, match="changed while it was being read"):
            list(dataset.rows())


def test_a_replaced_file_of_equal_size_and_time_is_rejected(file):
    path, other = file(jsonl({"prompt": "a"})), file(jsonl({"prompt": "b"}), "other")
    at = path.stat().st_mtime_ns
    os.utime(other, ns=(at, at))

    with Dataset.open(path) as dataset:
        dataset.check()
        other.replace(path)
        with pytest.raises(DatasetError, match="changed while it was being read"):
            list(dataset.rows())


# CSV


def test_each_csv_record_is_a_row_with_the_keys_of_the_header(file):
    content = '\ufeffid,prompt,note\r\n1,"a,\nb","say ""x"""\r\n\r\n2,c,\r\n'

    rows = read(file(content, "rows.CSV"))

    assert [(r.id, r.question.query, r.extras, r.line) for r in rows] == [
        ("1", "a,\nb", {"note": 'say "x"'}, 2),
        ("2", "c", {"note": ""}, 5),
    ]


def test_csv_can_have_long_cells(file):
    assert prompts(read(file("prompt\n" + "a" * 300_000, "rows.csv"))) == ["a" * 300_000]


BAD_CSV = [
    ("prompt\n", "FILE: no rows"),
    ("", "FILE: no rows"),
    ("prompt,prompt\na,b\n", "FILE:1: the column 'prompt' appears twice"),
    ("prompt,x\na\n", "FILE:2: 1 cells, and the header has 2"),
    ("prompt\na,b\n", "FILE:2: 2 cells, and the header has 1"),
    ('prompt\n"a\n', "FILE:2: not CSV: unexpected end of data"),
    ('prompt\n"a"b\n', "FILE:2: not CSV: ',' expected after '\"'"),
    ("prompt\ra\r", "FILE:1: not CSV: new-line character seen in unquoted field"),
    (b"prompt\na\n\xff\n", "FILE:3: not UTF-8 at byte 1 (0xff)"),
    ("prompt\na\0\n", "FILE:2: prompt: U+0000 at character 2"),
    ("x\na\n", "FILE:2: prompt: missing; keys found: x"),
    (b"prompt\n" + b"a" * (9 << 20), "FILE:2: the line is longer than 8 MiB"),
    (b'prompt\n"' + (b"a" * 999 + b"\n") * 9_000, "FILE:2: not CSV: field larger than field limit"),
]


@pytest.mark.parametrize(("content", "reason"), BAD_CSV, ids=range(len(BAD_CSV)))
def test_rejected_csv_names_its_line(file, content, reason):
    assert why(file(content, "rows.csv")).startswith(reason)


def test_a_csv_row_with_too_few_cells_can_be_kept_with_its_reason(file):
    bad, good = read(file("prompt,x\na\nb,c\n", "rows.csv"), ReadOptions(skip_bad_rows=True))

    assert bad.reason == "1 cells, and the header has 2"
    assert good.question.query == "b"


# Parquet


def test_each_parquet_record_is_a_row(parquet):
    path = parquet(
        {
            "id": [1, 2],
            "prompt": ["a", None],
            "messages": [None, [{"role": "user", "content": "b"}]],
            "score": [1.5, float("nan")],
            "day": [date(2026, 1, 2), None],
            "price": [None, Decimal("1.10")],
        }
    )

    first, second = read(path)

    assert (first.id, first.line, first.question.query) == ("1", 1, "a")
    assert {k: first.extras[k] for k in ("score", "day", "price")} == {
        "score": 1.5, "day": "2026-01-02", "price": None,
    }  # fmt: skip
    assert (second.id, second.line, second.question.query) == ("2", 2, "b")
    assert {k: second.extras[k] for k in ("score", "day", "price")} == {
        "score": None, "day": None, "price": "1.10",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (float("inf"), "FILE:1: x: infinity is no JSON number"),
        (timedelta(1), "FILE:1: x: a timedelta cannot be written as JSON"),
        ("a\0", "FILE:1: x: U+0000 at character 2"),
    ],
)
def test_a_parquet_cell_that_is_no_json_value_names_its_column(parquet, cell, reason):
    assert why(parquet({"prompt": ["a"], "x": [cell]})) == reason


def test_parquet_bytes_that_are_utf_8_become_text(parquet):
    (row,) = read(parquet({"prompt": ["é?".encode()], "x": [[{"y": b"a"}]]}))

    assert (row.question.query, row.extras) == ("é?", {"x": [{"y": "a"}]})


IMAGE = b"\x89PNG\0"


@pytest.mark.parametrize("cell", [IMAGE, [IMAGE], {"bytes": IMAGE, "path": "a.png"}, b"a\0"])
def test_undecodable_parquet_bytes_in_unused_columns_are_dropped_and_reported(parquet, cell):
    path = parquet({"prompt": ["a", "b"], "image": [cell, cell], "x": [1, 2]})

    with Dataset.open(path) as dataset:
        dataset.check()
        assert [row.extras for row in dataset.rows()] == [{"x": 1}, {"x": 2}]
        assert dataset.undecoded_columns == {"image"}


@pytest.mark.parametrize(
    "reading",
    [
        ReadOptions(prompt_field="image"),
        ReadOptions(template="{image}"),
        ReadOptions(id_field="image"),
    ],
)
def test_undecodable_parquet_bytes_in_used_columns_are_rejected(parquet, reading):
    path = parquet({"prompt": ["a"], "image": [IMAGE]})

    assert why(path, reading) == "FILE:1: image: bytes that are no UTF-8 text"


def test_a_repeated_parquet_column_is_rejected(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], ["prompt"] * 2)
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "rows.parquet")

    assert why(tmp_path / "rows.parquet") == "FILE: the column 'prompt' appears twice"


def test_parquet_nanoseconds_become_iso_text(parquet):
    pyarrow = pytest.importorskip("pyarrow")
    at, plain = 1_700_000_000_123_456_789, pyarrow.timestamp("ns")
    columns = {
        "nine": pyarrow.array([at], plain),
        "six": pyarrow.array([at // 1000 * 1000], plain),
        "none": pyarrow.array([-(10**9)], plain),
        "zone": pyarrow.array([at], pyarrow.timestamp("ns", "+02:00")),
        "void": pyarrow.array([None], plain),
        "time": pyarrow.array([3_661_000_000_001], pyarrow.time64("ns")),
        "list": pyarrow.array([[at, None]], pyarrow.list_(plain)),
        "within": pyarrow.array(
            [{"at": at, "n": 1}], pyarrow.struct([("at", plain), ("n", "int64")])
        ),
    }

    (row,) = read(parquet({"prompt": ["a"], **columns}))

    assert row.extras == {
        "nine": "2023-11-14T22:13:20.123456789",
        "six": "2023-11-14T22:13:20.123456",
        "none": "1969-12-31T23:59:59",
        "zone": "2023-11-15T00:13:20.123456789+02:00",
        "void": None,
        "time": "01:01:01.000000001",
        "list": ["2023-11-14T22:13:20.123456789", None],
        "within": {"at": "2023-11-14T22:13:20.123456789", "n": 1},
    }


# Delimiters


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("\ufeffid;prompt;gold\r\n1;What is 2+2, 3?;4\r\n", "rows.csv"),
        ("sep=;\r\nid;prompt;gold\r\n1;What is 2+2, 3?;4\r\n", "rows.csv"),
        ("\n\nid\tprompt\tgold\n1\tWhat is 2+2, 3?\t4\n", "rows.tsv"),
        ("id\tprompt\tgold\n1\tWhat is 2+2, 3?\t4\n", "rows.csv"),
        ("id|prompt|gold\n1|What is 2+2, 3?|4\n", "rows.csv"),
        ('"id","prompt","gold"\n1,"What is 2+2, 3?",4\n', "rows.tsv"),
    ],
)
def test_the_delimiter_of_the_header_applies_to_all_rows(file, content, name):
    (row,) = read(file(content, name))

    assert (row.id, row.question.query, row.extras) == ("1", "What is 2+2, 3?", {"gold": "4"})


def test_a_delimiter_in_quotes_is_part_of_the_name(file):
    (row,) = read(file('prompt,"a;b","c ""d"" \t"\nWhy?,1,2\n', "rows.csv"))

    assert row.extras == {"a;b": "1", 'c "d" \t': "2"}


@pytest.mark.parametrize(
    ("header", "found"),
    [("id;prompt,x;gold", "commas and by semicolons"), ("a\tb,c", "commas and by tabs")],
)
def test_a_header_with_two_delimiters_is_rejected(file, header, found):
    assert why(file(f"{header}\n1;2,3\t4\n", "rows.csv")) == (
        f"FILE:1: the header is divided by {found}; put a name that has one of them in quotes"
    )


def test_a_table_in_utf_16_is_recognized(file):
    content = "id\tprompt\n1\tWhy?\n".encode("utf-16")

    assert why(file(content, "rows.csv")).startswith(
        "FILE:1: not UTF-8 at byte 1 (0xff): it is UTF-16"
    )


def test_an_old_spreadsheet_is_recognized(file):
    assert "an old spreadsheet (.xls)" in why(file(b"\xd0\xcf\x11\xe0 and so on", "rows.xls"))


# Suggestions


@pytest.mark.parametrize(
    ("row", "reading", "hint"),
    [
        ({"id": "1", "review": "a", "label": "b"}, ReadOptions(prompt_field="reveiw"), "review"),
        ({"id": "1", "label": "b"}, ReadOptions(prompt_field="reveiw"), None),
        ({"id": "1", "label": "b"}, PLAIN, None),
        ({"id": "1", "question": "a", "label": "b"}, PLAIN, "question"),
        ({"id": "1", "question": "a"}, ReadOptions(prompt_field="reveiw"), None),
        ({"id;prompt;gold": "1;a;b"}, PLAIN, None),
    ],
)
def test_a_suggested_prompt_field_is_never_the_id_or_the_gold_answer(file, row, reading, hint):
    said = why(file(jsonl(row)), reading)

    keys = ", ".join(row)
    assert said.endswith(
        f"missing; keys found: {keys}" + (f" (try --prompt-field {hint})" if hint else "")
    )


def test_a_misspelt_id_field_gets_a_suggestion(file):
    said = why(file(jsonl({"key": 1, "prompt": "a"})), ReadOptions(id_field="keey"))

    assert said == "FILE:1: keey: missing; keys found: key, prompt (try --id-field key)"


# Many errors at once


def test_up_to_ten_errors_are_reported_each_with_its_lines(file):
    rows = [
        json.dumps({"prompt": "a"}),
        *(f'{{"prompt": "a", "k{n}": 1, "k{n}": 2}}' for n in range(14)),
    ]
    rows += [json.dumps({"prompt": 3})] * 15
    rows[1], rows[2] = rows[-1], rows[-1]

    with pytest.raises(DatasetError) as caught, Dataset.open(file("\n".join(rows))) as dataset:
        dataset.check()

    first, *others = caught.value.lines()
    lines = "3, 16, 17, 18, 19, 20, 21, 22, 23"
    assert first.endswith(
        f":2: prompt: expected text, found a number; also on lines {lines} and 7 more"
    )
    assert len(others) == 10
    assert others[0].endswith(":4: the key k2 appears twice")
    assert others[-1] == "and 3 more"


def test_rejected_rows_are_reported_before_the_error_that_ended_reading(file):
    with (
        pytest.raises(DatasetError) as caught,
        Dataset.open(file('prompt,x\na\n"b"c,d\n', "rows.csv")) as dataset,
    ):
        dataset.check()

    first, second = caught.value.lines()
    assert first.endswith(":2: 1 cells, and the header has 2")
    assert ":3: not CSV" in second


# Patterns


@pytest.mark.parametrize(
    "pattern", ["/**/*.nothing-is-called-so", "/*/*/*/*/*/*.nothing-is-called-so"]
)
def test_a_pattern_over_the_whole_disk_is_rejected_in_time(pattern, monkeypatch):
    monkeypatch.setattr(source, "_MAX_FOLDERS", 300)

    said = why(pattern)

    assert "the pattern searches over 300 folders; make it more specific" in said


def test_a_pattern_within_few_folders_is_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "_MAX_FOLDERS", 3)
    for place in ("a/b", "a/c"):
        (tmp_path / place).mkdir(parents=True)
    for n in range(20):
        (tmp_path / f"a/c/deep{n}").mkdir()
    (tmp_path / "a/c/x.jsonl").write_text(jsonl({"prompt": "c"}))

    assert prompts(read(f"{tmp_path}/a/*/*.jsonl")) == ["c"]


def test_a_file_that_is_no_parquet_is_rejected(file):
    pytest.importorskip("pyarrow")

    assert why(file("PAR1 rubbish", "rows.parquet")).startswith(
        "FILE: not a Parquet file that can be read: "
    )


def test_parquet_without_its_library_says_what_to_install(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert why(file("PAR1", "rows.parquet")) == (
        "FILE: Parquet needs: pip install archon-batch[parquet]"
    )


# Arbitrary data

ANYTHING = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

#: Bytes that resemble a dataset more than random bytes do.
NEARLY = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [b'{"prompt": "a"}\n', b'{"id": ', b"\n", b"\r", b"[", b"}", b'"', b"\\ud800", b",",
             b"1e999", b"\xef\xbb\xbf", b"\x1f\x8b", b'"messages": [', b'{"role": "user"', b"-"]
        ),
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


@ANYTHING
@given(content=NEARLY, skip=st.booleans(), suffix=st.sampled_from(["jsonl", "csv", "parquet"]))
def test_any_bytes_give_rows_or_a_dataset_error(file, content, skip, suffix):
    path = file(content, f"rows.{suffix}")

    try:
        rows = read(path, ReadOptions(skip_bad_rows=skip))
    except DatasetError:
        return

    assert all(row.question.messages or row.reason for row in rows)


TEXTS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(str.strip),
    min_size=1,
)


@ANYTHING
@given(texts=TEXTS, escaped=st.booleans())
def test_any_prompt_survives_json_lines(file, texts, escaped):
    lines = [json.dumps({"prompt": text}, ensure_ascii=escaped) for text in texts]

    assert prompts(read(file("\n".join(lines)))) == texts


@ANYTHING
@given(texts=TEXTS)
def test_any_prompt_survives_csv(file, texts):
    table = io.StringIO()
    csv.writer(table).writerows([["prompt"], *([text] for text in texts)])

    assert prompts(read(file(table.getvalue(), "rows.csv"))) == texts


@ANYTHING
@given(texts=TEXTS)
def test_any_prompt_survives_parquet(parquet, texts):
    assert prompts(read(parquet({"prompt": texts}))) == texts


def test_rows_from_memory_are_a_dataset():
    rows = [{"id": str(n), "prompt": f"Why {n}?\u2028", "of": n} for n in range(3)]

    with Dataset.from_rows("made", iter(rows)) as made, Dataset.from_rows("again", rows) as again:
        read = list(made.rows())
        assert made.name == "made"
        assert made.digest == again.digest

    assert [row.question.query for row in read] == ["Why 0?\u2028", "Why 1?\u2028", "Why 2?\u2028"]
    assert [row.extras for row in read] == [{"of": 0}, {"of": 1}, {"of": 2}]


def test_a_dataset_from_memory_needs_rows():
    with Dataset.from_rows("made", []) as made, pytest.raises(DatasetError, match="made: no rows"):
        made.check()
