"""Workers over a real Redis get the same results as the interpreter."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from archon_batch.archon import run_item
from archon_batch.providers import final_reply
from archon_batch.store import Store
from tests.builders import a_job, a_question, a_random_architecture, as_stored, ends
from tests.fork_server import Popen

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parents[2]

QUESTIONS = [a_question(f"What is {n} x {n}?", row=f"row-{n}") for n in range(12)]

ARCHITECTURES = {
    "plausible": a_random_architecture(1, ["scripted/plausible"]),
    "rough": a_random_architecture(2, ["scripted/rough"]),
}

START = """
import sys
from archon_batch.engine.app import settings
from archon_batch.engine.start_job import start_job
from archon_batch.store import Store
store = Store.open(settings.database_url)
for name in sys.argv[1:]:
    start_job(store, store.jobs.find(name))
store.close()
"""


@pytest.fixture
def environment(redis_url, tmp_path):
    return os.environ | {
        "ARCHON_BATCH_BROKER_URL": redis_url,
        "ARCHON_BATCH_DATABASE_URL": f"sqlite:///{tmp_path}/store.db",
        "ARCHON_BATCH_LOG": "warning",
    }


@contextmanager
def workers(environment, **queues):
    """One worker for each ``queue=threads``; all are killed at the end."""
    celery = [sys.executable, "-m", "celery", "-A", "archon_batch.engine.app", "worker"]
    started = [
        Popen(
            [
                *celery, "-P", "threads", "-c", str(threads), "-Q", queue, "-n", f"{queue}@test",
                "--without-mingle", "--without-gossip", "--loglevel", "warning",
            ],
            cwd=ROOT, env=environment,
        )
        for queue, threads in queues.items()
    ]  # fmt: skip
    try:
        yield started
    finally:
        for worker in started:
            worker.kill()
            worker.wait()


def until(true, seconds=40):
    """Wait until it is true; a bound, not a pause."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not true():
        assert time.monotonic() < end, "it did not become true in time"
        pause.wait(0.05)


def test_workers_of_two_queues_finish_every_item_and_stop_on_sigterm(environment, redis_url):
    store = Store.open(environment["ARCHON_BATCH_DATABASE_URL"])
    jobs = [
        a_job(store, name=name, architecture=architecture, questions=QUESTIONS, shard=5)
        for name, architecture in ARCHITECTURES.items()
    ]

    with workers(environment, calls=8, joins=2) as started:
        subprocess.run(
            [sys.executable, "-c", START, *ARCHITECTURES], cwd=ROOT, env=environment, check=True
        )
        until(lambda: all(store.jobs.get(job.id).state == "done" for job in jobs))
        for worker in started:
            worker.send_signal(signal.SIGTERM)
        codes = [worker.wait(60) for worker in started]

    assert codes == [0, 0]
    for job, architecture in zip(jobs, ARCHITECTURES.values(), strict=True):
        expected = [as_stored(run_item(architecture, row, final_reply)[0]) for row in QUESTIONS]
        assert ends(store, job) == expected, job.name
        assert store.jobs.get(job.id).held == 0
    store.close()
    with Redis.from_url(redis_url) as server:
        # Chords are counted in the database, and finished messages are removed.
        known = (b"_kombu.binding", b"archon-batch:limits:", b"chosen by a test")
        assert [key for key in server.scan_iter() if not key.startswith(known)] == []
