"""Runs components with replies that depend on the requests."""

from collections.abc import Callable

from archon_batch.archon import Component, Context, Reply, Request
from tests.builders import Played


def answered(
    component: Component, context: Context, answer: Callable[[Request], Reply | str]
) -> Played:
    """Run a component alone."""
    rounds: list[tuple[Request, ...]] = []
    steps = component.run(context)
    try:
        requests = next(steps)
        while True:
            rounds.append(requests)
            told = [answer(request) for request in requests]
            requests = steps.send(tuple(r if isinstance(r, Reply) else Reply(r) for r in told))
    except StopIteration as end:
        return Played(rounds, *end.value)


def slots(play: Played) -> list[int]:
    """The indices of all requests, in order."""
    return [request.index for requests in play.rounds for request in requests]


def ids(play: Played) -> list[str]:
    """The last part of the ids of the returned candidates."""
    return [c.id.rpartition(".")[2] for c in play.contribution.candidates or ()]
