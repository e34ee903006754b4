"""A component's work, as the planner and the forecast go through it."""

from traceback import walk_tb

from archon_batch.archon.component import Component, ComponentRequests, Context, ModelComponent
from archon_batch.archon.context_window import ContextOverflowError
from archon_batch.archon.requests import Request
from archon_batch.archon.state import ComponentWarning, Contribution
from archon_batch.errors import ArchitectureError


def run_component(component: Component, context: Context) -> ComponentRequests:
    """The same work; where the component's code breaks, its place is told.

    Raises:
        ArchitectureError: it broke, or does not do what components do; ``place`` says which.
        OverflowedError: a prompt is too long, and must not be shortened.
    """
    depth, _, place = context.position.partition(".")
    at = f"layers[{depth}][{place}]"
    try:
        steps = component.run(context)
        requests = next(steps)
        while True:
            _validate_requests(component, requests, at)
            requests = steps.send((yield requests))
    except StopIteration as end:
        return _validate_result(component, end.value, at)
    except (ContextOverflowError, ArchitectureError):
        raise
    except Exception as error:  # noqa: BLE001  (it is another package's code)
        # Of its words nothing is told: they may quote the row.
        *_, last = walk_tb(error.__traceback__)
        line = f"{last[0].f_code.co_filename}:{last[1]}"
        why = f"the component {component.type} broke: {type(error).__name__} in {line}"
        raise ArchitectureError("", at, why) from None


def _validate_requests(component: Component, requests: object, path: str) -> None:
    if not isinstance(requests, tuple) or not all(isinstance(r, Request) for r in requests):
        why = "does not yield a tuple of requests"
    elif len({(r.index, r.reask) for r in requests}) < len(requests):
        why = "gives two requests the same index"
    elif not isinstance(component, ModelComponent):
        why = "asks, and only a ModelComponent has a model to ask"
    else:
        return
    raise ArchitectureError("", path, f"the component {component.type} {why}")


def _validate_result(
    component: Component, result: object, path: str
) -> tuple[Contribution, tuple[ComponentWarning, ...]]:
    match result:
        case (Contribution() as contribution, tuple() as remarks):
            return contribution, remarks
    why = f"the component {component.type} does not return a Contribution with its remarks"
    raise ArchitectureError("", path, why)
