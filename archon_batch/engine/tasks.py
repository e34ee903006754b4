"""The two tasks. A header never fails: that would leave its chord without a join."""

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
from archon_batch.jobs import shard_step as road
from archon_batch.store import CursorPosition

if TYPE_CHECKING:
    from celery import Task

#: Calls of a round that is not shared out.
_UNLIMITED = 1 << 30
#: Seconds until a shard is planned again, or a message looked at that was handed back.
_RETRY_DELAY = 5
#: How often a message is handed back whose job is in another database, if in any.
_MAX_RETURNS = 5

_log = structlog.get_logger()


@setup_logging.connect
def _configure_logging(**_: object) -> None:
    """Log as the environment says, and not as Celery would."""
    logs.configure(settings.log_level, settings.log_format)


@celeryd_init.connect
def _make_hostname_unique(instance: Any = None, **_: object) -> None:  # noqa: ANN401
    """Have a name that no other process has: RabbitMQ gives a worker's mailbox to one of a name."""
    instance.hostname = f"{instance.hostname}.{os.getpid()}"


@worker_shutting_down.connect
def _stop_starting_calls(**_: object) -> None:
    """On SIGTERM calls in flight land; those that wait are left to other workers."""
    runtime.stop()


@app.task(
    name=ADVANCE_TASK,
    bind=True,
    autoretry_for=(Exception,),
    max_retries=None,
    default_retry_delay=_RETRY_DELAY,
)
def advance_task(self: "Task[..., None]", job_id: str, cursor: int, token: str) -> None:
    """Plan a line's shard: begin its next round, or go on to the next shard of the job.

    It waits for a database that is away; nothing is paid for by trying again. A message whose turn
    is over does nothing.
    """
    try:
        _advance_cursor(self, job_id, cursor, token)
    except (ArchonBatchError, Retry):
        raise
    except Exception as error:  # noqa: BLE001
        # Celery tells the broker and Flower why a task is tried again; its words may quote a row.
        raise EngineError(
            f"the shard is not planned: {logs.traceback_without_messages(error)}"
        ) from None


def _advance_cursor(task: "Task[..., None]", job_id: str, cursor: int, token: str) -> None:
    here = runtime.current(settings)
    shard = here.store.shard_cursors.current_shard(job_id, cursor, token)
    if shard is None:
        _drop_or_return(here, task, job_id, cursor)
        return
    with here.keep_alive(job_id, cursor, token):
        _plan_shard(here, CursorPosition(job_id, cursor, token, shard))


def _drop_or_return(
    here: runtime.Runtime, task: "Task[..., None]", job_id: str, cursor: int
) -> None:
    """Leave a message whose turn is over; hand one back whose job this database does not have.

    It may be another installation's, whose worker shall find it; its sweeper sends it again anyway.

    Raises:
        Retry: it is handed back.
    """
    try:
        here.store.jobs.get(job_id)
    except JobNotFoundError:
        last = settings.in_process or task.request.retries >= _MAX_RETURNS
        _log.warning("message_of_unknown_job", job=job_id, handed_back=not last)
        if not last:
            task.retry(countdown=_RETRY_DELAY, max_retries=_MAX_RETURNS)
    else:
        _log.debug("message_stale", job=job_id, line=cursor)


def _plan_shard(here: runtime.Runtime, position: CursorPosition) -> None:
    job_id = position.job_id
    try:
        job = here.job(job_id)
        # Also of a job that was halted: what has all its replies is answered.
        drained = worker_heartbeat.consumed_queues.get(here.store)
        missing = road.advance_shard(
            here.store,
            job,
            position.shard,
            lambda model: queues.calls_queue_for(model, drained),
            # Here nobody else could take a part of the round.
            batch_size=_UNLIMITED if settings.in_process else road.BATCH_SIZE,
            planners=here.planners if settings.in_process else None,
        )
    except ArchitectureError as error:
        # A component that is not installed here, or whose code broke: time mends neither.
        here.store.jobs.change_state(job_id, "stopped", from_states=["running"], reason=str(error))
        return
    if not missing.batch_keys and road.finish_job_if_done(here.store, job_id):
        # The command that runs a job in its own process says so itself.
        _log.log(DEBUG if settings.in_process else INFO, "job_done", job=job_id)
        return
    # A worker that is told to stop hands on; the command that is its own worker ends here.
    if settings.in_process and here.stopping:
        return
    # As it is now: its state and its priority may have changed.
    sent_for = here.store.jobs.get(job_id)
    if sent_for.state != "running":
        return
    if missing.batch_keys:
        if settings.in_process:
            here.remember_calls(job_id, missing.calls_by_item)
        send_round(here.store, sent_for, position, missing)
        _count_round()
        return
    following = here.store.shard_cursors.next_shard(position, queues.PLANNING)
    if following is not None:
        send_shard_step(sent_for, following)


def _count_round() -> None:
    if settings.metrics_address is not None:
        from archon_batch.engine import prometheus  # noqa: PLC0415  (a twentieth of a second)

        prometheus.current_metrics().rounds.inc()


@app.task(name=PLACE_TASK, bind=True)
def execute_task(
    self: "Task[..., None]", job_id: str, cursor: int, token: str, batch: road.BatchKeys
) -> None:
    """Place a batch's calls on the process's loop. What is not settled, the join asks for again."""
    try:
        here = runtime.current(settings)
        if here.store.shard_cursors.current_shard(job_id, cursor, token) is None:
            _drop_or_return(here, self, job_id, cursor)
            return
        with here.keep_alive(job_id, cursor, token):
            job = here.job(job_id)
            calls = here.pop_calls(job_id, batch)
            here.execute_calls(
                job, road.missing_calls(here.store, job, batch) if calls is None else calls
            )
    except Retry:
        raise
    except ArchonBatchError as error:
        _log.error("batch_left_open", job=job_id, why=str(error))
    except Exception:  # noqa: BLE001  (whatever it is, the join must run)
        _log.exception("batch_left_open", job=job_id)
