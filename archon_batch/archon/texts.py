"""Candidates that are made of texts as they come: what generators and fusers ask for."""

from collections.abc import Sequence

from archon_batch.archon.component import Context
from archon_batch.archon.requests import Request, Requests, ask_text, gather
from archon_batch.archon.state import Candidate, ComponentWarning, Contribution


def generate_candidates(
    context: Context, requests: Sequence[Request], retries: int, parents: tuple[str, ...] = ()
) -> Requests[tuple[Contribution, tuple[ComponentWarning, ...]]]:
    """Make the requests side by side; each text is a candidate, named by its request's slot.

    What failed is left out and told of: the others stand in for it, and when there are no others
    the item gives up and says why.
    """
    told = yield from gather([ask_text(request, retries) for request in requests])
    made = tuple(
        Candidate(f"{context.position}.{request.index}", text, parents)
        for request, (text, _) in zip(requests, told, strict=True)
        if text is not None
    )
    remarks = tuple(remark for _, some in told for remark in some)
    lacking = len(requests) - len(made)
    if lacking:
        remarks += (
            ComponentWarning("skipped", f"{lacking} of {len(requests)} candidates are not there"),
        )
    return Contribution(candidates=made), remarks
