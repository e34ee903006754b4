"""A component's work, as the planner and the forecast go through it."""

from traceback import walk_tb

from archon_batch.archon.component import Component, ModelComponent, Scene, Work
from archon_batch.archon.context_window import OverflowedError
from archon_batch.archon.requests import Request
from archon_batch.archon.state import Contribution, Remark
from archon_batch.errors import ArchitectureError


def guarded(component: Component, scene: Scene) -> Work:
    """The same work; where the component's code breaks, its place is told.

    Raises:
        ArchitectureError: it broke, or does not do what components do; ``place`` says which.
        OverflowedError: a prompt is too long, and must not be shortened.
    """
    depth, _, place = scene.place.partition(".")
    at = f"layers[{depth}][{place}]"
    try:
        steps = component.steps(scene)
        requests = next(steps)
        while True:
            _refuse_wrong(component, requests, at)
            requests = steps.send((yield requests))
    except StopIteration as end:
        return _contributed(component, end.value, at)
    except (OverflowedError, ArchitectureError):
        raise
    except Exception as error:  # noqa: BLE001  (it is another package's code)
        # Of its words nothing is told: they may quote the row.
        *_, last = walk_tb(error.__traceback__)
        line = f"{last[0].f_code.co_filename}:{last[1]}"
        why = f"the component {component.type} broke: {type(error).__name__} in {line}"
        raise ArchitectureError("", at, why) from None


def _refuse_wrong(component: Component, requests: object, at: str) -> None:
    if not isinstance(requests, tuple) or not all(isinstance(r, Request) for r in requests):
        why = "does not yield a tuple of requests"
    elif len({(r.slot, r.again) for r in requests}) < len(requests):
        why = "gives two requests the same slot"
    elif not isinstance(component, ModelComponent):
        why = "asks, and only a ModelComponent has a model to ask"
    else:
        return
    raise ArchitectureError("", at, f"the component {component.type} {why}")


def _contributed(
    component: Component, work: object, at: str
) -> tuple[Contribution, tuple[Remark, ...]]:
    match work:
        case (Contribution() as contribution, tuple() as remarks):
            return contribution, remarks
    why = f"the component {component.type} does not return a Contribution with its remarks"
    raise ArchitectureError("", at, why)
