"""The Celery application, configured from the environment: the only object created at import."""

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
        """Read the names from the database when Celery first needs a setting."""
        configuration = broker_names.broker_names(settings)
        configuration["broker_transport_options"] = _transport_options | configuration.get(
            "broker_transport_options", {}
        )
        self.conf.update(configuration)


app = App("archon_batch", set_as_current=True)
# Chords look up the current application in any thread.
app.set_default()

_transport_options: dict[str, Any] = {}
if settings.in_process:
    # Seconds between two polls of the in-process broker.
    _transport_options = {"polling_interval": 0.01}
elif settings.broker_is_redis:
    TRANSPORT_ALIASES.update(
        dict.fromkeys(("redis", "rediss"), "archon_batch.engine.redis_transport:Transport")
    )
    _transport_options = {
        # One Redis list for each of our priorities, and no more to poll.
        "priority_steps": list(range(len(queues.PRIORITIES))),
        # The kernel detects a cut connection within 25 s; TCP_USER_TIMEOUT is for connections with
        # unacknowledged data, for which it sends no keepalives.
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
        # Longer than the longest round: a message in progress is not delivered again.
        "visibility_timeout": 6 * _HOUR,
        # With kombu's defaults, a dead worker's messages are restored 90 s late.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    }
else:
    # RabbitMQ confirms each message; without, messages sent while it dies are lost.
    _transport_options = {"confirm_publish": True}

app.conf.update(
    broker_url=settings.broker_url or "memory://in-process",
    result_backend="archon_batch.engine.chord_backend:DatabaseChordBackend",
    include=["archon_batch.engine.tasks"],
    # Messages are JSON; nothing else is ever decoded.
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    result_accept_content=["json"],
    task_default_queue=queues.PLANNING,
    task_create_missing_queues=True,
    # RabbitMQ orders by priority only in queues declared with it.
    task_queue_max_priority=len(queues.PRIORITIES) - 1,
    # Acknowledge a message after its work: a dead worker's message is delivered again. Working on it
    # twice is harmless, since a settled call is not sent again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # Replies are in the database; nothing reads a task's result.
    task_ignore_result=True,
    # A worker waits for its broker without limit; Celery's default gives up.
    broker_connection_retry_on_startup=True,
    worker_consumer="archon_batch.engine.consumer:Consumer",
    broker_connection_max_retries=None,
    # It also waits while Redis is read-only or full, or until a login is corrected.
    broker_channel_error_retry=True,
    # RabbitMQ cuts a silent connection after one to two times this many seconds and redelivers its
    # messages. Until then it sends new messages to a frozen worker, even those that the watchdog
    # resends after 20 s. For Redis, keepalives do this.
    broker_heartbeat=10,
    # Threads that send at once: planning, and batches when they count themselves.
    broker_pool_limit=32,
    # We log through structlog, not Celery's root logger.
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    # For Flower; events name jobs and rows, and contain no text of prompts.
    worker_send_task_events=not settings.in_process,
    task_send_sent_event=not settings.in_process,
    # Wait some 20 s for a restarting broker; after that, the watchdog resends.
    task_publish_retry=True,
    task_publish_retry_policy={"max_retries": 20, "interval_step": 0.2, "interval_max": 1},
    enable_utc=True,
)
