"""The same job under every fault: ``python -m benchmarks.faults --rows 1000``.

The first line is the job in one process on SQLite. Every other line is a run with three workers, its
own servers, and one fault in the middle; nobody resumes anything. Each run must give the same answers
at the same cost as the first, and its ledger must match the provider's journal. Only calls in flight
of a killed or frozen worker may be paid twice.

``gap`` is the longest time after the fault, until the end of the job, without a request to the
provider: the recovery time. If a broker is down, it counts from its return. ``row`` is the longest wait
of a started row for its next call; most of it is queueing, as the run without a fault shows.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fleet import CLOCK_AHEAD, CUTTABLE_LINK, IN_FLIGHT, Fleet, run_fleet
from benchmarks.wire import why_unavailable
from tests.acceptance.stage import PRICES, Stage, until
from tests.provider import JournalEntry, ProviderServer, clock

#: Calls per row.
CALLS = 8
#: Seconds within which work must continue after a fault.
RECOVERY_SECONDS = 30.0
_TIMEOUT = 1800.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    inject: Callable[[Fleet], None] = lambda _: None
    #: Whether no work is possible before the fault ends.
    blocks_progress: bool = False
    brokers: Sequence[str] = ("redis", "rabbit")
    #: What is special about the first worker.
    first_worker: str = ""
    #: How many calls may be paid twice.
    allowed_duplicates: int = 0


FAULTS = {
    "none": Fault(),
    "FLUSHALL": Fault(inject=Fleet.flush_broker, brokers=["redis"]),
    "broker killed": Fault(inject=Fleet.restart_broker, blocks_progress=True),
    "broker frozen": Fault(inject=Fleet.freeze_broker, blocks_progress=True),
    "database killed x 3": Fault(inject=Fleet.restart_database),
    "worker killed": Fault(inject=Fleet.kill_worker, allowed_duplicates=IN_FLIGHT),
    "worker frozen": Fault(inject=Fleet.freeze_worker, allowed_duplicates=IN_FLIGHT),
    "clock 2 h ahead": Fault(first_worker=CLOCK_AHEAD),
    "messages lost": Fault(inject=Fleet.lose_messages),
    "5 messages lost": Fault(inject=Fleet.lose_five_messages),
    "messages twice": Fault(inject=Fleet.duplicate_messages, brokers=["redis"]),
    "link cut": Fault(inject=Fleet.cut_link, brokers=["redis"], first_worker=CUTTABLE_LINK),
}


@dataclass(frozen=True, kw_only=True)
class FaultResult:
    """The result of a run, as the commands and the provider report it."""

    status: dict[str, Any]
    answers: Sequence[str]
    cost: dict[str, Any]
    requests: int
    bill: int
    #: From the start of the command to the end of the job.
    seconds: float
    #: Workers that exited without being killed.
    died: int = 0
    longest_gap: float = 0.0
    longest_row_wait: float = 0.0

    @property
    def duplicates(self) -> int:
        return self.requests - CALLS * len(self.answers)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--latency", type=float, default=0.1, help="of a call, in seconds")
    options.add_argument("--brokers", nargs="+", default=["redis", "rabbit"])
    options.add_argument("--faults", nargs="+", default=list(FAULTS), choices=FAULTS)
    given = options.parse_args()
    _print_row(
        "broker", "fault", ["answered", "requests", "twice", "in doubt", "s", "gap s", "row s"]
    )
    with tempfile.TemporaryDirectory() as folder:
        alone = _run_alone(Path(folder), given.rows, given.latency)
    _print_row("none", "(SQLite)", _cells(alone))
    failed = False
    for broker in given.brokers:
        for name in given.faults:
            fault = FAULTS[name]
            if broker not in fault.brokers:
                continue
            if fault.first_worker == CUTTABLE_LINK and (why := why_unavailable()):
                print(f"{broker:<8} {name:<20} skipped: {why}", flush=True)
                continue
            with run_fleet(broker, given.rows, given.latency, fault.first_worker) as here:
                ran = _run(here, fault, given.rows)
            wrong = list(_problems(ran, alone, fault))
            failed = failed or bool(wrong)
            _print_row(broker, name, [*_cells(ran), "; ".join(wrong)])
    sys.exit(failed)


def _print_row(broker: str, fault: str, cells: Sequence[str]) -> None:
    print(f"{broker:<8} {fault:<20} {' '.join(f'{cell:>8}' for cell in cells)}", flush=True)


def _cells(ran: FaultResult) -> list[str]:
    counts = (ran.status["answered"], ran.requests, ran.duplicates, ran.status["attempts_in_doubt"])
    seconds = (ran.seconds, ran.longest_gap, ran.longest_row_wait)
    return [*map(str, counts), *(f"{each:.1f}" for each in seconds)]


def _problems(ran: FaultResult, alone: FaultResult, fault: Fault) -> Sequence[str]:
    """The expectations that the run violates."""
    sure, most = (round(ran.cost[name] * 10**9) for name in ("usd", "in_doubt_usd"))
    paid_once = ran.duplicates > 0 or _layer_costs(ran) == _layer_costs(alone)
    checks = {
        "other answers": list(ran.answers) == list(alone.answers),
        "rows without an answer": ran.status["answered"] == len(alone.answers),
        "a worker died": ran.died == 0,
        "paid twice": 0 <= ran.duplicates <= fault.allowed_duplicates,
        "requests that are not on the ledger": ran.status["attempts"] >= ran.requests,
        "another bill than the ledger's": sure <= ran.bill <= sure + most,
        "another account": paid_once,
        f"no recovery within {RECOVERY_SECONDS:.0f} s": ran.longest_gap <= RECOVERY_SECONDS,
    }
    return [what for what, holds in checks.items() if not holds]


def _layer_costs(ran: FaultResult) -> list[dict[str, Any]]:
    """Usage and cost by layer."""
    return list(ran.cost["by"])


def _run_alone(folder: Path, rows: int, latency: float) -> FaultResult:
    """Run the job in one process, without workers."""
    stage = Stage(folder)
    stage.dataset(rows)
    with ProviderServer(prices=PRICES, latency=latency) as provider:
        stage.architecture(provider.url)
        began = time.monotonic()
        command = stage.start("submit", "rows.jsonl", "--arch", "layered.yaml")
        out, err = command.communicate(timeout=_TIMEOUT)
        assert command.returncode == 0, err
        return _collect_result(stage, out.strip(), provider, seconds=time.monotonic() - began)


def _run(here: Fleet, fault: Fault, rows: int) -> FaultResult:
    """Run the job, with the fault after a quarter of its calls."""
    stage, provider = here.stage, here.provider
    began = time.monotonic()
    job = stage.run("submit", "rows.jsonl", "--arch", "layered.yaml").strip()
    until(lambda: provider.request_count >= rows * CALLS // 4, _TIMEOUT)
    at = clock()
    fault.inject(here)
    at = clock() if fault.blocks_progress else at
    until(lambda: stage.json("status", job)["state"] != "running", _TIMEOUT)
    seconds, end = time.monotonic() - began, clock()
    if fault.inject is Fleet.freeze_worker:
        # Its late answers resolve the unknown billing.
        until(lambda: stage.json("status", job)["attempts_in_doubt"] == 0, RECOVERY_SECONDS)
    heard = [at, *(entry.time for entry in provider.entries if entry.time > at), end]
    died = sum(worker.poll() is not None for worker in here.workers) - (
        fault.inject is Fleet.kill_worker
    )
    row = _longest_row_wait(provider.entries, at)
    times = {"seconds": seconds, "gap": _longest_gap(heard), "row": row}
    return _collect_result(stage, job, provider, died=died, **times)


def _collect_result(
    stage: Stage, job: str, provider: ProviderServer, died: int = 0, **times: float
) -> FaultResult:
    stage.run("verify", job)
    stage.run("export", job, "-o", "out.jsonl")
    return FaultResult(
        status=stage.json("status", job),
        answers=[row["answer"] for row in stage.lines("out.jsonl")],
        cost=stage.json("cost", job, "--by", "layer"),
        requests=provider.request_count,
        bill=provider.bill,
        died=died,
        **times,
    )


def _longest_row_wait(entries: Sequence[JournalEntry], at: float) -> float:
    """The longest time between two requests of a row, if the second was after the fault."""
    rows: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        _, row, *_ = str(entry.client_request_id).split("/")
        rows[row].append(entry.time)
    return max(b - a for times in rows.values() for a, b in itertools.pairwise(times) if b > at)


def _longest_gap(times: Sequence[float]) -> float:
    return max((b - a for a, b in itertools.pairwise(sorted(times))), default=0.0)


if __name__ == "__main__":
    main()
