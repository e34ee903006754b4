"""A job under faults and kills, and an audit after it: ``python -m benchmarks.chaos``.

Rows run through four layers while the provider refuses calls, resets connections and garbles replies.
Meanwhile the processes that make the calls are killed with SIGKILL, each a second or two after its
first answer, and restarted. Then every entry of the provider's journal is compared with the ledger, to
the nano-dollar.

Without ``--broker`` the process is ``archon-batch submit``, and the same command continues. With it,
workers use that broker, and ``archon-batch resume`` runs after each kill, since a killed worker takes
its messages with it. Use a database and a broker that nothing else uses; messages of killed workers
stay in the broker for hours.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TextIO

import sqlalchemy as sa

from archon_batch.money import to_usd
from archon_batch.store import Job, Store, schema
from tests.acceptance.stage import PRICES, Stage
from tests.fork_server import Popen
from tests.provider import ProviderServer

#: A row of a table.
Record = sa.Row[Any]

NAME = "chaos"
FAULTS = {
    "429": 0.10, "overloaded": 0.08, "500": 0.02, "reset": 0.05, "garbage": 0.02, "empty": 0.02,
}  # fmt: skip

#: Seconds between polls, and until a run that does not end fails.
_POLL_SECONDS, _TIMEOUT = 0.05, 1800.0


@dataclass(frozen=True, kw_only=True)
class ChaosRun:
    rows: int = 300
    faults: Mapping[str, float] = field(default_factory=lambda: FAULTS)
    #: The longest latency of a call, in seconds.
    latency: float = 0.4
    #: Seconds from a process's first answer to its kill: minimum and maximum.
    lifetimes: tuple[float, float] = (1.0, 2.0)
    #: The most kills.
    max_kills: int = 1000
    #: Rows per shard.
    shard: int = 16
    #: Worker processes; 0 runs the command without a broker.
    workers: int = 0
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class ChaosResult:
    rows: int
    answered: int
    #: Failed rows by reason.
    failed: Mapping[str, int]
    kills: int
    requests: int
    attempts: int
    calls: int
    #: Attempts by state, and by outcome.
    states: Mapping[str, int]
    outcomes: Mapping[str, int]
    #: Attempts in flight when their process was killed, and how many of them were paid.
    in_flight_at_kills: int
    paid_at_kills: int
    #: Repeated payments for a call, caused by kills and by broken answers.
    extra_paid_by_kills: int
    extra_paid_by_faults: int
    #: Nano-dollars: the provider's journal, the ledger, and journal entries of unknown billing.
    bill: int
    ledger: int
    bill_in_doubt: int
    #: The most that calls of unknown billing may cost, by the ledger.
    in_doubt: int
    seconds: float
    #: Violations that the audit found.
    problems: list[str] = field(default_factory=list)


def main() -> None:
    given = _options().parse_args()
    settings = ChaosRun(
        rows=given.rows,
        latency=given.latency,
        lifetimes=tuple(given.lives),
        max_kills=given.kills,
        workers=given.workers if given.broker else 0,
        seed=given.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        urls = {"DATABASE": given.database, "BROKER": given.broker}
        environment = {f"ARCHON_BATCH_{k}_URL": url for k, url in urls.items() if url}
        figures = run(Stage(Path(folder), **environment), settings)
    for name, value in asdict(figures).items():
        print(f"{name.replace('_', ' '):<22} {_format_value(name, value)}")
    print(json.dumps(asdict(figures)))
    sys.exit(bool(figures.problems))


def _options() -> argparse.ArgumentParser:
    settings = ChaosRun()
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=settings.rows)
    options.add_argument(
        "--latency", type=float, default=settings.latency, help="at most, in seconds"
    )
    options.add_argument(
        "--lives", type=float, nargs=2, default=settings.lifetimes, help="in seconds"
    )
    options.add_argument("--kills", type=int, default=settings.max_kills, help="at most")
    options.add_argument("--seed", type=int, default=settings.seed)
    options.add_argument("--database", help="URL; default: a SQLite file of its own")
    options.add_argument("--broker", help="URL; default: none, the command makes the calls")
    options.add_argument("--workers", type=int, default=3, help="processes over the broker")
    return options


def _format_value(name: str, value: object) -> str:
    if isinstance(value, int) and name in {"bill", "ledger", "bill_in_doubt", "in_doubt"}:
        return f"{to_usd(value):.9f} USD"
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {key}" for key, count in sorted(value.items())) or "none"
    return str(value) if value != [] else "nothing"


def run(stage: Stage, settings: ChaosRun) -> ChaosResult:
    """One run, from its first command to the audit."""
    rng = Random(settings.seed)  # noqa: S311  (not a secret)
    began = time.monotonic()
    stage.dataset(settings.rows)
    provider = ProviderServer(
        faults=settings.faults,
        latency=lambda _: rng.uniform(0, settings.latency),
        prices=PRICES,
        seed=settings.seed,
    )
    with provider, _open_tables(stage) as ledger:
        stage.architecture(provider.url)
        kills = (_run_with_broker if settings.workers else _run_without_broker)(
            stage, settings, ledger
        )
        return audit(ledger, provider, kills, time.monotonic() - began)


class TableReader:
    """Reads the tables directly, not through the program's own totals."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def job(self) -> Job:
        found = self.store.jobs.newest_named(NAME)
        assert found is not None
        return found

    def rows(self, table: sa.Table) -> list[Record]:
        with self.store.database.read_transaction() as connection:
            return list(connection.execute(sa.select(table).where(table.c.job_id == self.job.id)))

    def has_answered(self, pid: int) -> bool:
        """Whether the process has recorded an answer."""
        table = schema.attempts.c
        query = sa.select(table.attempt_number).where(
            table.owner.contains(f":{pid}:"), table.outcome == "ok"
        )
        with self.store.database.read_transaction() as connection:
            return connection.execute(query.limit(1)).first() is not None


@contextmanager
def _open_tables(stage: Stage) -> Iterator[TableReader]:
    own = f"sqlite:///{stage.folder}/archon-batch.db"
    store = Store.open(stage.environment.get("ARCHON_BATCH_DATABASE_URL", own))
    try:
        yield TableReader(store)
    finally:
        store.close()


class _KilledProcess:
    """A process that is killed some time after its first answer, and restarted."""

    def __init__(self, start: Callable[[], subprocess.Popen[Any]], ledger: TableReader) -> None:
        self._start, self._ledger = start, ledger
        self.process = start()
        self._answered: float | None = None

    def is_kill_due(self, lifetime: float) -> bool:
        if self._answered is None and self._ledger.has_answered(self.process.pid):
            self._answered = time.monotonic()
        lived = 0.0 if self._answered is None else time.monotonic() - self._answered
        return lived > lifetime and self.process.poll() is None

    def kill_and_restart(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.process, self._answered = self._start(), None


def _submit_command(settings: ChaosRun) -> tuple[str, ...]:
    where = ("rows.jsonl", "--arch", "layered.yaml", "--name", NAME)
    return ("submit", *where, "--shard-size", str(settings.shard))


def _run_without_broker(stage: Stage, settings: ChaosRun, ledger: TableReader) -> int:
    """Run the command repeatedly until it ends by itself; return the number of kills."""
    rng = Random(settings.seed)  # noqa: S311
    killed = _KilledProcess(lambda: stage.start(*_submit_command(settings)), ledger)
    kills, life = 0, rng.uniform(*settings.lifetimes)
    for _ in _poll():
        if killed.process.poll() is not None:
            break
        if kills < settings.max_kills and killed.is_kill_due(life):
            killed.kill_and_restart()
            kills, life = kills + 1, rng.uniform(*settings.lifetimes)
    _, err = killed.process.communicate()
    assert killed.process.returncode in (0, 1), err
    return kills


def _run_with_broker(stage: Stage, settings: ChaosRun, ledger: TableReader) -> int:
    """Run the job with workers; return the number of kills."""
    rng = Random(settings.seed)  # noqa: S311
    stage.run(*_submit_command(settings))
    kills, life = 0, rng.uniform(*settings.lifetimes)
    with (stage.folder / "workers.log").open("w") as log:
        processes = [
            _KilledProcess(_worker(stage, n, log), ledger) for n in range(settings.workers)
        ]
        try:
            for _ in _poll():
                if ledger.job.state != "running":
                    break
                due = [killed for killed in processes if killed.is_kill_due(life)]
                if due and kills < settings.max_kills:
                    due[0].kill_and_restart()
                    kills, life = kills + 1, rng.uniform(*settings.lifetimes)
                    # Exit status 2 means that the job is done.
                    resume = stage.start("resume", NAME)
                    _, err = resume.communicate()
                    assert resume.returncode in (0, 2), err
        finally:
            for killed in processes:
                killed.process.terminate()
            for killed in processes:
                killed.process.communicate()
    assert ledger.job.state == "done", ledger.job.reason
    return kills


def _worker(stage: Stage, number: int, log: TextIO) -> Callable[[], subprocess.Popen[Any]]:
    """Starts a worker without a supervising pool, so that its pid is known."""
    command = [
        sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "worker",
        "--pool", "threads", "--concurrency", "32", "--queues", "calls,joins",
        "--hostname", f"chaos-{number}@%h", "--loglevel", "warning",
    ]  # fmt: skip
    return lambda: Popen(command, cwd=stage.folder, env=stage.environment, stdout=log, stderr=log)


def _poll() -> Iterator[None]:
    end = time.monotonic() + _TIMEOUT
    while time.monotonic() < end:
        yield
        time.sleep(_POLL_SECONDS)
    raise TimeoutError("the job does not end")


def audit(ledger: TableReader, provider: ProviderServer, kills: int, seconds: float) -> ChaosResult:
    """Compare the ledger with the provider's journal, and both with the guarantees."""
    items, calls = ledger.rows(schema.items), ledger.rows(schema.calls)
    attempts = {_attempt_id(a): a for a in ledger.rows(schema.attempts)}
    paid = {str(entry.client_request_id): entry.nanousd for entry in provider.entries}
    by_call: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for attempt in attempts.values():
        by_call[attempt.ix, attempt.key].append(attempt)
    in_doubt = [name for name, a in attempts.items() if a.state == "in_doubt"]
    died = [name for name, a in attempts.items() if a.outcome == "worker_died"]
    # All payments of a call except one are extra; attribute them to kills before faults.
    extra = by_kill = 0
    for tries in by_call.values():
        served = [name for name in map(_attempt_id, tries) if paid.get(name)]
        more = max(0, len(served) - 1)
        extra += more
        by_kill += min(more, len(set(served).intersection(died)))
    figures = ChaosResult(
        rows=len(items),
        answered=sum(i.status == "answered" for i in items),
        failed=dict(Counter(str(i.reason) for i in items if i.status == "failed")),
        kills=kills,
        requests=provider.request_count,
        attempts=len(attempts),
        calls=len(calls),
        states=dict(Counter(a.state for a in attempts.values())),
        outcomes=dict(Counter(str(a.outcome) for a in attempts.values())),
        in_flight_at_kills=len(died),
        paid_at_kills=sum(paid.get(name, 0) > 0 for name in died),
        extra_paid_by_kills=by_kill,
        extra_paid_by_faults=extra - by_kill,
        bill=provider.bill,
        ledger=sum(a.cost or 0 for a in attempts.values()),
        bill_in_doubt=sum(paid.get(name, 0) for name in in_doubt),
        in_doubt=sum(attempts[name].hold for name in in_doubt),
        seconds=round(seconds, 1),
    )
    settled = {(call.ix, call.key) for call in calls}
    figures.problems.extend([
        *_row_problems(items),
        *_entry_problems(provider, attempts),
        *_call_problems(by_call, settled, paid),
        *_sum_problems(figures, ledger.job),
    ])  # fmt: skip
    return figures


def _attempt_id(attempt: Record) -> str:
    return f"{attempt.job_id}/{attempt.ix}/{attempt.key}/{attempt.attempt_number}"


def _row_problems(items: Iterable[Record]) -> Iterator[str]:
    for item in items:
        shown = {"answered": item.answer, "failed": item.reason}.get(item.status)
        if not (shown or "").strip():
            yield f"row {item.row_id} is {item.status} with nothing to show"


def _entry_problems(provider: ProviderServer, attempts: Mapping[str, Record]) -> Iterator[str]:
    for name, times in Counter(entry.client_request_id for entry in provider.entries).items():
        if times > 1:
            yield f"{name} was sent {times} times"
    for entry in provider.entries:
        attempt = attempts.get(str(entry.client_request_id))
        if attempt is None:
            yield f"{entry.client_request_id} was sent and is not on the ledger"
            continue
        costs = {"billed": attempt.cost, "in_doubt": attempt.hold}.get(attempt.state, 0)
        least = costs if attempt.state == "billed" else 0
        if not least <= entry.nanousd <= costs:
            yield f"{_attempt_id(attempt)} is {attempt.state} with {costs}; its bill is {entry.nanousd}"


def _call_problems(
    by_call: Mapping[tuple[int, str], Sequence[Record]],
    settled: Container[tuple[int, str]],
    paid: Container[str],
) -> Iterator[str]:
    for call, tries in by_call.items():
        billed = [_attempt_id(a) for a in tries if a.state == "billed"]
        if call not in settled:
            yield f"call {call} has no reply"
        if len(billed) > 1:
            yield f"call {call} was paid for without a doubt by {billed}"
        for name in billed:
            if name not in paid:
                yield f"{name} is billed and was never sent"
        for attempt in tries:
            if attempt.state == "sending":
                yield f"{_attempt_id(attempt)} is in flight for ever"


def _sum_problems(figures: ChaosResult, job: Job) -> Iterator[str]:
    if figures.ledger + figures.bill_in_doubt != figures.bill:
        yield "the provider's bill is not the ledger's"
    if (job.spent, job.in_doubt, job.held) != (figures.ledger, figures.in_doubt, 0):
        yield f"the job's sums are not those of its entries: {job}"


if __name__ == "__main__":
    main()
