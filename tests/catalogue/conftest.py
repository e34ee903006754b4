"""One provider and one empty database for the whole catalogue."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from archon_batch.cli import doctor
from archon_batch.store import Store
from tests.catalogue.desk import SECRETS, Desk
from tests.cli.terminal import Terminal
from tests.provider import ProviderServer


@pytest.fixture(scope="session")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(prices=("1", "1")) as started:
        yield started


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    Store.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def desk(
    tmp_path: Path,
    provider: ProviderServer,
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    # Its attacks take ten seconds, have tests of their own, and are no input.
    monkeypatch.delitem(doctor._CHECKS, "sandbox")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    return Desk(folder, Terminal(folder, capsys), provider, empty)
