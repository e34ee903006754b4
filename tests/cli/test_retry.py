"""``retry --where``: only the rows that fit are opened again."""

import json

import pytest

from tests.cli.terminal import Terminal

ARCH = """\
models:
  rough: {model: scripted/rough, price: {input: 2, output: 10}}
layers:
  - {type: generator, model: rough, retries: 0}
  - {type: fuser, model: rough, retries: 0}
"""


@pytest.fixture
def failed_rows(terminal: Terminal) -> Terminal:
    """A job of which some rows were refused, on both layers, and some were answered blankly."""
    rows = [{"id": f"q{n}", "prompt": f"What is {n}?"} for n in range(60)]
    terminal.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    terminal.write("arch.yaml", ARCH)
    assert terminal.run("submit", "rows.jsonl", "--arch", "arch.yaml", "--name", "labels").status
    return terminal


def reasons(terminal: Terminal) -> dict[str, str]:
    """The reasons of the failed rows, by row."""
    lines = terminal.run("export", "labels").out.splitlines()
    return {line["id"]: line["reason"] for line in map(json.loads, lines) if line["reason"]}


def attempts(terminal: Terminal) -> dict[str, int]:
    lines = terminal.run("export", "labels").out.splitlines()
    return {line["id"]: line["attempts"] for line in map(json.loads, lines)}


def asked_again(terminal: Terminal, *where: str) -> set[str]:
    """The rows of which something was sent by a retry of what fits."""
    before = attempts(terminal)
    terminal.run("retry", "labels", *(word for one in where for word in ("--where", one)))
    return {row for row, count in attempts(terminal).items() if count > before[row]}


def test_only_rows_of_that_reason_are_asked_again(failed_rows: Terminal) -> None:
    why = reasons(failed_rows)
    refused = {row for row, reason in why.items() if "refused" in reason}

    assert 0 < len(refused) < len(why)
    assert asked_again(failed_rows, "reason=refused") == refused


def test_only_rows_of_that_layer_are_asked_again(failed_rows: Terminal) -> None:
    why = reasons(failed_rows)
    last = {row for row, reason in why.items() if reason.startswith("layer 1: ")}

    assert 0 < len(last) < len(why)
    assert asked_again(failed_rows, "layer=1") == last


def test_all_conditions_hold_of_a_row(failed_rows: Terminal) -> None:
    why = reasons(failed_rows)
    both = {row for row, r in why.items() if r.startswith("layer 0: ") and "refused" in r}
    row = min(both)

    assert 1 < len(both) < len(why)
    assert asked_again(failed_rows, "layer=0", "reason=refused", "status=failed") == both
    assert asked_again(failed_rows, "layer=0", "reason=refused", f"id={row}") == {row}


def test_when_no_row_fits_it_says_what_there_is(failed_rows: Terminal) -> None:
    why = reasons(failed_rows)
    most = max(set(why.values()), key=list(why.values()).count)

    ended = failed_rows.run("retry", "labels", "--where", "reason=timeout", "--where", "layer=0")

    assert ended.status == 2
    assert "no row matches --where reason=timeout and layer=0" in ended.err
    assert f"it has {len(why)} failed" in ended.err
    assert f"({list(why.values()).count(most)} x {most}" in ended.err
    assert reasons(failed_rows) == why


def test_of_many_reasons_three_are_told_and_nothing_reaches_the_terminal_raw(
    failed_rows: Terminal,
) -> None:
    from archon_batch.archon import Failed  # noqa: PLC0415
    from archon_batch.store import Store  # noqa: PLC0415

    job = failed_rows.run("submit", "rows.jsonl", "--arch", "arch.yaml", "--name", "x", "--detach")
    store = Store.open("sqlite:///archon-batch.db")
    ends = [(ix, Failed(0, f"\x1b[2J{ix % 5} " + "long\n" * 40)) for ix in range(60)]
    store.items.finish(job.out.strip(), ends)
    store.close()

    ended = failed_rows.run("retry", "x", "--where", "status=cancelled")

    assert ended.status == 2
    assert ended.err.count("12 x layer 0: \\x1b[2J") == 3
    assert "; and 2 other reasons)" in ended.err
    assert "\x1b" not in ended.err
    # Each has forty of them.
    assert ended.err.count("long") < 3 * 20


def test_rows_that_were_cancelled_are_told_apart(failed_rows: Terminal) -> None:
    job = failed_rows.run("submit", "rows.jsonl", "--arch", "arch.yaml", "--name", "x", "--detach")
    failed_rows.run("cancel", "x")

    none = failed_rows.run("retry", "x", "--where", "status=failed")
    some = failed_rows.run("retry", "x", "--where", "status=cancelled", "--where", "id=q7")

    assert none.status == 2
    assert "it has 60 cancelled" in none.err
    assert "1 row reopened" in some.err
    assert failed_rows.json("status", job.out.strip())["cancelled"] == 59


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("colour=red", "expected reason=TEXT, status=failed|cancelled, layer=N, id=ROW"),
        ("reason", "expected reason=TEXT"),
        ("reason=", "expected reason=TEXT"),
        ("layer=last", "a layer is a number from 0"),
        ("layer=-1", "a layer is a number from 0"),
        ("status=answered", "a status is failed or cancelled"),
    ],
)
def test_a_condition_that_is_none_is_refused(failed_rows: Terminal, where: str, said: str) -> None:
    before = reasons(failed_rows)

    ended = failed_rows.run("retry", "labels", "--where", where)

    assert ended.status == 2
    assert said in " ".join(ended.err.split())
    assert reasons(failed_rows) == before
