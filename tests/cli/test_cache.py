"""``archon-batch cache`` and ``verify`` as they are typed."""

import pytest

from tests.cli.terminal import Terminal

ARCH = "layers: [{type: generator, model: scripted/plausible, samples: 2}, {type: fuser, model: scripted/plausible}]"


@pytest.fixture
def done(terminal: Terminal) -> Terminal:
    terminal.write("rows.jsonl", '{"prompt": "one"}\n{"prompt": "two"}\n')
    terminal.write("two.yaml", ARCH)
    assert terminal.run("submit", "rows.jsonl", "--arch", "two.yaml").status == 0
    return terminal


def test_stats_shows_the_cache_and_purge_deletes_from_it(done: Terminal) -> None:
    (kept,) = done.json("cache", "stats")
    page = done.run("cache", "stats").out
    young = done.run("cache", "purge", "--older-than", "1h")
    purged = done.run("cache", "purge", "--older-than", "0m")

    assert (kept["model"], kept["completions"], kept["usd"]) == ("scripted/plausible", 6, 0)
    assert kept["oldest"] <= kept["newest"]
    assert "scripted/plausible" in page
    assert young.err == "0 completions deleted\n"
    assert purged.err == "6 completions deleted\n"
    assert done.json("cache", "stats") == []


@pytest.mark.parametrize("age", ["", "30", "d", "30 days", "-1d", "1.5h", "999999d"])
def test_an_age_is_a_number_and_a_letter(terminal: Terminal, age: str) -> None:
    ended = terminal.run("cache", "purge", "--older-than", age)

    assert ended.status == 2
    assert f"expected a number and m, h, d or w, such as 30d; found {age!r}" in ended.err


def test_an_age_is_needed(terminal: Terminal) -> None:
    assert terminal.run("cache", "purge").status == 2


def test_a_correct_job_passes_verification(done: Terminal) -> None:
    page = done.run("verify", "rows")
    checks = done.json("verify", "rows")

    assert page.status == 0
    assert all(line.startswith("ok") for line in page.out.splitlines()[1:])
    assert all(check["ok"] for check in checks)
    assert done.run("verify", "nobody").status == 2


def test_a_failed_verification_exits_with_3(done: Terminal) -> None:
    from archon_batch.store import Store  # noqa: PLC0415

    store = Store.open("sqlite:///archon-batch.db")
    with store.database.write_transaction() as connection:
        connection.exec_driver_sql("UPDATE jobs SET spent = 5")
    store.close()

    page = done.run("verify", "rows")

    assert page.status == 3
    assert "FAILED  money spent" in page.out
    assert "0 USD by the attempts, 0.000000005 by the job" in page.out
