"""The command line in this process, in a folder of its own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from archon_batch.cli import main


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


class Terminal:
    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capture = capture

    def write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="utf-8")

    def has(self, name: str) -> bool:
        return (self._folder / name).exists()

    def run(self, *arguments: str) -> Ended:
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = self._capture.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    def json(self, *arguments: str) -> Any:
        ended = self.run(*arguments, "--json")
        assert ended.status == 0, ended.err
        return json.loads(ended.out)
