"""Runs components with replies that depend on the requests."""

from collections.abc import Callable

from archon_batch.archon import Component, Context, Reply, Request
from tests.builders import ComponentRun


def run_with(
    component: Component, context: Context, complete: Callable[[Request], Reply | str]
) -> ComponentRun:
    """Run a component alone."""
    rounds: list[tuple[Request, ...]] = []
    generator = component.run(context)
    try:
        requests = next(generator)
        while True:
            rounds.append(requests)
            replies = [complete(request) for request in requests]
            requests = generator.send(
                tuple(r if isinstance(r, Reply) else Reply(r) for r in replies)
            )
    except StopIteration as end:
        return ComponentRun(rounds, *end.value)


def request_indices(run: ComponentRun) -> list[int]:
    """The indices of all requests, in order."""
    return [request.index for requests in run.rounds for request in requests]


def kept_ids(run: ComponentRun) -> list[str]:
    """The last part of the ids of the returned candidates."""
    return [c.id.rpartition(".")[2] for c in run.contribution.candidates or ()]
