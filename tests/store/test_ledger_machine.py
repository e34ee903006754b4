"""The ledger's invariants hold, and every seeded bug breaks one of them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from archon_batch.errors import StoreError
from archon_batch.store import Store
from tests.builders import examples
from tests.store.ledger_machine import Ledger
from tests.store.ledger_scenarios import SCENARIOS, Driver
from tests.store.seeded_bugs import BUGS, Bug, planted


def _hasty(store: Store) -> Store:
    """Do not wait for the disk: these tests are not about power losses."""
    engine = store.database.engine
    statement = (
        "PRAGMA synchronous=OFF" if store.database.is_sqlite else "SET synchronous_commit TO OFF"
    )

    @sa.event.listens_for(engine, "connect")
    def _hurry(connection: Any, _record: Any) -> None:
        connection.execute(statement)

    engine.dispose()
    return store


def _machine(store: Store) -> type[Ledger]:
    return type("LedgerHere", (Ledger,), {"store": store})


def _run(store: Store, examples: int, steps: int, **more: Any) -> None:
    run_state_machine_as_test(
        _machine(store),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )


def _run_scenario(scenario: Callable[[Driver], None], store: Store) -> None:
    machine = _machine(store)()
    scenario(Driver(machine))
    machine.teardown()


def _search(store: Store) -> None:
    """Run the scenarios, then random steps."""
    for scenario in SCENARIOS:
        _run_scenario(scenario, store)
    _run(store, 150, 40, derandomize=True)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_invariants_hold_in_a_scenario(
    scenario: Callable[[Driver], None], any_store: Store
) -> None:
    _run_scenario(scenario, _hasty(any_store))


@pytest.mark.timeout(240)
def test_the_invariants_hold(any_store: Store) -> None:
    _run(_hasty(any_store), examples(0.4).max_examples, 40)


@pytest.fixture(scope="module")
def hasty_store(tmp_path_factory) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/store.db")
    yield _hasty(store)
    store.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)
def test_a_bug_is_found(bug: Bug, hasty_store: Store) -> None:
    with planted(bug), pytest.raises((AssertionError, StoreError)):
        _search(hasty_store)
