"""A budget is never exceeded by the provider's count, even if processes share it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from archon_batch.archon import Call, Question, Reply, run_item
from archon_batch.engine.in_process import in_process_workers
from archon_batch.engine.runtime import Runtime
from archon_batch.engine.start_job import start_job
from archon_batch.errors import CallTimeoutError, RateLimitError
from archon_batch.money import NanoUsd, Price
from archon_batch.providers import ScriptedProvider, final_reply
from archon_batch.settings import Settings
from archon_batch.store import Job, Store
from tests.acceptance.stage import PRICES, Stage, until
from tests.builders import MODEL, a_job, a_question, an_architecture
from tests.provider import ProviderServer

pytestmark = pytest.mark.timeout(120)

PRICE = Price(150_300_000, 600_700_000)
LAYERS = an_architecture({"type": "generator", "samples": 3}, "critic", "ranker", "fuser")


class Books(ScriptedProvider):
    """Serves and bills; at times it asks for patience, or its answer does not arrive."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)  # noqa: S311  (no secret rests on it)
        self.bill: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        #: What was committed beyond a budget when a request came in.
        self.beyond: list[str] = []
        self.store: Store | None = None

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        assert self.store
        job = self.store.jobs.get(attempt_id.partition("/")[0])
        self.requests[job.id] += 1
        first, luck = attempt_id.endswith("/1"), self.dice.random()
        if first and luck < 0.05:
            raise RateLimitError(MODEL, "not now")
        reply = await super().complete(call, attempt_id)
        self.bill[job.id] += PRICE.cost(reply.usage) or 0
        committed = job.spent + job.held + job.in_doubt
        if job.budget is not None and max(committed, self.bill[job.id]) > job.budget:
            self.beyond.append(f"{attempt_id}: {committed}, {self.bill[job.id]} of {job.budget}")
        await asyncio.sleep(self.dice.uniform(0, 0.02))
        if first and luck < 0.10:
            raise CallTimeoutError(MODEL, "no answer in time")
        return reply


def _whole(questions: Sequence[Question]) -> int:
    """What the questions cost when nothing goes wrong."""
    ended = (run_item(LAYERS, question, final_reply) for question in questions)
    return sum(PRICE.cost(reply.usage) or 0 for _, replies in ended for reply in replies.values())


def _halted(store: Store, jobs: Sequence[Job]) -> bool:
    return all(store.jobs.get(job.id).state != "running" for job in jobs)


def _held(store: Store, books: Books, jobs: Sequence[Job]) -> list[str]:
    """The states of the jobs, each of whose ledgers agrees with the books and its budget."""
    found = [store.jobs.get(job.id) for job in jobs]
    for job in found:
        assert job.spent <= books.bill[job.id] <= job.spent + job.in_doubt
        assert job.held == 0
        assert job.budget is None or job.spent + job.in_doubt <= job.budget
    assert books.beyond == []
    return [job.state for job in found]


def test_twenty_budgets_hold_while_their_jobs_run_side_by_side(any_url: str) -> None:
    dice, books = Random(4), Books(4)  # noqa: S311
    here = Runtime(Settings(database_url=any_url, max_in_flight=48), books)
    books.store = here.store
    questions = [a_question(f"What is {n} + {n}?", row=f"row-{n}") for n in range(6)]
    jobs = [
        a_job(
            here.store, name=f"budget {n}", architecture=LAYERS, questions=questions, shard=2,
            prices={MODEL: PRICE}, reuse=False, budget=int(_whole(questions) * dice.uniform(0.05, 2)),
        )
        for n in range(20)
    ]  # fmt: skip

    with in_process_workers(here):
        for job in jobs:
            start_job(here.store, job)
        until(lambda: _halted(here.store, jobs))
    states = _held(here.store, books, jobs)
    assert Counter(states).keys() == {"paused", "done"}
    requests = books.requests.copy()

    here.close()
    again = Runtime(Settings(database_url=any_url, max_in_flight=48), books)
    books.store = again.store
    paused = [job for job, state in zip(jobs, states, strict=True) if state == "paused"]
    late = a_job(again.store, name="late", architecture=LAYERS, reuse=False)
    with in_process_workers(again):
        for job in [*paused, late]:
            start_job(again.store, job)
        until(lambda: again.store.jobs.get(late.id).state == "done")
        assert books.requests - requests == {late.id: books.requests[late.id]}

        for job in paused:
            again.store.jobs.set_budget(job.id, NanoUsd(10 * _whole(questions)))
            again.store.jobs.change_state(job.id, "running", from_states=["paused"])
            start_job(again.store, job)
        until(lambda: _halted(again.store, jobs))
    assert set(_held(again.store, books, jobs)) == {"done"}
    assert all(again.store.usage.progress(job.id).answered == len(questions) for job in jobs)
    again.close()


def test_two_processes_share_a_budget_pause_and_continue(tmp_path: Path, any_url: str) -> None:
    stage = Stage(tmp_path, ARCHON_BATCH_DATABASE_URL=any_url)
    stage.dataset(12)
    submit = ("submit", "rows.jsonl", "--arch", "layered.yaml", "--name", "shared")

    with ProviderServer(prices=PRICES, latency=0.05, faults={"reset": 0.03}, seed=2) as provider:
        stage.architecture(provider.url)
        both = [stage.start(*submit, "--budget", "0.003") for _ in range(2)]
        said = [process.communicate(timeout=60) for process in both]

        assert [process.returncode for process in both] == [4, 4], said
        paused = stage.json("status", "shared")
        assert (paused["state"], paused["in_flight_usd"]) == ("paused", 0)
        assert 0 < provider.bill <= 3_000_000
        assert provider.request_count == paused["attempts"]
        assert stage.nano_usd("shared") <= provider.bill

        stage.run("resume", "shared", "--budget", "5")
    done = stage.json("status", "shared")
    assert done["answered"] == 12
    assert provider.request_count == done["attempts"]
    assert 0 <= provider.bill - round(done["usd"] * 10**9) <= round(done["in_doubt_usd"] * 10**9)
