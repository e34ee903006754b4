"""Every file in jobs/ passes a check as it stands, without a key."""

import os
from pathlib import Path

import pytest

from archon_batch.cli import main

_HERE = Path(__file__).parents[2]
FILES = sorted(
    path.relative_to(_HERE)
    for path in (_HERE / "jobs").rglob("*")
    if path.suffix in (".yaml", ".yml", ".json")
)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_it_passes(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(_HERE)
    for name in [name for name in os.environ if name.endswith(("_KEY", "_TOKEN"))]:
        monkeypatch.delenv(name)

    with pytest.raises(SystemExit) as ended:
        main(["check", str(file)])

    said = capsys.readouterr()
    assert not ended.value.code, said.err
    assert "error: " not in said.err


def test_all_of_it_is_looked_at() -> None:
    assert len(FILES) > 10
    assert Path("jobs/searches/archon.yaml") in FILES
