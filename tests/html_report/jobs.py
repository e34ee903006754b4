"""Jobs with all their calls stored, as the engine leaves them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from archon_batch.archon import COMPONENT_TYPES, Call, CallsNeeded, Question, Reply, plan_item
from archon_batch.jobs.frozen_job import load_frozen_job
from archon_batch.store import Admitted, CallId, Job, Store, now
from tests.builders import a_finish, a_job, a_start, an_architecture

ReplyFunction = Callable[[int, Call], str | Reply]


def a_finished_job(
    store: Store,
    questions: Sequence[Question] | int,
    reply_to: ReplyFunction,
    *layers: Any,
    rows: int | None = None,
    **top: Any,
) -> Job:
    """A job with finished rows: all, or the first ``rows``."""
    job = a_job(store, architecture=an_architecture(*layers, **top), questions=questions)
    architecture = load_frozen_job(job, COMPONENT_TYPES).architecture
    for ix in range(job.rows if rows is None else rows):
        while found := store.items.open_by_index(job.id, [ix]):
            step = plan_item(architecture, found[0].question, found[0].replies)
            if isinstance(step, CallsNeeded):
                for call in step.calls:
                    settle(store, job, ix, call, reply_to(ix, call))
            else:
                store.items.finish(job.id, [(ix, step)])
    return store.jobs.get(job.id)


def settle(
    store: Store, job: Job, ix: int, call: Call, text_or_reply: str | Reply, *, seconds: float = 2.0
) -> None:
    at = now()
    start = a_start(
        job,
        call=CallId(job.id, ix, call.key),
        fingerprint=f"{ix}/{call.key}",
        kind=call.component_type,
        model=call.model.model,
        begun_at=at,
    )
    begun = store.attempt_writer.admit(start).result(30)
    assert isinstance(begun, Admitted)
    reply = (
        text_or_reply
        if isinstance(text_or_reply, Reply)
        else Reply(text_or_reply, finish_reason="stop")
    )
    end = a_finish(
        start, begun.attempt_number, reply=reply, ended_at=at + timedelta(seconds=seconds)
    )
    store.attempt_writer.settle(end).result(30)
