"""Jobs whose rows are on record with all their calls, as the engine leaves them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from archon_batch.archon import KINDS, Ask, Call, Question, Reply, plan
from archon_batch.jobs.frozen_job import running
from archon_batch.store import CallId, Job, Started, Store, now
from tests.builders import a_finish, a_job, a_start, an_architecture

Saying = Callable[[int, Call], str | Reply]


def a_played_job(
    store: Store,
    questions: Sequence[Question] | int,
    say: Saying,
    *layers: Any,
    rows: int | None = None,
    **top: Any,
) -> Job:
    """A job whose rows, or the first so many of them, have come to their ends."""
    job = a_job(store, architecture=an_architecture(*layers, **top), questions=questions)
    architecture = running(job, KINDS).architecture
    for ix in range(job.rows if rows is None else rows):
        while found := store.items.open_among(job.id, [ix]):
            step = plan(architecture, found[0].question, found[0].replies)
            if isinstance(step, Ask):
                for call in step.calls:
                    settle(store, job, ix, call, say(ix, call))
            else:
                store.items.end(job.id, [(ix, step)])
    return store.jobs.get(job.id)


def settle(
    store: Store, job: Job, ix: int, call: Call, said: str | Reply, *, seconds: float = 2.0
) -> None:
    at = now()
    start = a_start(
        job,
        call=CallId(job.id, ix, call.key),
        fingerprint=f"{ix}/{call.key}",
        kind=call.kind,
        model=call.model.model,
        at=at,
    )
    begun = store.clerk.begin(start).result(30)
    assert isinstance(begun, Started)
    reply = said if isinstance(said, Reply) else Reply(said, finish="stop")
    end = a_finish(start, begun.n, reply=reply, at=at + timedelta(seconds=seconds))
    store.clerk.settle(end).result(30)
