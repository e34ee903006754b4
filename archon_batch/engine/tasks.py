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
from archon_batch.engine.chords import ADVANCE, PLACE, send_advance, send_round
from archon_batch.errors import (
    ArchitectureError,
    ArchonBatchError,
    EngineError,
    JobNotFoundError,
)
from archon_batch.jobs import shard_step as road
from archon_batch.store import Turn

if TYPE_CHECKING:
    from celery import Task

#: Calls of a round that is not shared out.
_ALL = 1 << 30
#: Seconds until a shard is planned again, or a message looked at that was handed back.
_AGAIN = 5
#: How often a message is handed back whose job is in another database, if in any.
_HANDED_BACK = 5

_log = structlog.get_logger()


@setup_logging.connect
def _log_as_set(**_: object) -> None:
    """Log as the environment says, and not as Celery would."""
    logs.configure(settings.log, settings.log_format)


@celeryd_init.connect
def _be_one_of_a_kind(instance: Any = None, **_: object) -> None:  # noqa: ANN401
    """Have a name that no other process has: RabbitMQ gives a worker's mailbox to one of a name."""
    instance.hostname = f"{instance.hostname}.{os.getpid()}"


@worker_shutting_down.connect
def _begin_no_more(**_: object) -> None:
    """On SIGTERM calls in flight land; those that wait are left to other workers."""
    runtime.stop()


@app.task(
    name=ADVANCE,
    bind=True,
    autoretry_for=(Exception,),
    max_retries=None,
    default_retry_delay=_AGAIN,
)
def advance(self: "Task[..., None]", job_id: str, line: int, word: str) -> None:
    """Plan a line's shard: begin its next round, or go on to the next shard of the job.

    It waits for a database that is away; nothing is paid for by trying again. A message whose turn
    is over does nothing.
    """
    try:
        _advance(self, job_id, line, word)
    except (ArchonBatchError, Retry):
        raise
    except Exception as error:  # noqa: BLE001
        # Celery tells the broker and Flower why a task is tried again; its words may quote a row.
        raise EngineError(f"the shard is not planned: {logs.trace(error)}") from None


def _advance(task: "Task[..., None]", job_id: str, line: int, word: str) -> None:
    here = runtime.current(settings)
    shard = here.store.lines.shard(job_id, line, word)
    if shard is None:
        _pass_by(here, task, job_id, line)
        return
    with here.holding(job_id, line, word):
        _plan(here, Turn(job_id, line, word, shard))


def _pass_by(here: runtime.Process, task: "Task[..., None]", job_id: str, line: int) -> None:
    """Leave a message whose turn is over; hand one back whose job this database does not have.

    It may be another installation's, whose worker shall find it; its sweeper sends it again anyway.

    Raises:
        Retry: it is handed back.
    """
    try:
        here.store.jobs.get(job_id)
    except JobNotFoundError:
        last = settings.embedded or task.request.retries >= _HANDED_BACK
        _log.warning("message_of_unknown_job", job=job_id, handed_back=not last)
        if not last:
            task.retry(countdown=_AGAIN, max_retries=_HANDED_BACK)
    else:
        _log.debug("message_stale", job=job_id, line=line)


def _plan(here: runtime.Process, turn: Turn) -> None:
    job_id = turn.job
    try:
        job = here.job(job_id)
        # Also of a job that was halted: what has all its replies is answered.
        drained = worker_heartbeat.drained.by(here.store)
        missing = road.advance(
            here.store,
            job,
            turn.shard,
            lambda model: queues.of_calls(model, drained),
            # Here nobody else could take a part of the round.
            batch=_ALL if settings.embedded else road.BATCH,
            courses=here.courses if settings.embedded else None,
        )
    except ArchitectureError as error:
        # A component that is not installed here, or whose code broke: time mends neither.
        here.store.jobs.move(job_id, "stopped", only_from=["running"], reason=str(error))
        return
    if not missing.batches and road.finished(here.store, job_id):
        # The command that runs a job in its own process says so itself.
        _log.log(DEBUG if settings.embedded else INFO, "job_done", job=job_id)
        return
    # A worker that is told to stop hands on; the command that is its own worker ends here.
    if settings.embedded and here.stopping:
        return
    # As it is now: its state and its priority may have changed.
    sent_for = here.store.jobs.get(job_id)
    if sent_for.state != "running":
        return
    if missing.batches:
        if settings.embedded:
            here.keep(job_id, missing.calls)
        send_round(here.store, sent_for, turn, missing)
        _count_round()
        return
    following = here.store.lines.go_on(turn, queues.JOINS)
    if following is not None:
        send_advance(sent_for, following)


def _count_round() -> None:
    if settings.metrics is not None:
        from archon_batch.engine import prometheus  # noqa: PLC0415  (a twentieth of a second)

        prometheus.current().rounds.inc()


@app.task(name=PLACE, bind=True)
def place(self: "Task[..., None]", job_id: str, line: int, word: str, batch: road.Batch) -> None:
    """Place a batch's calls on the process's loop. What is not settled, the join asks for again."""
    try:
        here = runtime.current(settings)
        if here.store.lines.shard(job_id, line, word) is None:
            _pass_by(here, self, job_id, line)
            return
        with here.holding(job_id, line, word):
            job = here.job(job_id)
            calls = here.take(job_id, batch)
            here.place(job, road.missing(here.store, job, batch) if calls is None else calls)
    except Retry:
        raise
    except ArchonBatchError as error:
        _log.error("batch_left_open", job=job_id, why=str(error))
    except Exception:  # noqa: BLE001  (whatever it is, the join must run)
        _log.exception("batch_left_open", job=job_id)
