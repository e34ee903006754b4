"""What a job would find: the calls that a forecast leaves out."""

import pytest

from archon_batch.archon import run
from archon_batch.engine.rehearsal import rehearse
from archon_batch.engine.runtime import Process
from archon_batch.jobs.cache_preview import foreseen, found_among
from archon_batch.jobs.forecast import Load, forecast, total
from archon_batch.money import Price
from archon_batch.providers import settled
from archon_batch.settings import Settings
from tests.builders import MODEL, a_job, a_question, an_architecture

ROWS = [a_question(f"What is {n} + {n}?", row=f"row-{n}") for n in range(6)]
PRICES = {MODEL: Price(150_000_000, 600_000_000)}
LAYERS = {"type": "generator", "samples": 2}, "critic", "ranker", "fuser"


@pytest.fixture
def here(tmp_path):
    opened = Process(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    yield opened
    opened.close()


def after(here, architecture, rows):
    """The database when such a job is done."""
    rehearse(here, a_job(here.store, architecture=architecture, questions=rows, shard=999))
    return here.store


def calls(architecture, row):
    return len(run(architecture, row, settled)[1])


def loads(rows, layers):
    return [Load.of(rows)] * layers


def test_without_a_store_nothing_is_found_and_the_forecast_is_the_whole():
    architecture = an_architecture(*LAYERS)

    found = found_among(None, architecture, ROWS)

    assert (found.calls, found.rows) == (0, 0)
    assert found.least == found.most == loads(ROWS, 4)
    assert foreseen(architecture, PRICES, found) == forecast(architecture, PRICES, Load.of(ROWS))


def test_a_dataset_that_grew_is_foreseen_as_what_is_new_in_it(here):
    architecture = an_architecture(*LAYERS)
    store = after(here, architecture, ROWS[:4])

    found = found_among(store, architecture, ROWS)

    assert found.rows == 4
    assert found.calls == sum(calls(architecture, row) for row in ROWS[:4])
    assert found.least == found.most == loads(ROWS[4:], 4)
    assert foreseen(architecture, PRICES, found) == forecast(
        architecture, PRICES, Load.of(ROWS[4:])
    )


def test_a_layer_that_changed_and_those_behind_it_are_foreseen(here):
    store = after(here, an_architecture(*LAYERS), ROWS)
    changed = an_architecture(*LAYERS[:2], {"type": "ranker", "temperature": 0.1}, "fuser")

    found = found_among(store, changed, ROWS)

    assert (found.rows, found.calls) == (0, 6 * 3)
    assert found.most == [Load(), Load(), Load.of(ROWS), Load.of(ROWS)]


def test_a_layer_that_is_found_in_part_may_cost_nothing_and_may_cost_all_of_it(here):
    store = after(here, an_architecture({"type": "generator", "samples": 1}), ROWS)
    more = an_architecture({"type": "generator", "samples": 3}, "fuser")

    found = found_among(store, more, ROWS)
    layers = foreseen(more, PRICES, found)

    assert (found.rows, found.calls) == (0, 6)
    assert (found.least[0], found.most[0]) == (Load(), Load.of(ROWS))
    assert (layers[0].low.calls, layers[0].expected.calls) == (0, 18)
    assert layers[1].low.calls == 6
    assert total(layers).high.cost == total(forecast(more, PRICES, Load.of(ROWS))).high.cost


def test_an_edited_row_is_foreseen_and_no_other(here):
    architecture = an_architecture(*LAYERS)
    store = after(here, architecture, ROWS)
    edited = a_question("What is 2 + 3?", row="row-2")

    found = found_among(store, architecture, [*ROWS[:2], edited, *ROWS[3:]])

    assert found.rows == 5
    assert found.most == loads([edited], 4)


def test_more_rows_than_are_looked_up_at_once_are_all_looked_up(here):
    architecture = an_architecture("generator")
    many = [a_question(f"What is {n}?", row=f"row-{n}") for n in range(450)]
    store = after(here, architecture, many[::3])

    found = found_among(store, architecture, many)

    assert (found.rows, found.calls) == (150, 150)
    assert found.most[0].rows == 300
