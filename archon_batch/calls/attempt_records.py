"""Entries of the ledger: an attempt as it begins, and as it ended."""

from archon_batch.archon import Call, Reply, Usage
from archon_batch.errors import Billing, GatewayError
from archon_batch.jobs.frozen_job import RunningJob
from archon_batch.money import Again, Beyond, Fail, NanoUsd, Price, Stop
from archon_batch.store import CallId, Finish, Start, me, now


def begins(
    job: RunningJob, ix: int, call: Call, *, lasts: float, beyond: Beyond | None = None
) -> Start:
    """An attempt that wants to begin, and is over after so many seconds.

    Its model was seen to count so much ``beyond`` what it was asked for.
    """
    price = job.prices[call.model.model]
    return Start(
        call=CallId(job.id, ix, call.key),
        kind=call.kind,
        model=call.model.model,
        fingerprint=call.fingerprint,
        reserve=price.most(call, beyond) if price else None,
        lasts=lasts,
        reuse=job.reuse,
        owner=me(),
        at=now(),
    )


def answered(start: Start, n: int, reply: Reply, price: Price | None) -> Finish:
    cost = price.cost(reply.usage) if price else _charged(reply.usage)
    # A provider that does not say what it counted is taken to have counted the most it could.
    estimated = price is not None and cost is None
    outcome, _, why = (reply.failure or "ok").partition(": ")
    return Finish(
        start=start,
        n=n,
        billing=Billing.BILLED,
        outcome=outcome,
        why=why or None,
        usage=reply.usage,
        cost=start.reserve if estimated else cost,
        estimated=estimated,
        reply=reply,
        at=now(),
    )


def _charged(usage: Usage) -> NanoUsd | None:
    return None if usage.charged is None else NanoUsd(usage.charged)


def failed(start: Start, n: int, error: GatewayError, verdict: Again | Fail | Stop) -> Finish:
    return Finish(
        start=start,
        n=n,
        billing=error.billing,
        outcome=error.reason,
        why=error.why,
        usage=Usage(),
        cost=None if error.billing is Billing.IN_DOUBT else NanoUsd(0),
        estimated=False,
        reply=Reply(None, failure=verdict.why) if isinstance(verdict, Fail) else None,
        at=now(),
    )
