"""The program as a user starts it: processes, files in a folder, a provider on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fork_server import Popen

#: USD per million tokens, so that a token's price is not a whole number of nano-dollars.
PRICES = ("0.1503", "0.6007")

#: The four layers of the first issue: 5 candidates, criticised, the best 3 made into one.
LAYERS = """\
name: layered
models:
  one:
    model: openai/stand-in
    api_base: {url}
    price: {{input: {input}, output: {output}}}
defaults: {{model: one, max_tokens: 512}}
layers:
  - {{type: generator, samples: 5}}
  - {{type: critic}}
  - {{type: ranker, top_k: 3}}
  - {{type: fuser}}
"""


class Stage:
    """A folder with a dataset, an architecture and a database, and commands run in it."""

    #: Other processes start slowly, and show their command line and environment in /proc.
    forked = True

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("ARCHON_BATCH_")},
            # A fault of the provider's must not make a test wait for a minute.
            "ARCHON_BATCH_CALL_TIMEOUT": "30",
            "ARCHON_BATCH_SPOOL": str(folder / "spool"),
            **environment,
        }

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def dataset(self, rows: int) -> Path:
        lines = [
            json.dumps({"id": f"q{n}", "prompt": f"What is {n} plus {n}?", "topic": ["sums", n]})
            for n in range(rows)
        ]
        return self.write("rows.jsonl", "\n".join(lines) + "\n")

    def architecture(self, url: str, text: str = LAYERS) -> Path:
        return self.write("layered.yaml", text.format(url=url, input=PRICES[0], output=PRICES[1]))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = self.environment
        if arguments[0] == "doctor":
            # Without bwrap: its attacks on the sandbox take ten seconds, and have tests of their own.
            environment = {**environment, "PATH": str(Path(sys.executable).parent)}
        popen = Popen if self.forked else subprocess.Popen
        return popen(
            [sys.executable, "-m", "archon_batch", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        """What the command prints; it must end with that status."""
        command = self.start(*arguments)
        out, err = command.communicate(timeout=100)
        assert command.returncode == status, f"{arguments}: {command.returncode}\n{out}\n{err}"
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def lines(self, name: str) -> list[dict[str, Any]]:
        with (self.folder / name).open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def nano_usd(self, job: str) -> int:
        """What the ledger says was paid, as an exact sum of what its entries say."""
        usd: float = self.json("cost", job)["usd"]
        return round(usd * 10**9)

    @contextmanager
    def workers(self, pools: Mapping[str, str]) -> Iterator[None]:
        """Pools, by file name and text, as another machine would run them; ended by SIGTERM."""
        started = [self.start("worker", str(self.write(n, text))) for n, text in pools.items()]
        try:
            yield
        finally:
            for worker in started:
                worker.send_signal(signal.SIGTERM)
            for worker in started:
                worker.communicate(timeout=30)


def until(what: Any, seconds: float = 90.0) -> None:
    """Wait until ``what()`` is true; a bound, not a pause."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.05)
