"""The two Celery tasks: plan a shard, and execute a batch of calls.

A batch task never fails: that would leave its chord without a continuation.
"""

import os
from logging import DEBUG, INFO
from typing import TYPE_CHECKING, Any

import structlog
from celery.exceptions import Retry
from celery.signals import celeryd_init, setup_logging, worker_shutting_down

from archon_batch import logs
from archon_batch.engine import queues, runtime, worker_heartbeat
from archon_batch.engine.app import app, settings
from archon_batch.engine.chords import ADVANCE_TASK, PLACE_TASK, send_round, send_shard_step
from archon_batch.errors import (
    ArchitectureError,
    ArchonBatchError,
    EngineError,
    JobNotFoundError,
)
from archon_batch.jobs import shard_step
from archon_batch.store import CursorPosition

if TYPE_CHECKING:
    from celery import Task

#: A batch size that no round reaches.
_UNLIMITED = 1 << 30
#: Seconds until a failed planning is retried, or a returned message is delivered again.
_RETRY_DELAY = 5
#: How often a message of an unknown job is returned to the queue.
_MAX_RETURNS = 5

_log = structlog.get_logger()


@setup_logging.connect
def _configure_logging(**_: object) -> None:
    """Log as the settings say, instead of Celery's way."""
    logs.configure(settings.log_level, settings.log_format)


@celeryd_init.connect
def _make_hostname_unique(instance: Any = None, **_: object) -> None:  # noqa: ANN401
    """Append the process id: RabbitMQ gives the remote-control queue of a name to one worker only."""
    instance.hostname = f"{instance.hostname}.{os.getpid()}"


@worker_shutting_down.connect
def _stop_starting_calls(**_: object) -> None:
    """On SIGTERM, calls in flight finish; waiting calls are left to other workers."""
    runtime.stop()


@app.task(
    name=ADVANCE_TASK,
    bind=True,
    autoretry_for=(Exception,),
    max_retries=None,
    default_retry_delay=_RETRY_DELAY,
)
def advance_task(self: "Task[..., None]", job_id: str, cursor: int, token: str) -> None:
    """Plan a cursor's shard: start its next round, or move on to the job's next shard.

    It is retried until the database is available; retries cost nothing. A message with an old token
    does nothing.
    """
    try:
        _advance_cursor(self, job_id, cursor, token)
    except (ArchonBatchError, Retry):
        raise
    except Exception as error:  # noqa: BLE001
        # Celery sends the message of a retried error to the broker and to Flower: quote no row.
        raise EngineError(
            f"the shard is not planned: {logs.traceback_without_messages(error)}"
        ) from None


def _advance_cursor(task: "Task[..., None]", job_id: str, cursor: int, token: str) -> None:
    process = runtime.current(settings)
    shard = process.store.shard_cursors.current_shard(job_id, cursor, token)
    if shard is None:
        _drop_or_return(process, task, job_id, cursor)
        return
    with process.keep_alive(job_id, cursor, token):
        _plan_shard(process, CursorPosition(job_id, cursor, token, shard))


def _drop_or_return(
    process: runtime.Runtime, task: "Task[..., None]", job_id: str, cursor: int
) -> None:
    """Drop a message with an old token; return a message of an unknown job to the queue.

    An unknown job may belong to another installation on this broker; if its worker does not get the
    message, its watchdog resends it.

    Raises:
        Retry: the message is returned.
    """
    try:
        process.store.jobs.get(job_id)
    except JobNotFoundError:
        is_last = settings.in_process or task.request.retries >= _MAX_RETURNS
        _log.warning("message_of_unknown_job", job=job_id, returned=not is_last)
        if not is_last:
            task.retry(countdown=_RETRY_DELAY, max_retries=_MAX_RETURNS)
    else:
        _log.debug("message_stale", job=job_id, cursor=cursor)


def _plan_shard(process: runtime.Runtime, position: CursorPosition) -> None:
    job_id = position.job_id
    try:
        job = process.job(job_id)
        consumed = worker_heartbeat.consumed_queues.get(process.store)
        # Also for a halted job: rows whose replies are complete are finished.
        step = shard_step.advance_shard(
            process.store,
            job,
            position.shard,
            lambda model: queues.calls_queue_for(model, consumed),
            # In one process, no other worker could take a part of the round.
            batch_size=_UNLIMITED if settings.in_process else shard_step.BATCH_SIZE,
            planners=process.planners if settings.in_process else None,
        )
    except ArchitectureError as error:
        # A component that is not installed here, or whose code failed: a retry would not help.
        process.store.jobs.change_state(
            job_id, "stopped", from_states=["running"], reason=str(error)
        )
        return
    if not step.batch_keys and shard_step.finish_job_if_done(process.store, job_id):
        # A command that runs the job in its own process prints it.
        _log.log(DEBUG if settings.in_process else INFO, "job_done", job=job_id)
        return
    # A stopping worker still sends the next message; a command that is its own worker ends here.
    if settings.in_process and process.stopping:
        return
    # Read again: the job's state and priority may have changed.
    current_job = process.store.jobs.get(job_id)
    if current_job.state != "running":
        return
    if step.batch_keys:
        send_round(process.store, current_job, position, step)
        _count_round()
        return
    following = process.store.shard_cursors.next_shard(position, queues.PLANNING)
    if following is not None:
        send_shard_step(current_job, following)


def _count_round() -> None:
    if settings.metrics_address is not None:
        from archon_batch.engine import prometheus  # noqa: PLC0415  (the import takes 0.05 s)

        prometheus.current_metrics().rounds.inc()


@app.task(name=PLACE_TASK, bind=True)
def execute_task(
    self: "Task[..., None]", job_id: str, cursor: int, token: str, batch: shard_step.BatchKeys
) -> None:
    """Execute a batch's calls. The continuation asks again for calls that were not settled."""
    try:
        process = runtime.current(settings)
        if process.store.shard_cursors.current_shard(job_id, cursor, token) is None:
            _drop_or_return(process, self, job_id, cursor)
            return
        with process.keep_alive(job_id, cursor, token):
            job = process.job(job_id)
            calls = process.take_pending_calls(job_id, batch)
            if calls is None:
                calls = shard_step.missing_calls(process.store, job, batch)
            process.execute_calls(job, calls)
    except Retry:
        raise
    except ArchonBatchError as error:
        _log.error("batch_left_open", job=job_id, why=str(error))
    except Exception:  # noqa: BLE001  (the continuation must run)
        _log.exception("batch_left_open", job=job_id)
