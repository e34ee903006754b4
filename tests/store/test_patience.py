"""A database that is away is waited for, and nothing else is."""

import pytest

from archon_batch.errors import StoreAwayError, StoreError
from archon_batch.store import patience, patiently


def test_what_fails_while_the_database_is_away_is_done_again(monkeypatch):
    monkeypatch.setattr(patience, "_AGAIN", 0.001)
    tries: list[int] = []

    def work() -> str:
        tries.append(len(tries))
        if len(tries) < 3:
            raise StoreAwayError("away")
        return "done"

    assert patiently(work) == "done"


@pytest.mark.parametrize("error", [StoreAwayError("away"), StoreError("broken")])
def test_what_fails_for_long_or_for_another_reason_fails(monkeypatch, error):
    monkeypatch.setattr(patience, "PATIENCE", 0.05)
    monkeypatch.setattr(patience, "_AGAIN", 0.001)
    tries = []

    def work() -> None:
        tries.append(error)
        raise error

    with pytest.raises(StoreError) as raised:
        patiently(work)

    assert raised.value is error
    assert (len(tries) > 1) is isinstance(error, StoreAwayError)
