"""A desk where everything is right but what a test puts there, and what every refusal has to be."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.cli.terminal import Ended, Terminal
from tests.provider import ProviderServer

ROWS = '{"id": "a", "prompt": "Why?"}\n'
#: One call a row, which a provider on loopback would answer, and bill.
ARCH = """\
models:
  one: {model: openai/stand-in, api_base: URL, price: {input: 1, output: 1}}
layers:
  - {type: generator, model: one, samples: 1, max_tokens: 64}
"""
SUBMIT = ("submit", "rows.jsonl", "--arch", "arch.yaml")
DATABASE = "archon-batch.db"

#: Set for every test, and never to be seen again.
SECRETS = {
    "OPENAI_API_KEY": "sk-walrus7731openai0",
    "ARCHON_BATCH_KEY_127_0_0_1": "walrus7732bound",
}


class Desk:
    """A folder with a dataset and an architecture, a command line in it, and a provider."""

    def __init__(
        self, folder: Path, terminal: Terminal, provider: ProviderServer, empty: Path
    ) -> None:
        self.folder = folder
        self.provider = provider
        self.run = terminal.run
        self.json = terminal.json
        self._empty = empty
        self.write("rows.jsonl", ROWS)
        self.write("arch.yaml", ARCH)

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data.replace(b"URL", self.provider.url.encode()))
        return path

    def refuses(self, *arguments: str, says: str | Sequence[str], status: int = 2) -> Ended:
        """The command ends with the status, says so, and nothing else has come of it."""
        files, asked = self._files(), self.provider.request_count

        ended = self.run(*arguments)

        assert ended.status == status, ended.err
        for words in [says] if isinstance(says, str) else says:
            assert words in ended.err, ended.err
        assert ended.out == ""
        assert len(ended.err) < 1_500, "that is no message"
        told(ended)
        assert self._files() == files, "something was stored"
        assert self.provider.request_count == asked, "something was sent"
        return ended

    def takes(self, *arguments: str) -> str:
        """The submission is stored, to be run later, as the job of this id."""
        # Tables take longer to make than to copy.
        (self.folder / DATABASE).write_bytes(self._empty.read_bytes())
        ended = self.run(*(arguments or SUBMIT), "--detach")
        assert ended.status == 0, ended.err
        told(ended)
        return ended.out.strip()

    def asked(self, job: str) -> dict[str, str]:
        """What the last message of each row is."""
        rows = [self.json("show", job, line["id"]) for line in self.json("show", job)]
        return {row["id"]: row["messages"][-1]["content"] for row in rows}

    def _files(self) -> dict[str, tuple[int, int]]:
        """Everything in the folder and beside it: what is kept for a user stands there too."""
        found = {path: path.lstat() for path in self.folder.parent.rglob("*")}
        return {str(path): (s.st_size, s.st_mtime_ns) for path, s in found.items() if is_kept(path)}


def is_kept(path: Path) -> bool:
    """Whether it is a file: a folder's own time changes when a file is tried out in it."""
    return not path.is_dir()


def told(ended: Ended) -> None:
    """What was said is text of one's own, which gives nothing away and moves no cursor."""
    said = ended.out + ended.err
    assert "Traceback" not in said
    assert "should not happen" not in said
    assert not [secret for secret in SECRETS.values() if secret in said]
    assert all(letter.isprintable() or letter == "\n" for letter in said)


def entries(*table: tuple[Any, ...]) -> Iterable[ParameterSet]:
    """The entries of a part of the catalogue: its number and words first."""
    return [pytest.param(*values, id=entry) for entry, *values in table]


def jsonl(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
