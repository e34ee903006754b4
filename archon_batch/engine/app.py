"""The Celery application, set up from the environment; the one object the house has at import."""

from celery import Celery
from kombu import Exchange, Queue

from archon_batch.engine import queues
from archon_batch.settings import Settings

_HOURS = 3600

settings = Settings.from_environment()

app = Celery("archon_batch", set_as_current=True)
# Chords look up the current application in whichever thread they are joined.
app.set_default()

_redis_results = settings.result_url.startswith(("redis://", "rediss://"))

_transport: dict[str, float] = {}
if settings.embedded:
    # Seconds between two looks of the in-process broker at its queues.
    _transport = {"polling_interval": 0.01}
elif settings.broker_url.startswith(("redis://", "rediss://")):
    _transport = {
        # Longer than the longest round: a message that is still worked on is not given again.
        "visibility_timeout": 6 * _HOURS,
        # Kombu's own intervals give a dead worker's messages back a minute and a half late.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    }

app.conf.update(
    broker_url=settings.broker_url or "memory://in-process",
    result_backend=(
        f"archon_batch.engine.backend:ChordBackend+{settings.result_url}"
        if _redis_results
        else settings.result_url or "cache+memory://"
    ),
    include=["archon_batch.engine.tasks"],
    # Messages are keys; nothing else is ever decoded.
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    result_accept_content=["json"],
    task_queues=[Queue(name, Exchange(name), routing_key=name) for name in queues.ALL],
    task_default_queue=queues.JOINS,
    task_create_missing_queues=True,
    # A message is done when its work is done; a worker that dies gives it back. Doing it twice is
    # harmless, since a settled call is not placed again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # Redis counts a chord's headers without their results; the in-process backend reads them.
    task_ignore_result=_redis_results,
    # What is left of a chord that was lost; a living one is done within its round.
    result_expires=24 * _HOURS,
    redis_backend_health_check_interval=25,
    broker_transport_options=_transport,
    broker_connection_retry_on_startup=True,
    broker_pool_limit=32,
    # Ours is a program that logs through structlog, not Celery's root logger.
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    # Flower reads these; they name jobs and rows, and hold nothing of a prompt.
    worker_send_task_events=not settings.embedded,
    task_send_sent_event=not settings.embedded,
    task_publish_retry=True,
    enable_utc=True,
)
