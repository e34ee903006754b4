"""A database that is away is waited for, and nothing else is."""

import pytest

from archon_batch.errors import StoreError, StoreUnavailableError
from archon_batch.store import database, retry_while_unavailable


def test_an_operation_is_repeated_while_the_database_is_unavailable(monkeypatch):
    monkeypatch.setattr(database, "_RETRY_INTERVAL", 0.001)
    tries: list[int] = []

    def work() -> str:
        tries.append(len(tries))
        if len(tries) < 3:
            raise StoreUnavailableError("away")
        return "done"

    assert retry_while_unavailable(work) == "done"


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), StoreError("broken")])
def test_a_long_outage_or_another_error_is_raised(monkeypatch, error):
    monkeypatch.setattr(database, "MAX_UNAVAILABLE_SECONDS", 0.05)
    monkeypatch.setattr(database, "_RETRY_INTERVAL", 0.001)
    tries = []

    def work() -> None:
        tries.append(error)
        raise error

    with pytest.raises(StoreError) as raised:
        retry_while_unavailable(work)

    assert raised.value is error
    assert (len(tries) > 1) is isinstance(error, StoreUnavailableError)
