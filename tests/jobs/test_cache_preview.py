"""Cached calls, which a forecast leaves out."""

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
def runtime(tmp_path):
    opened = Runtime(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    yield opened
    opened.close()


def store_after(runtime, architecture, rows):
    """The database after a job with these rows."""
    job = a_job(runtime.store, architecture=architecture, questions=rows, shard=999)
    run_first_shard(runtime, job)
    return runtime.store


def count_calls(architecture, row):
    return len(run_item(architecture, row, final_reply)[1])


def sizes(rows, layers):
    return [DatasetSize.from_questions(rows)] * layers


def test_without_a_store_no_call_is_cached_and_the_forecast_has_all_rows():
    architecture = an_architecture(*LAYERS)

    preview = preview_cache(None, architecture, ROWS)

    assert (preview.cached_calls, preview.cached_rows) == (0, 0)
    assert preview.fully_uncached == preview.partly_uncached == sizes(ROWS, 4)
    assert forecast_uncached(architecture, PRICES, preview) == forecast(
        architecture, PRICES, DatasetSize.from_questions(ROWS)
    )


def test_the_forecast_of_a_dataset_that_grew_has_its_new_rows(runtime):
    architecture = an_architecture(*LAYERS)
    store = store_after(runtime, architecture, ROWS[:4])

    preview = preview_cache(store, architecture, ROWS)

    assert preview.cached_rows == 4
    assert preview.cached_calls == sum(count_calls(architecture, row) for row in ROWS[:4])
    assert preview.fully_uncached == preview.partly_uncached == sizes(ROWS[4:], 4)
    assert forecast_uncached(architecture, PRICES, preview) == forecast(
        architecture, PRICES, DatasetSize.from_questions(ROWS[4:])
    )


def test_the_forecast_has_a_changed_layer_and_the_layers_behind_it(runtime):
    store = store_after(runtime, an_architecture(*LAYERS), ROWS)
    changed = an_architecture(*LAYERS[:2], {"type": "ranker", "temperature": 0.1}, "fuser")

    preview = preview_cache(store, changed, ROWS)

    assert (preview.cached_rows, preview.cached_calls) == (0, 6 * 3)
    assert preview.partly_uncached == [
        DatasetSize(),
        DatasetSize(),
        DatasetSize.from_questions(ROWS),
        DatasetSize.from_questions(ROWS),
    ]


def test_a_partly_cached_layer_costs_between_nothing_and_all_of_it(runtime):
    store = store_after(runtime, an_architecture({"type": "generator", "samples": 1}), ROWS)
    more = an_architecture({"type": "generator", "samples": 3}, "fuser")

    preview = preview_cache(store, more, ROWS)
    layers = forecast_uncached(more, PRICES, preview)

    assert (preview.cached_rows, preview.cached_calls) == (0, 6)
    assert (preview.fully_uncached[0], preview.partly_uncached[0]) == (
        DatasetSize(),
        DatasetSize.from_questions(ROWS),
    )
    assert (layers[0].low.calls, layers[0].expected.calls) == (0, 18)
    assert layers[1].low.calls == 6
    assert (
        total_forecast(layers).high.cost
        == total_forecast(forecast(more, PRICES, DatasetSize.from_questions(ROWS))).high.cost
    )


def test_only_an_edited_row_is_in_the_forecast(runtime):
    architecture = an_architecture(*LAYERS)
    store = store_after(runtime, architecture, ROWS)
    edited = a_question("What is 2 + 3?", row="row-2")

    preview = preview_cache(store, architecture, [*ROWS[:2], edited, *ROWS[3:]])

    assert preview.cached_rows == 5
    assert preview.partly_uncached == sizes([edited], 4)


def test_rows_beyond_one_query_are_looked_up_too(runtime):
    architecture = an_architecture("generator")
    many = [a_question(f"What is {n}?", row=f"row-{n}") for n in range(450)]
    store = store_after(runtime, architecture, many[::3])

    preview = preview_cache(store, architecture, many)

    assert (preview.cached_rows, preview.cached_calls) == (150, 150)
    assert preview.partly_uncached[0].rows == 300
