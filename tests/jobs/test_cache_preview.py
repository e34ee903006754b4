"""What a job would find: the calls that a forecast leaves out."""

import pytest

from archon_batch.archon import run_item
from archon_batch.engine.in_process import run_first_shard
from archon_batch.engine.runtime import Runtime
from archon_batch.jobs.cache_preview import forecast_uncached, preview_cache
from archon_batch.jobs.forecast import DatasetSize, forecast, total_forecast
from archon_batch.money import Price
from archon_batch.providers import final_reply
from archon_batch.settings import Settings
from tests.builders import MODEL, a_job, a_question, an_architecture

ROWS = [a_question(f"What is {n} + {n}?", row=f"row-{n}") for n in range(6)]
PRICES = {MODEL: Price(150_000_000, 600_000_000)}
LAYERS = {"type": "generator", "samples": 2}, "critic", "ranker", "fuser"


@pytest.fixture
def here(tmp_path):
    opened = Runtime(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    yield opened
    opened.close()


def after(here, architecture, rows):
    """The database when such a job is done."""
    run_first_shard(here, a_job(here.store, architecture=architecture, questions=rows, shard=999))
    return here.store


def calls(architecture, row):
    return len(run_item(architecture, row, final_reply)[1])


def loads(rows, layers):
    return [DatasetSize.from_questions(rows)] * layers


def test_without_a_store_nothing_is_found_and_the_forecast_is_the_whole():
    architecture = an_architecture(*LAYERS)

    found = preview_cache(None, architecture, ROWS)

    assert (found.cached_calls, found.cached_rows) == (0, 0)
    assert found.fully_uncached == found.partly_uncached == loads(ROWS, 4)
    assert forecast_uncached(architecture, PRICES, found) == forecast(
        architecture, PRICES, DatasetSize.from_questions(ROWS)
    )


def test_a_dataset_that_grew_is_foreseen_as_what_is_new_in_it(here):
    architecture = an_architecture(*LAYERS)
    store = after(here, architecture, ROWS[:4])

    found = preview_cache(store, architecture, ROWS)

    assert found.cached_rows == 4
    assert found.cached_calls == sum(calls(architecture, row) for row in ROWS[:4])
    assert found.fully_uncached == found.partly_uncached == loads(ROWS[4:], 4)
    assert forecast_uncached(architecture, PRICES, found) == forecast(
        architecture, PRICES, DatasetSize.from_questions(ROWS[4:])
    )


def test_a_layer_that_changed_and_those_behind_it_are_foreseen(here):
    store = after(here, an_architecture(*LAYERS), ROWS)
    changed = an_architecture(*LAYERS[:2], {"type": "ranker", "temperature": 0.1}, "fuser")

    found = preview_cache(store, changed, ROWS)

    assert (found.cached_rows, found.cached_calls) == (0, 6 * 3)
    assert found.partly_uncached == [
        DatasetSize(),
        DatasetSize(),
        DatasetSize.from_questions(ROWS),
        DatasetSize.from_questions(ROWS),
    ]


def test_a_layer_that_is_found_in_part_may_cost_nothing_and_may_cost_all_of_it(here):
    store = after(here, an_architecture({"type": "generator", "samples": 1}), ROWS)
    more = an_architecture({"type": "generator", "samples": 3}, "fuser")

    found = preview_cache(store, more, ROWS)
    layers = forecast_uncached(more, PRICES, found)

    assert (found.cached_rows, found.cached_calls) == (0, 6)
    assert (found.fully_uncached[0], found.partly_uncached[0]) == (
        DatasetSize(),
        DatasetSize.from_questions(ROWS),
    )
    assert (layers[0].low.calls, layers[0].expected.calls) == (0, 18)
    assert layers[1].low.calls == 6
    assert (
        total_forecast(layers).high.cost
        == total_forecast(forecast(more, PRICES, DatasetSize.from_questions(ROWS))).high.cost
    )


def test_an_edited_row_is_foreseen_and_no_other(here):
    architecture = an_architecture(*LAYERS)
    store = after(here, architecture, ROWS)
    edited = a_question("What is 2 + 3?", row="row-2")

    found = preview_cache(store, architecture, [*ROWS[:2], edited, *ROWS[3:]])

    assert found.cached_rows == 5
    assert found.partly_uncached == loads([edited], 4)


def test_more_rows_than_are_looked_up_at_once_are_all_looked_up(here):
    architecture = an_architecture("generator")
    many = [a_question(f"What is {n}?", row=f"row-{n}") for n in range(450)]
    store = after(here, architecture, many[::3])

    found = preview_cache(store, architecture, many)

    assert (found.cached_rows, found.cached_calls) == (150, 150)
    assert found.partly_uncached[0].rows == 300
