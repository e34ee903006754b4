"""The Celery application, set up from the environment; the one object the house has at import."""

import socket
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

from archon_batch.engine import broker_names, queues
from archon_batch.settings import Settings

_HOUR = 3600

settings = Settings.from_environment()


class App(Celery):
    amqp_cls = "archon_batch.engine.broker_names:Amqp"

    def on_configure(self) -> None:  # type: ignore[override]
        """Take the names from the database, when the first of the settings is asked for."""
        told = broker_names.broker_names(settings)
        told["broker_transport_options"] = _transport_options | told.get(
            "broker_transport_options", {}
        )
        self.conf.update(told)


app = App("archon_batch", set_as_current=True)
# Chords look up the current application in whichever thread they are joined.
app.set_default()

_transport_options: dict[str, Any] = {}
if settings.in_process:
    # Seconds between two looks of the in-process broker at its queues.
    _transport_options = {"polling_interval": 0.01}
elif settings.broker_is_redis:
    TRANSPORT_ALIASES.update(
        dict.fromkeys(("redis", "rediss"), "archon_batch.engine.redis_transport:Transport")
    )
    _transport_options = {
        # One list for each of our priorities, and no more to be looked at.
        "priority_steps": list(range(len(queues.PRIORITIES))),
        # A connection that a network has cut says nothing: the kernel asks, and gives it up in 25 s;
        # the last is for one on which something was sent, after which it asks no more.
        "socket_keepalive": True,
        "socket_keepalive_options": {
            getattr(socket, name): value
            for name, value in (
                ("TCP_KEEPIDLE", 10),
                ("TCP_KEEPINTVL", 5),
                ("TCP_KEEPCNT", 3),
                ("TCP_USER_TIMEOUT", 25_000),
            )
            if hasattr(socket, name)
        },
        "socket_connect_timeout": 5,
        # Longer than the longest round: a message that is still worked on is not given again.
        "visibility_timeout": 6 * _HOUR,
        # Kombu's own intervals give a dead worker's messages back a minute and a half late.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    }
else:
    # RabbitMQ says of each message that it has it; without, what is sent as it dies is lost.
    _transport_options = {"confirm_publish": True}

app.conf.update(
    broker_url=settings.broker_url or "memory://in-process",
    result_backend="archon_batch.engine.chord_backend:DatabaseChordBackend",
    include=["archon_batch.engine.tasks"],
    # Messages are keys; nothing else is ever decoded.
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    result_accept_content=["json"],
    task_default_queue=queues.PLANNING,
    task_create_missing_queues=True,
    # For RabbitMQ, which orders by priority only in queues that were declared for it.
    task_queue_max_priority=len(queues.PRIORITIES) - 1,
    # A message is done when its work is done; a worker that dies gives it back. Doing it twice is
    # harmless, since a settled call is not placed again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # Replies are in the database; nobody reads a task's result.
    task_ignore_result=True,
    # A worker waits for its broker for as long as it takes; the default gives up in the end.
    broker_connection_retry_on_startup=True,
    worker_consumer="archon_batch.engine.consumer:Consumer",
    broker_connection_max_retries=None,
    # A Redis that is read-only for a while, or full, or a login that somebody mends: it waits as well.
    broker_channel_error_retry=True,
    # RabbitMQ cuts a connection that says nothing for one to two times so many seconds, and gives its
    # messages to others. Until then it hands new ones to a frozen worker, also those that the
    # sweeper sends again after 20 s. Redis has keepalives.
    broker_heartbeat=10,
    # Threads that send at once: joins, and the calls' when they count.
    broker_pool_limit=32,
    # Ours is a program that logs through structlog, not Celery's root logger.
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    # Flower reads these; they name jobs and rows, and hold nothing of a prompt.
    worker_send_task_events=not settings.in_process,
    task_send_sent_event=not settings.in_process,
    # A broker that restarts is waited for, some 20 s; then the sweeper sends what was not sent.
    task_publish_retry=True,
    task_publish_retry_policy={"max_retries": 20, "interval_step": 0.2, "interval_max": 1},
    enable_utc=True,
)
