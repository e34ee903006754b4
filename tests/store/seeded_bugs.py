"""Bugs to plant in the ledger; its state machine must find each of them.

A bug replaces a piece of a function's source. It is planted in the function's code object, so that
every module that has imported the function gets it.
"""

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from archon_batch import money, retry_policy
from archon_batch.calls import attempt_records
from archon_batch.store import (
    admission,
    attempt_writer,
    attempts,
    compiled_sql,
    items,
    jobs,
    settlement,
    usage_totals,
)

if TYPE_CHECKING:
    from types import FunctionType


@dataclass(frozen=True)
class Bug:
    name: str
    #: Where it is planted.
    function: Any
    #: What stands there, once, and what instead.
    right: str
    wrong: str

    @property
    def id(self) -> str:
        return self.name.replace(" ", "-")


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Have the program be wrong while the body runs."""
    function = cast("FunctionType", bug.function)
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(bug.right) != 1:
        raise LookupError(f"{bug.right!r} is not there once, in {function.__qualname__}")
    names = dict(function.__globals__)
    exec(compile(source.replace(bug.right, bug.wrong), bug.name, "exec"), names)  # noqa: S102
    healthy = function.__code__
    function.__code__ = names[function.__name__].__code__
    # What a healthy one has made is not to be used on.
    compiled_sql._STATEMENT_CACHE.clear()
    try:
        yield
    finally:
        function.__code__ = healthy
        compiled_sql._STATEMENT_CACHE.clear()


#: Bugs in admission.
ADMISSION = [
    Bug(
        "what a batch keeps back itself is forgotten",
        admission._decide,
        "_fits_budget(job, snapshot.held[job.id], request.hold)",
        "_fits_budget(job, 0, request.hold)",
    ),
    Bug(
        "a budget that this batch has filled is taken for reached",
        admission._decide,
        "job.held + snapshot.held[job.id]",
        "job.held",
    ),
    Bug(
        "a budget that is tight is taken for reached",
        admission._decide,
        "BudgetWait() if job.held + snapshot.held[job.id] else BudgetExhausted()",
        "BudgetExhausted()",
    ),
    Bug(
        "something begins at the budget",
        admission._fits_budget,
        "committed < job.budget",
        "committed <= job.budget",
    ),
    Bug(
        "the last of the budget is never spent",
        admission._fits_budget,
        "(hold or 0) <= job.budget",
        "(hold or 0) < job.budget",
    ),
    Bug(
        "the budget covers one call more",
        admission._fits_budget,
        " and committed + (hold or 0) <= job.budget",
        "",
    ),
    Bug("what is spent is not counted", admission._fits_budget, "job.spent + ", ""),
    Bug("what is in flight is not counted", admission._fits_budget, "job.held + ", ""),
    Bug("what is in doubt is not counted", admission._fits_budget, "job.in_doubt + ", ""),
    Bug(
        "an attempt on the wire is not seen",
        admission._decide,
        'any(a.state == "sending" for a in previous)',
        "False",
    ),
    Bug(
        "a call twice in a batch is begun twice",
        admission._decide,
        "call in snapshot.admitted",
        "False",
    ),
    Bug(
        "a request on the wire is not seen",
        admission._decide,
        " or (request.use_cache and request.fingerprint in snapshot.requests_in_flight)",
        "",
    ),
    Bug(
        "a request twice in a batch is begun twice",
        admission.admit,
        "snapshot.requests_in_flight.add(request.fingerprint)",
        "pass",
    ),
    Bug(
        "requests in doubt hold back others",
        admission._requests_in_flight_query,
        "\"'sending'\"",
        "\"'in_doubt'\"",
    ),
    Bug(
        "a job that shares no replies waits for another job",
        admission._decide,
        "(request.use_cache and request.fingerprint in snapshot.requests_in_flight)",
        "(request.fingerprint in snapshot.requests_in_flight)",
    ),
    Bug(
        "a job that shares no replies takes another's",
        admission._decide,
        "request.use_cache and request.fingerprint in snapshot.cached",
        "request.fingerprint in snapshot.cached",
    ),
    Bug(
        "completions are never found",
        admission._decide,
        "request.use_cache and request.fingerprint in snapshot.cached",
        "False",
    ),
    Bug(
        "a completion found is not marked",
        admission._cached_call_row,
        "cached=True",
        "cached=False",
    ),
    Bug(
        "a completion found saves nothing",
        admission._cached_call_row,
        "cache_saved=completion.cost",
        "cache_saved=None",
    ),
    Bug(
        "a completion found saves the highest price",
        admission._cached_call_row,
        "cache_saved=completion.cost",
        "cache_saved=request.hold",
    ),
    Bug(
        "a paused job begins",
        admission._decide,
        'job.state != "running"',
        'job.state not in ("running", "paused")',
    ),
    Bug(
        "a cancelled job begins",
        admission._decide,
        'job.state != "running"',
        'job.state in ("paused", "stopped", "done")',
    ),
    Bug(
        "a settled call is begun again",
        admission._decide,
        "call in snapshot.settled",
        "False",
    ),
    Bug(
        "a lost confirmation is not recognised",
        admission._decide,
        "if _is_own_retry(snapshot, request):",
        "if False:",
    ),
    Bug(
        "any attempt of this process is taken for the same",
        attempts.is_request_of,
        " and parse_timestamp(row.begun_at) == request.begun_at",
        "",
    ),
    Bug(
        "an attempt of another process is taken for the same",
        attempts.is_request_of,
        "row.owner == request.owner and ",
        "",
    ),
    Bug(
        "an attempt that ended is taken for the same",
        admission._is_own_retry,
        'a.state == "sending" and ',
        "",
    ),
    Bug(
        "one process more may die",
        admission._decide,
        ">= MAX_PROCESS_DEATHS",
        "> MAX_PROCESS_DEATHS",
    ),
    Bug(
        "nobody minds that processes die", admission._process_deaths, "a.counted and ", "False and "
    ),
    Bug("deaths count for good", admission._process_deaths, "a.counted and ", ""),
    Bug(
        "a poison pill is not stored",
        admission.admit,
        "calls.append(_poison_pill_row(request))",
        "pass",
    ),
    Bug(
        "attempts before a retry are counted",
        admission._admitted,
        "if a.counted and a.attempt_number < attempt_number",
        "if a.attempt_number < attempt_number",
    ),
    Bug(
        "attempts are numbered anew after a retry",
        admission._admitted,
        "return Admitted(attempt_number,",
        "return Admitted(len(counted) + 1,",
    ),
    Bug(
        "doubts are not counted",
        admission._admitted,
        'sum(a.state == "in_doubt" for a in counted)',
        "0",
    ),
    Bug("nothing is kept back", admission._attempt_row, '"hold": request.hold or 0', '"hold": 0'),
    Bug(
        "what is kept back is not taken from the job",
        admission.admit,
        '{"held": hold}',
        '{"held": 0}',
    ),
]

#: Bugs in settlement.
SETTLEMENT = [
    Bug(
        "what was kept back is not given back",
        settlement.settle,
        "-= before.hold",
        "-= 0",
    ),
    Bug(
        "a late answer leaves its doubt",
        settlement.settle,
        '"held" if before.state == "sending" else "in_doubt"',
        '"held"',
    ),
    Bug(
        "a late answer is thrown away",
        settlement.settle,
        'before.state not in ("sending", "in_doubt")',
        'before.state != "sending"',
    ),
    Bug(
        "an answer that comes twice is paid twice",
        settlement.settle,
        'if before.state not in ("sending", "in_doubt"):',
        "if False:",
    ),
    Bug(
        "an answer that comes twice in a batch is paid twice",
        settlement.settle,
        "states[attempt] = before._replace(state=result.billing.value)",
        "pass",
    ),
    Bug(
        "an answer that shares a batch with its doubt is lost",
        settlement.settle,
        "states[attempt] = before._replace(state=result.billing.value)",
        "del states[attempt]",
    ),
    Bug("what was answered is not paid", settlement.settle, "+= result.cost or 0", "+= 0"),
    Bug(
        "an answer costs the most it can",
        settlement.settle,
        "+= result.cost or 0",
        "+= before.hold if result.cost else 0",
    ),
    Bug(
        "an end in doubt frees its money",
        settlement.settle,
        'change["in_doubt"] += before.hold',
        "pass",
    ),
    Bug(
        "an answer from before a retry settles the call",
        settlement.settle,
        "if before.counted:",
        "if True:",
    ),
    Bug(
        "a blank answer is a completion",
        settlement.settle,
        "if result.reply.text and result.reply.text.strip():",
        "if result.reply.text is not None:",
    ),
    Bug(
        "a completion is stored under another request",
        settlement._completion_row,
        "result.request.fingerprint",
        "result.request.fingerprint[::-1]",
    ),
    Bug(
        "a completion is stored under its call",
        settlement._completion_row,
        "result.request.fingerprint",
        "str(result.request.call.key)",
    ),
    Bug(
        "a completion forgets what it cost",
        settlement._completion_row,
        '"cost": result.cost',
        '"cost": 0',
    ),
    Bug(
        "completions are not kept",
        settlement.settle,
        "completions.append(_completion_row(result, result.reply))",
        "pass",
    ),
    Bug(
        "the last reply to a call stays",
        settlement.settle,
        "    execute_many(connection, insert_reply, calls)",
        """
    for call in calls:
        where = [schema.calls.c[name] == call[name] for name in ("job_id", "ix", "key")]
        connection.execute(sa.delete(schema.calls).where(*where))
        execute_many(connection, insert_reply, [call])
        """,
    ),
    Bug(
        "an end without a price is put down as 0",
        settlement._result_row,
        '"cost": result.cost',
        '"cost": result.cost or 0',
    ),
    Bug("an end forgets its tokens", settlement._result_row, "result.usage.completion_tokens", "0"),
    Bug(
        "a job has but the money of its last change",
        attempts._add_money_update,
        "c[name] + sa.bindparam",
        "sa.bindparam",
    ),
    Bug(
        "a request is admitted before the results of its commit are settled",
        attempt_writer.AttemptWriter._commit_transaction,
        "orphans = settle(connection, results) if results else []",
        "admissions = admit(connection, requests) if requests else []\n"
        "        return admissions, settle(connection, results) if results else []",
    ),
]

#: Bugs in recovery.
RECOVERY = [
    Bug(
        "what a dead process may have spent is forgotten",
        settlement.recover,
        'money[row.job_id]["in_doubt"] += row.hold',
        "pass",
    ),
    Bug(
        "what a dead process kept back stays kept back",
        settlement.recover,
        'money[row.job_id]["held"] -= row.hold',
        "pass",
    ),
    Bug(
        "what a dead process had sent is taken for not billed",
        settlement.recover,
        'state="in_doubt"',
        'state="not_billed"',
    ),
    Bug("the living are taken for dead", settlement.recover, "if is_lost(", "if True or ("),
    Bug("the dead are taken for living", settlement.recover, "if is_lost(", "if False and ("),
    Bug("time is never over", settlement.recover, "as_utc(row.expires_at)", "at"),
    Bug("a death is not stored", settlement.recover, "outcome=WORKER_DIED", "outcome=None"),
    Bug(
        "of a call that was lost twice all attempts are put in doubt",
        settlement.recover,
        "sa.update(schema.attempts).where(attempt, sending)",
        "sa.update(schema.attempts).where(sa.tuple_(*CALL_KEY_COLUMNS) == (row.job_id, row.ix, row.key))",
    ),
]

#: Bugs in jobs and items.
JOBS_AND_ITEMS = [
    Bug(
        "a second submission changes the budget",
        jobs.Jobs.get_or_create,
        "existing or new.submit_key[:12]",
        "existing or new.submit_key[:12]; "
        "connection.execute(_where_job(job_id, sa.update(schema.jobs)).values(budget=new.budget))",
    ),
    Bug(
        "a second submission sets the job going",
        jobs.Jobs.get_or_create,
        "existing or new.submit_key[:12]",
        "existing or new.submit_key[:12]; "
        'connection.execute(_where_job(job_id, sa.update(schema.jobs)).values(state="running"))',
    ),
    Bug(
        "a job moves from any state",
        jobs.Jobs.change_state,
        ".where(schema.jobs.c.state.in_(list(from_states)))",
        "",
    ),
    Bug(
        "a new budget begins with nothing spent",
        jobs.Jobs.set_budget,
        ".values(budget=budget)",
        ".values(budget=budget, spent=0)",
    ),
    Bug(
        "the last end of an item stays",
        items._finish_item_update,
        "c.status == sa.literal_column(\"'open'\"),",
        "",
    ),
    Bug(
        "what is answered is cancelled",
        items.Items.cancel_job,
        ', table.c.status == "open"',
        "",
    ),
    Bug(
        "a retry asks for what was answered",
        items.Items.reopen,
        "items.c.status.in_(list(statuses))",
        'items.c.status != "open"',
    ),
    Bug(
        "a retry opens rows that could not be accepted",
        items.Items.reopen,
        'items.c.messages != "[]"',
        "sa.true()",
    ),
    Bug(
        "a retry forgets attempts",
        items.Items.reopen,
        ".values(counted=False, unused=False)",
        ".values(counted=False, unused=False)); connection.execute(\n"
        "sa.delete(attempts).where(attempts.c.ix.in_(some))",
    ),
    Bug(
        "a retry forgets what was spent",
        items.Items.reopen,
        "return len(ixs)",
        "connection.execute(sa.update(schema.jobs).values(spent=0)); return len(ixs)",
    ),
    Bug(
        "a retry keeps the failures",
        items.Items.reopen,
        "_delete_failed_replies(connection, job_id, some)",
        "pass",
    ),
    Bug(
        "a retry forgets what was answered",
        items._delete_failed_replies,
        'if row.failure is not None or not (row.text or "").strip():',
        "if True:",
    ),
    Bug(
        "a retry keeps blank answers",
        items._delete_failed_replies,
        'if row.failure is not None or not (row.text or "").strip():',
        "if row.failure is not None:",
    ),
    Bug(
        "a retry keeps what was asked about other candidates",
        items._delete_failed_replies,
        "for ix, layer in first_layer.items():",
        "for ix, layer in ():",
    ),
    Bug(
        "a retry forgets the whole layer of a failure",
        items._delete_failed_replies,
        "table.c.layer > layer",
        "table.c.layer >= layer",
    ),
    Bug(
        "a retry leaves the bound of attempts",
        items.Items.reopen,
        ".values(counted=False, unused=False)",
        ".values(counted=True, unused=False)",
    ),
    Bug(
        "a retry lifts the bound of attempts of other rows",
        items.Items.reopen,
        ".where(attempts.c.job_id == job_id, attempts.c.ix.in_(some))",
        ".where(attempts.c.job_id == job_id)",
    ),
]

#: Bugs in prices, in the retry policy and in attempt records.
POLICY = [
    Bug("a call is tried once more", retry_policy.decide, ">= MAX_ATTEMPTS", "> MAX_ATTEMPTS"),
    Bug(
        "a refusal uses up an attempt",
        retry_policy.decide,
        "history.attempts - history.rate_limited",
        "history.attempts",
    ),
    Bug("refusals are forgotten", admission._admitted, "== RATE_LIMIT", '== "never"'),
    Bug(
        "a call is doubted once more",
        retry_policy.decide,
        "else MAX_IN_DOUBT)",
        "else MAX_IN_DOUBT + 1)",
    ),
    Bug(
        "what fails for good is tried again",
        retry_policy.decide,
        'return GiveUp(f"{error.reason}: {error.why}")',
        "return Retry(FIRST_BACKOFF)",
    ),
    Bug(
        "a call fails with its job",
        retry_policy.decide,
        "return StopJob(str(error))",
        "return GiveUp(str(error))",
    ),
    Bug(
        "tokens that were not told are none",
        money.Price.cost,
        "return None",
        "return NanoUsd(0)",
    ),
    Bug(
        "costs are rounded down",
        money.Price._total,
        "-(-(prompt + completion * self.output) // _MILLION)",
        "(prompt + completion * self.output) // _MILLION",
    ),
    Bug("a prompt costs nothing", money.Price._total, "prompt + ", ""),
    Bug(
        "what was read from a cache costs what it costs afresh",
        money.Price.cost,
        "self.input if self.cached is None else self.cached",
        "self.input",
    ),
    Bug(
        "a cache that is dear is not kept back for",
        money.Price.max_cost,
        "max(self.input, self.cached or 0)",
        "self.input",
    ),
    Bug(
        "no answer is kept back for",
        money.Price.max_cost,
        "_max_prompt_tokens(call), call.max_tokens",
        "_max_prompt_tokens(call), 0",
    ),
    Bug(
        "no prompt is kept back for",
        money.Price.max_cost,
        "self._total(prompt * ",
        "self._total(0 * ",
    ),
    Bug(
        "an answer whose tokens were not told costs nothing",
        attempt_records.success_result,
        "cost=request.hold if estimated else cost",
        "cost=cost",
    ),
    Bug(
        "an estimate is not marked",
        attempt_records.success_result,
        "estimated=estimated",
        "estimated=False",
    ),
    Bug(
        "what failed was not billed",
        attempt_records.failure_result,
        "billing=error.billing",
        "billing=Billing.NOT_BILLED",
    ),
    Bug(
        "what is in doubt costs nothing",
        attempt_records.failure_result,
        "None if error.billing is Billing.IN_DOUBT else NanoUsd(0)",
        "NanoUsd(0)",
    ),
    Bug(
        "what was sent in vain settles its call",
        attempt_records.failure_result,
        "if isinstance(verdict, GiveUp) else None",
        'if isinstance(verdict, GiveUp) else Reply(None, failure="no")',
    ),
]

#: Bugs in usage totals.
TOTALS = [
    Bug(
        "what has no price is counted as 0",
        usage_totals._attempt_sums,
        "c.cost.is_(None)",
        "c.cost == 0",
    ),
    Bug(
        "all that was kept back is told to be in doubt",
        usage_totals._attempt_sums,
        "sa.case((is_in_doubt, c.hold), else_=0)",
        "c.hold",
    ),
    Bug(
        "only answers are told as attempts",
        usage_totals._attempt_sums,
        'sa.func.count().label("attempts")',
        'sa.func.sum(sa.case((c.state == "billed", 1), else_=0)).label("attempts")',
    ),
    Bug(
        "what is told to be saved is what was found",
        usage_totals._call_sums,
        "sa.func.sum(c.cache_saved)",
        "sa.func.sum(sa.case((c.cached, 1), else_=0))",
    ),
    Bug(
        "failures are not told",
        usage_totals._call_sums,
        "c.failure.is_not(None)",
        "c.text.is_(None)",
    ),
]

BUGS = [*ADMISSION, *SETTLEMENT, *RECOVERY, *JOBS_AND_ITEMS, *POLICY, *TOTALS]
