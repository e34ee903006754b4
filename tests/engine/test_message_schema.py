"""Malformed messages are refused, and end no worker."""

import base64
import json
import struct
import sys
from contextlib import suppress
from typing import Any

import amqp
import pytest
from kombu import Connection
from redis import Redis

from archon_batch.engine import message_schema
from archon_batch.store import Store
from tests.acceptance.stage import Stage, until
from tests.acceptance.test_faults import rabbit_url  # noqa: F401  (a fixture)
from tests.engine import forged
from tests.fork_server import Popen

ROWS = 4
ONE = "models: {m: {model: scripted/plausible}}\nlayers: [{type: generator, model: m}]\n"


class Received:
    """A message as kombu passes it on, from any transport."""

    def __init__(self, raw):
        self.body = base64.b64decode(raw["body"])
        self.headers = raw["headers"]
        self.content_type, self.content_encoding = (
            raw.get(f"content-{part}") for part in ("type", "encoding")
        )
        self.errors = []


def problem(item):
    """The problem that the transport or the task finds, or None."""
    return message_schema.redis_item_error(item) or message_schema.task_message_error(
        Received(json.loads(item))
    )


@pytest.mark.parametrize("task", ["archon_batch.advance", "archon_batch.place"])
def test_our_own_messages_are_accepted(task):
    assert problem(json.dumps(forged.valid_message(task)).encode()) is None


@pytest.mark.parametrize(
    ("name", "item"), list(forged.items()), ids=lambda it: it if isinstance(it, str) else ""
)
def test_every_malformed_message_is_refused_with_a_reason(name, item):
    assert problem(item), name


def on_redis(url, queue):
    """Send every kind to the queue and to the workers' remote control; return how many."""
    forged_items = [item for _, item in forged.items()]
    with Redis.from_url(url) as server:
        for item in forged_items:
            server.lpush(queue, item)
        number, installation = url.rpartition("/")[2], queue.partition("@")[2]
        for item in forged_items:
            server.publish(f"/{number}.celery@{installation}.pidbox", item)
    return len(forged_items)


def on_rabbitmq(url, queue):
    """Send every kind that AMQP can carry; return how many."""
    count = 0
    with Connection(url) as connection:
        channel: Any = connection.channel()
        made = [forged.valid_message(**one) for _, one in (*forged.headers(), *forged.contents())]
        encoded = [json.dumps(body).encode() for _, body in forged.bodies()]
        made += [
            forged.valid_message() | {"body": base64.b64encode(text).decode()}
            for text in (*encoded, *(text for _, text in forged.texts()))
        ]
        for one in made:
            message = amqp.Message(
                base64.b64decode(one["body"]), application_headers=one["headers"],
                content_type=one["content-type"], content_encoding=one["content-encoding"],
            )  # fmt: skip
            with suppress(amqp.exceptions.FrameSyntaxError, struct.error):
                channel.basic_publish(message, exchange="", routing_key=queue)
                count += 1
        channel.basic_publish(amqp.Message(b"bare"), exchange="", routing_key=queue)
    return count + 1


@pytest.mark.redis
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("broker", "forge"),
    [("redis_url", on_redis), ("rabbit_url", on_rabbitmq)],
    ids=["redis", "rabbitmq"],
)
def test_a_worker_survives_every_malformed_message_and_does_its_job(
    tmp_path, request, broker, forge
):
    url = request.getfixturevalue(broker)
    stage = Stage(tmp_path, ARCHON_BATCH_BROKER_URL=url)
    stage.dataset(ROWS)
    stage.write("labels.yaml", ONE)
    job = stage.run("submit", "rows.jsonl", "--arch", "labels.yaml").strip()
    store = Store.open(f"sqlite:///{tmp_path}/archon-batch.db")
    count = forge(url, f"joins@{store.installation.id}")
    store.close()
    log = tmp_path / "worker.log"
    line = ["celery", "-A", "archon_batch.engine.app", "worker", "--pool", "threads"]
    with log.open("w") as out:
        worker = Popen(
            [sys.executable, "-m", *line, "--concurrency", "4", "--queues", "calls,joins"],
            cwd=tmp_path, env=stage.environment, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        until(lambda: log.read_text().count("message_refused") >= count, 150)
        stage.run("status", job, "--follow")
        again = stage.run(
            "submit", "rows.jsonl", "--arch", "labels.yaml", "--no-cache", "--name", "x", "--follow"
        )
        lives = worker.poll() is None
    finally:
        worker.kill()
        worker.wait()

    assert again.strip() != job
    assert lives, log.read_text()[-3000:]
    for word in ("Unrecoverable", "Traceback", "Frequent", "broker_refused", "connection"):
        assert word not in log.read_text()
