"""Builds the records of an attempt: its request, and its result."""

from archon_batch.archon import Call, Reply, Usage
from archon_batch.errors import Billing, ProviderError
from archon_batch.jobs.frozen_job import FrozenJob
from archon_batch.money import NanoUsd, Overbilling, Price
from archon_batch.retry_policy import GiveUp, Retry, StopJob
from archon_batch.store import AttemptRequest, AttemptResult, CallId, current_process_id, now


def new_request(
    job: FrozenJob,
    ix: int,
    call: Call,
    *,
    expires_after: float,
    overbilling: Overbilling | None = None,
) -> AttemptRequest:
    """A request to begin an attempt.

    Args:
        job: that the call belongs to.
        ix: the row's index in the job.
        call: to send.
        expires_after: seconds after which the attempt has certainly ended.
        overbilling: what the model bills beyond its calls; the hold covers it.
    """
    price = job.prices[call.model.model]
    return AttemptRequest(
        call=CallId(job.id, ix, call.key),
        kind=call.component_type,
        model=call.model.model,
        fingerprint=call.fingerprint,
        hold=price.max_cost(call, overbilling) if price else None,
        expires_after=expires_after,
        use_cache=job.use_cache,
        owner=current_process_id(),
        begun_at=now(),
    )


def success_result(
    request: AttemptRequest, attempt_number: int, reply: Reply, price: Price | None
) -> AttemptResult:
    cost = price.cost(reply.usage) if price else _reported_cost(reply.usage)
    # Without reported tokens, assume the highest possible cost.
    estimated = price is not None and cost is None
    outcome, _, detail = (reply.failure or "ok").partition(": ")
    return AttemptResult(
        request=request,
        attempt_number=attempt_number,
        billing=Billing.BILLED,
        outcome=outcome,
        detail=detail or None,
        usage=reply.usage,
        cost=request.hold if estimated else cost,
        estimated=estimated,
        reply=reply,
        ended_at=now(),
    )


def _reported_cost(usage: Usage) -> NanoUsd | None:
    return None if usage.provider_cost_nano is None else NanoUsd(usage.provider_cost_nano)


def failure_result(
    request: AttemptRequest,
    attempt_number: int,
    error: ProviderError,
    verdict: Retry | GiveUp | StopJob,
) -> AttemptResult:
    return AttemptResult(
        request=request,
        attempt_number=attempt_number,
        billing=error.billing,
        outcome=error.reason,
        detail=error.why,
        usage=Usage(),
        cost=None if error.billing is Billing.IN_DOUBT else NanoUsd(0),
        estimated=False,
        reply=Reply(None, failure=verdict.reason) if isinstance(verdict, GiveUp) else None,
        ended_at=now(),
    )
