"""Candidates that are made of texts as they come: what generators and fusers ask for."""

from collections.abc import Sequence

from archon_batch.archon.component import Scene
from archon_batch.archon.requests import Request, Steps, tell, together
from archon_batch.archon.state import Candidate, Contribution, Remark


def texts(
    scene: Scene, requests: Sequence[Request], retries: int, parents: tuple[str, ...] = ()
) -> Steps[tuple[Contribution, tuple[Remark, ...]]]:
    """Make the requests side by side; each text is a candidate, named by its request's slot.

    What failed is left out and told of: the others stand in for it, and when there are no others
    the item gives up and says why.
    """
    told = yield from together([tell(request, retries) for request in requests])
    made = tuple(
        Candidate(f"{scene.place}.{request.slot}", text, parents)
        for request, (text, _) in zip(requests, told, strict=True)
        if text is not None
    )
    remarks = tuple(remark for _, some in told for remark in some)
    lacking = len(requests) - len(made)
    if lacking:
        remarks += (Remark("without", f"{lacking} of {len(requests)} candidates are not there"),)
    return Contribution(candidates=made), remarks
