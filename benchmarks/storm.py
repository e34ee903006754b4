"""Commands killed at random moments, several at once: ``python -m benchmarks.storm``.

Processes submit, resume, retry, cancel, export and purge on one database, on each other's jobs, and
most of them are killed with SIGKILL. After each round no process runs, and the ledger of every job is
verified, every request in the provider's journal is compared with the ledger, and one job is finished
by the command for its state: there must be one, wherever the processes died.

Each command is forked from a process that has imported the program, so that a kill hits its work and
not its start. ``--database postgres`` creates a database on the server at 127.0.0.1.
"""

import argparse
import asyncio
import faulthandler
import gc
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import sqlalchemy as sa

from archon_batch.application import run
from archon_batch.archon import Call, Reply
from archon_batch.cli import main as command
from archon_batch.config import component_types
from archon_batch.engine import runtime
from archon_batch.errors import CallTimeoutError, RateLimitError
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.jobs.verify import verify_job
from archon_batch.money import Price
from archon_batch.providers import ScriptedProvider
from archon_batch.store import Job, Store, schema

#: Modules that commands import lazily; imported before forking.
_NEEDED = (
    "alembic.command", "archon_batch.cli.cache", "archon_batch.cli.export",
    "archon_batch.cli.resume", "archon_batch.cli.submit", "celery.app.amqp", "celery.app.control",
    "celery.app.events", "celery.backends.cache", "celery.concurrency.thread",
    "celery.loaders.app", "celery.worker.components",
    "celery.worker.consumer.delayed_delivery", "celery.worker.strategy", "dotenv.main",
    "encodings.utf_8_sig", "kombu.pidbox", "kombu.transport.memory",
)  # fmt: skip
ARCHITECTURE = """\
name: storm
models: {one: {model: scripted/plausible, price: {input: 0.1503, output: 0.6007}}}
defaults: {model: one, max_tokens: 64}
layers:
  - {type: generator, samples: 2}
  - {type: ranker}
  - {type: fuser}
"""
_ROWS = 16
#: USD: enough for a part of a job, and for more than all of it.
_SMALL_BUDGET, _FULL_BUDGET = "0.0006", "5"
#: Jobs at a time; a new one replaces a finished one.
_JOBS = 3
#: Commands per round, seconds until the last is killed, and the share that is killed.
_AT_ONCE, _ROUND_SECONDS, _KILL_SHARE = 4, 3.0, 0.8
#: The share of rounds after which a job is finished, and before which a job is fully funded.
_FINISH_SHARE, _RAISE_SHARE = 0.3, 0.3
#: Commands that a job may need to finish: it may be cancelled, and its budget used up.
_MAX_TRIES = 4
#: Seconds after which a command counts as hanging.
_TIMEOUT = 120.0
_SERVER = "postgresql+psycopg://postgres@127.0.0.1/"


class _RecordingProvider:
    """Records a request on disk before it answers, fails, or is killed."""

    def __init__(self) -> None:
        self._scripted = ScriptedProvider()
        self._bill = os.open("bill.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._rng = random.Random()  # noqa: S311

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        chance = self._rng.random()
        if chance < 0.03:  # noqa: PLR2004
            raise RateLimitError(call.model.model, "not now", 0.01)
        reply = await self._scripted.complete(call, attempt_id)
        assert call.model.price
        entry = {
            "attempt": attempt_id,
            "nano_usd": Price.from_list_price(call.model.price).cost(reply.usage),
        }
        os.write(self._bill, f"{json.dumps(entry)}\n".encode())
        await asyncio.sleep(self._rng.uniform(0, 0.3))
        if chance > 0.97:  # noqa: PLR2004
            raise CallTimeoutError(call.model.model, "no answer")
        return reply

    async def close(self) -> None:
        os.close(self._bill)


class Storm:
    def __init__(self, folder: Path, url: str, seed: int) -> None:
        self.folder, self.url = folder, url
        self.rng = random.Random(seed)  # noqa: S311
        self.figures: Counter[str] = Counter()
        self.names = [f"job-{n}" for n in range(_JOBS)]
        self._count = _JOBS
        #: Jobs whose budget is sufficient by now.
        self.fully_funded: set[str] = set()
        os.environ["ARCHON_BATCH_DATABASE_URL"] = url
        os.environ["ARCHON_BATCH_SPOOL"] = str(folder / "spool")
        (folder / "storm.yaml").write_text(ARCHITECTURE)

    def run(self, kills: int) -> None:
        """Run rounds until that many commands were killed; then finish every job."""
        while self.figures["kills"] < kills:
            self._run_round()
            self._check_ledgers()
            name = self.rng.choice(self.names)
            if self.rng.random() < _FINISH_SHARE and self._finish_job(name):
                self.names.remove(name)
                self.names.append(f"job-{self._count}")
                self._count += 1
            sys.stdout.write(f"\r{dict(self.figures)}    ")
            sys.stdout.flush()
        for name in self.names:
            self._finish_job(name)
        self._check_ledgers()
        bill = self.folder / "bill.jsonl"
        self.figures["requests"] = len(bill.read_text().splitlines())
        self.figures.update(json.loads(self._in_child_process(lambda: _outcomes(self.url))))

    def _run_round(self) -> None:
        # Never lower a budget: it would rightly be exceeded.
        self.fully_funded |= {name for name in self.names if self.rng.random() < _RAISE_SHARE}
        began = time.monotonic()
        running_commands: list[tuple[float, int, list[str]]] = []
        for _ in range(_AT_ONCE):
            arguments = self._random_command(self.rng.choice(self.names))
            life = (
                self.rng.uniform(0, _ROUND_SECONDS) if self.rng.random() < _KILL_SHARE else _TIMEOUT
            )
            running_commands.append(
                (began + life, self._fork(partial(command, arguments)), arguments)
            )
        for until, pid, arguments in sorted(running_commands):
            time.sleep(max(0.0, min(until, began + _ROUND_SECONDS) - time.monotonic()))
            if until < began + _TIMEOUT:
                os.kill(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            self.figures["commands"] += 1
            self.figures["kills"] += status == -signal.SIGKILL
            # A refusal, since another command changed the job, is fine.
            if status not in (-signal.SIGKILL, 0, 1, 2, 4):
                self._fail(f"{arguments} ended with {status}")

    def _random_command(self, name: str) -> list[str]:
        rows = self.folder / f"{name}.jsonl"
        if not rows.exists():
            each = ({"id": f"{name}-{n}", "prompt": f"{name}: {n} + {n}?"} for n in range(_ROWS))
            rows.write_text("".join(f"{json.dumps(row)}\n" for row in each))
        alone = ["--processes", "1"]
        submit = ["submit", rows.name, "--arch", "storm.yaml", "--name", name, "--shard-size", "2"]
        budget = ["--budget", _FULL_BUDGET if name in self.fully_funded else _SMALL_BUDGET]
        return self.rng.choice(
            [
                [*submit, *alone, *budget, "-o", f"{name}.out.jsonl", "--force"],
                [*submit, *alone, *budget],
                [*submit, *budget, "--detach"],
                ["resume", name, *alone],
                ["resume", name, *alone, *budget],
                ["resume", name, *alone, *budget],
                ["retry", name, *alone],
                ["retry", name, *alone, "--where", "status=cancelled"],
                ["cancel", name],
                ["export", name, "-o", f"{name}.out.jsonl", "--force"],
                ["cache", "purge", "--older-than", "0m"],
            ]
        )

    def _finish_job(self, name: str) -> bool:
        """Finish the job; return whether it exists."""
        for attempt in range(_MAX_TRIES):
            state = self._state(name)
            if state in (None, "done"):
                return state is not None
            self.fully_funded.add(name)
            again = (
                ["retry", name]
                if state == "cancelled"
                else ["resume", name, "--budget", _FULL_BUDGET]
            )
            pid = self._fork(partial(command, [*again, "--processes", "1"]))
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            self.figures["ways out"] += 1
            # A cancelled job may have used up its budget: then resume raises it.
            if status not in (0, 1, 4):
                self._fail(f"no way out of {state}, try {attempt}: {again} ended with {status}")
        return self._fail(f"{name} does not finish")

    def _state(self, name: str) -> str | None:
        return self._in_child_process(lambda: _job_state(self.url, name)) or None

    def _in_child_process(self, what: Callable[[], str]) -> str:
        """Run a function in a child process: a store has threads, which a fork would lose."""
        file = self.folder / "result"
        file.unlink(missing_ok=True)
        os.waitpid(self._fork(lambda: file.write_text(what())), 0)
        return file.read_text() if file.exists() else self._fail("the check failed; see output.txt")

    def _check_ledgers(self) -> None:
        wrong = self._in_child_process(lambda: "\n".join(_problems(self.url, self.folder)))
        if wrong:
            self._fail(wrong)
        self.figures["checks"] += 1

    def _fork(self, what: Callable[[], object]) -> int:
        assert threading.active_count() == 1, "other threads do not survive a fork"
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            os.chdir(self.folder)
            output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for number in (1, 2):
                os.dup2(output, number)
            faulthandler.dump_traceback_later(_TIMEOUT, exit=True)
            vars(runtime).update(ProviderRouter=lambda _timeout: _RecordingProvider())
            vars(run).update(_POLL_SECONDS=0.05, _PAUSE_FACTOR=0)
            what()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            status = 99
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _fail(self, why: str) -> NoReturn:
        copy = tempfile.mkdtemp(prefix="storm-")
        os.system(f"cp -r {self.folder}/. {copy}")  # noqa: S605
        sys.exit(f"\n{why}\n{dict(self.figures)}; copied to {copy}, {self.url}")


def _job_state(url: str, name: str) -> str:
    store = Store.open(url)
    found = store.jobs.newest_named(name)
    store.close()
    return found.state if found else ""


def _outcomes(url: str) -> str:
    """The number of attempts by state and outcome, as JSON."""
    store = Store.open(url)
    with store.database.read_transaction() as connection:
        found = connection.execute(sa.select(schema.attempts.c.state, schema.attempts.c.outcome))
        counts = Counter(f"{row.state} {row.outcome}" for row in found)
    store.close()
    return json.dumps(counts)


def _problems(url: str, folder: Path) -> Iterator[str]:
    """Violations in any job's ledger and in the provider's journal."""
    store = Store.open(url, folder / "spool")
    try:
        for job in store.jobs.all():
            yield from _ledger_problems(store, job)
        yield from _bill_problems(store, folder / "bill.jsonl")
    finally:
        store.close()


def _ledger_problems(store: Store, job: Job) -> Iterator[str]:
    for check in verify_job(store, job, load_frozen_job(job, component_types())):
        if not check.ok:
            yield f"{job.name} ({job.state}): {check.name}: {check.detail}"


def _bill_problems(store: Store, bill: Path) -> Iterator[str]:
    with store.database.read_transaction() as connection:
        rows = connection.execute(sa.select(schema.attempts)).all()
    attempts = {f"{row.job_id}/{row.ix}/{row.key}/{row.attempt_number}": row for row in rows}
    seen: set[str] = set()
    for line in bill.read_text().splitlines() if bill.exists() else ():
        entry = json.loads(line)
        name, cost = entry["attempt"], entry["nano_usd"]
        row = attempts.get(name)
        if name in seen:
            yield f"{name} was sent twice"
        seen.add(name)
        if row is None:
            yield f"{name} was sent but is not in the ledger"
        elif row.state == "billed" and row.cost != cost:
            yield f"{name} is recorded at {row.cost}, but cost {cost}"
        elif row.state in ("sending", "in_doubt") and row.hold < cost:
            yield f"{name} may have cost more than is kept back"
        elif row.state not in ("billed", "sending", "in_doubt"):
            yield f"{name} is {row.state}, but was paid"


@contextmanager
def _database(word: str, folder: Path) -> Iterator[str]:
    if word == "sqlite":
        yield f"sqlite:///{folder}/storm.db"
        return
    if word != "postgres":
        yield word
        return
    name = f"archon_batch_storm_{os.getpid()}"
    server = sa.create_engine(f"{_SERVER}postgres", isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    # A fork must not inherit this connection.
    server.dispose()
    yield f"{_SERVER}{name}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=500)
    options.add_argument("--database", default="sqlite", help="sqlite, postgres, or a URL")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    for name in _NEEDED:
        import_module(name)
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as name, _database(given.database, Path(name)) as url:
        storm = Storm(Path(name), url, given.seed)
        storm.run(given.kills)
        sys.stdout.write(f"\nthe ledgers are correct: {dict(storm.figures)}\n")


if __name__ == "__main__":
    main()
