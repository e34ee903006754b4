"""The in-process engine gets the same results as the interpreter."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Literal

import pytest

from archon_batch.archon import (
    COMPONENT_TYPES,
    Call,
    Component,
    CountRange,
    Reply,
    read_architecture,
    run_item,
)
from archon_batch.engine import runtime, tasks
from archon_batch.engine.app import app, settings
from archon_batch.engine.in_process import in_process_workers
from archon_batch.engine.runtime import Runtime
from archon_batch.engine.start_job import start_job
from archon_batch.providers import ScriptedProvider, final_reply
from archon_batch.settings import Settings
from tests.builders import (
    a_job,
    a_question,
    a_random_architecture,
    an_architecture,
    as_stored,
    ends,
)

QUESTIONS = [a_question(f"What is {n} x {n}?", row=f"row-{n}") for n in range(12)]
FEW = QUESTIONS[:4]

#: Models for 67 architectures each, 201 in all.
MODELS = {
    "plausible": ["scripted/plausible"],
    "rough": ["scripted/rough"],
    "mixed": ["scripted/plausible", "scripted/rough"],
}


def until(true: Callable[[], bool], seconds: float = 40) -> None:
    """Wait until it is true; a bound, not a pause."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not true():
        assert time.monotonic() < end, "it did not become true in time"
        pause.wait(0.02)


@pytest.fixture
def here(tmp_path):
    opened = Runtime(Settings(database_url=f"sqlite:///{tmp_path}/store.db"))
    yield opened
    opened.close()


def is_done(store, jobs):
    return lambda: all(store.jobs.get(job.id).state == "done" for job in jobs)


@pytest.mark.parametrize("models", MODELS.values(), ids=MODELS)
def test_every_item_gets_the_same_result_as_from_the_interpreter(here, models):
    rows = FEW[:2]
    architectures = [a_random_architecture(seed, models) for seed in range(67)]
    jobs = [
        a_job(here.store, name=f"seed {seed}", architecture=one, questions=rows, shard=1)
        for seed, one in enumerate(architectures)
    ]

    with in_process_workers(here):
        for job in jobs:
            start_job(here.store, job)
        until(is_done(here.store, jobs))

    for job, architecture in zip(jobs, architectures, strict=True):
        expected = [as_stored(run_item(architecture, row, final_reply)[0]) for row in rows]
        assert ends(here.store, job) == expected, job.name
        assert here.store.jobs.get(job.id).held == 0


def test_a_cursor_moves_from_shard_to_shard(here):
    architecture = an_architecture("generator", "fuser")
    job = a_job(here.store, architecture=architecture, questions=QUESTIONS, shard=1, width=2)

    with in_process_workers(here):
        cursors = start_job(here.store, job)
        until(is_done(here.store, [job]))

    assert cursors == 2
    assert here.store.usage.progress(job.id).answered == 12


class Broken(Component):
    """Raises as soon as its first candidate exists."""

    type: Literal["broken"]

    def run(self, context):
        raise ZeroDivisionError(context.position)
        yield

    def call_count(self, candidates):
        return CountRange(candidates, candidates)

    def output_count(self, candidates):
        return CountRange(candidates, candidates)


def test_a_component_that_raises_stops_the_job_with_its_location(here, monkeypatch):
    monkeypatch.setattr(here, "_kinds", {**COMPONENT_TYPES, "broken": Broken})
    layers = [{"type": "generator", "model": "scripted/plausible"}], [{"type": "broken"}]
    architecture = read_architecture({"layers": list(layers)}, here._kinds, "tested")
    job = a_job(here.store, architecture=architecture, questions=FEW)

    with in_process_workers(here):
        start_job(here.store, job)
        until(lambda: here.store.jobs.get(job.id).state == "stopped")

    reason = here.store.jobs.get(job.id).reason or ""
    assert reason.startswith("layers[1][0]: the component broken raised ZeroDivisionError in ")
    assert here.store.usage.progress(job.id).open == len(FEW)


def test_a_job_without_open_rows_is_done_at_once(here):
    job = a_job(here.store, questions=0)

    cursors = start_job(here.store, job)

    assert cursors == 0
    assert here.store.jobs.get(job.id).state == "done"


class Holding(ScriptedProvider):
    """Answers some calls, and holds all later ones until released."""

    def __init__(self, calls: int):
        self.left = calls
        self.reached, self.released = threading.Event(), threading.Event()

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        self.left -= 1
        if self.left < 0:
            self.reached.set()
            await asyncio.to_thread(self.released.wait, 30)
        return await super().complete(call, attempt_id)


def test_an_interrupted_job_continues_and_pays_nothing_twice(tmp_path):
    where = Settings(database_url=f"sqlite:///{tmp_path}/store.db")
    provider = Holding(10)
    first = Runtime(where, provider)
    architecture = an_architecture("generator", "critic", "fuser")
    job = a_job(first.store, architecture=architecture, questions=QUESTIONS, shard=1, width=1)
    with in_process_workers(first):
        start_job(first.store, job)
        provider.reached.wait(30)
        first.stop()
        provider.released.set()
    paid = first.store.usage.total(job.id).attempts
    first.close()

    again = Runtime(where)
    with in_process_workers(again):
        start_job(again.store, job)
        until(is_done(again.store, [job]))

    assert paid == 11
    assert again.store.usage.total(job.id).attempts == 12 * 3
    again.close()


def test_starting_a_job_twice_sends_no_call_twice(here):
    architecture = an_architecture({"type": "generator", "samples": 3}, "fuser")
    job = a_job(here.store, architecture=architecture, questions=QUESTIONS, shard=4)

    with in_process_workers(here):
        start_job(here.store, job)
        start_job(here.store, job)
        until(is_done(here.store, [job]))

    assert here.store.usage.total(job.id).attempts == 12 * 4


def test_a_paused_job_starts_no_round(here):
    job = a_job(here.store, architecture=an_architecture("generator"), questions=QUESTIONS)
    here.store.jobs.change_state(job.id, "paused", from_states=["running"])
    other = a_job(here.store, name="other", architecture=an_architecture("generator"))

    with in_process_workers(here):
        start_job(here.store, job)
        start_job(here.store, other)
        until(is_done(here.store, [other]))

    assert here.store.usage.total(job.id).attempts == 0
    assert here.store.jobs.get(job.id).state == "paused"


def test_an_unknown_model_stops_its_job(here):
    architecture = an_architecture({"type": "generator", "model": "scripted/nobody"})
    job = a_job(here.store, architecture=architecture, questions=QUESTIONS)

    with in_process_workers(here):
        start_job(here.store, job)
        until(lambda: here.store.jobs.get(job.id).state != "running")

    stopped = here.store.jobs.get(job.id)
    assert stopped.state == "stopped"
    assert "there is no such script" in (stopped.reason or "")
    assert here.store.usage.progress(job.id).open == 12


@pytest.mark.parametrize("batch", [[], [(0, ["0.0.0.0"])], [(0, ["not a key"])], "not a list"])
def test_a_batch_that_cannot_be_executed_is_left_to_its_continuation(here, batch):
    runtime.install(here)
    job = a_job(here.store, architecture=an_architecture("critic"))

    (position,) = here.store.shard_cursors.start(job.id, 1, "broker", "joins")

    placed = [
        tasks.execute_task(job.id, position.cursor, position.token, batch),
        tasks.execute_task("nowhere", 0, "", batch),
    ]

    runtime.install(None)
    assert placed == [None, None]
    assert here.store.usage.total(job.id).attempts == 0


def test_the_runtime_is_installed_only_inside_the_body(here):
    with in_process_workers(here):
        assert runtime.current(settings) is here

    assert runtime._current is None


def test_messages_are_json_and_carry_no_prompt():
    assert settings.in_process
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
