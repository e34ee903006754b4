"""A state machine that tests the ledger against a model.

Its rules are what users, processes and providers do, in any order; after each rule every invariant
of ``ledger_invariants.py`` must hold. Budgets are tight, rows and jobs share requests, answers come
late, twice, and in one commit with other entries.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from archon_batch.archon import Answer, Call, CallKey, Failed, Reply, Usage
from archon_batch.calls.attempt_records import failure_result, success_result
from archon_batch.jobs.shard_step import finish_job_if_done
from archon_batch.money import NanoUsd, Price
from archon_batch.retry_policy import AttemptHistory, decide
from archon_batch.store import (
    Admission,
    Admitted,
    AttemptRequest,
    AttemptResult,
    CallId,
    GroupBy,
    NewItem,
    NewJob,
    Store,
)
from archon_batch.store.admission import admit
from archon_batch.store.attempt_writer import _AdmitEntry, _QueueEntry, _SettleEntry
from archon_batch.store.settlement import recover, settle
from tests.builders import a_call, a_question
from tests.store import ledger_invariants as invariants
from tests.store.ledger_invariants import Snapshot, agree
from tests.store.ledger_model import (
    ANSWERED,
    DIED,
    MAX_ATTEMPTS,
    MAX_IN_DOUBT,
    NO_QUOTA,
    RATE_LIMITED,
    REFUSED,
    TIMED_OUT,
    UNREACHABLE,
    Fate,
    LedgerModel,
    ModelAttempt,
    ModelItem,
    ModelJob,
    Response,
)

#: Names of jobs, and whether they take what was paid for before. A job is made anew each submission.
NAMES = {"nightly": True, "weekly": True, "afresh": False}
MAX_SUBMISSIONS = 3
#: Items of a job that ask something; one more has a row that could not be accepted.
ITEMS = 2

#: What each call of an item asks whom, and how long an answer may be.
CHEAP, DEAR, LATER = CallKey(0, 0, 0, 0), CallKey(0, 0, 1, 0), CallKey(1, 0, 0, 0)
MODELS = {CHEAP: ("cheap", 40), DEAR: ("dear", 60), LATER: ("free", 40)}
#: A token costs a bit more than a whole number of nano-dollars, so that rounding shows.
PRICES = {
    "cheap": Price(1_000_000, 1_500_001, cached=250_001),
    "dear": Price(2_000_000, 3_000_001, cached=8_000_000),
    "free": None,
}

#: Seconds after which an attempt is certainly over.
LASTS = 60.0

#: What accounts are grouped by.
GROUPS: tuple[GroupBy, ...] = ("model", "layer", "component")

Place = tuple[str, int, CallKey]
#: What a provider does with a request, what it answers if it does, and how much of the most that
#: this may cost it costs, in halves; None is not told.
End = tuple[Fate, tuple[str | None, int | None]]

JOBS = st.sampled_from(["nightly", "nightly", "weekly", "afresh", "afresh"])
IXS = st.integers(0, ITEMS - 1)
PLACES = st.lists(st.tuples(JOBS, IXS, st.sampled_from([CHEAP, CHEAP, DEAR, LATER])), max_size=4)
OWNERS = st.sampled_from(["ann", "bob"])
#: How a commit comes about: each alone through the thread of the attempt writer, together by its commit, or all
#: at once without it, who would try one by one what cannot be done together.
WAYS = st.sampled_from(["alone", "together", "bare"])
BUDGETS = st.sampled_from([None, None, 0, 105, 300, 700, 2000])
TOLD = [ANSWERED, ANSWERED, TIMED_OUT, REFUSED, RATE_LIMITED, UNREACHABLE, NO_QUOTA]
ANSWERS = st.tuples(
    st.sampled_from(["a text", "a text", "a text", "", " \n", None]),
    st.sampled_from([0, 1, 2, None]),
)
ENDS = st.lists(st.tuples(st.sampled_from(TOLD), ANSWERS), max_size=3)
WAY_OF_A_CALL = st.lists(st.tuples(st.sampled_from([*TOLD, DIED]), ANSWERS), max_size=3)
ITEM_END = st.sampled_from([Answer("four", "0.0.0", ()), Failed(0, "no"), Failed(1, "no more")])
ITEM_ENDS = st.lists(st.tuples(st.integers(0, ITEMS), ITEM_END), max_size=2)


class Ledger(RuleBasedStateMachine):
    """The ledger, its model, and everything that can happen to both."""

    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.model = LedgerModel()
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        #: How often each process has died: the next one has another name.
        self.deaths: Counter[str] = Counter()
        #: How often each job was made.
        self.submissions: Counter[str] = Counter()
        #: What was asked, by its fingerprint.
        self.asked: dict[str, Call] = {}
        self.answers = 0
        self.steps = 0
        #: Items that were opened again in this step: what they had may be gone.
        self.opened: set[tuple[str, int]] = set()
        with self.store.database.write_transaction() as connection:
            for table in ("completions", "calls", "attempts", "items", "jobs"):
                connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
        self.seen = Snapshot.of(self.store)

    # Submissions.

    @initialize(budgets=st.fixed_dictionaries(dict.fromkeys(NAMES, BUDGETS)))
    def submit_jobs(self, budgets: dict[str, int | None]) -> None:
        for name, budget in budgets.items():
            self.submit_job(name, budget, anew=True)

    @rule(name=JOBS, budget=BUDGETS, anew=st.booleans())
    def submit_job(self, name: str, budget: int | None, anew: bool) -> None:
        """The same submission again is the same job, whatever else comes with it."""
        self.submissions[name] += anew and self.submissions[name] < MAX_SUBMISSIONS
        job = f"{name}-{self.submissions[name]}"
        new = NewJob(
            submit_key=job, name=name, dataset="rows.jsonl", architecture={}, prices=PRICES,
            options={}, shard_size=16, concurrent_shards=4, budget=None if budget is None else NanoUsd(budget),
        )  # fmt: skip
        rows = [NewItem(f"row-{ix}", a_question(), {}) for ix in range(ITEMS)]
        bad = NewItem("row-bad", replace(a_question(), messages=()), {}, "no prompt")

        made, is_new = self.store.jobs.get_or_create(new, [*rows, bad] if anew else rows)

        agree("the job's id", made.id, job[:12])
        agree("it is new", is_new, job not in self.model.jobs)
        if is_new:
            items = [ModelItem() for _ in rows]
            items += [ModelItem("failed", reason="no prompt", accepted=False)]
            self.model.jobs[job] = ModelJob(NAMES[name], budget, items, ceiling=budget)

    def job(self, name: str) -> str:
        """The last one of that name."""
        return f"{name}-{self.submissions[name]}"

    # Attempts.

    @rule(places=PLACES, owner=OWNERS, way=WAYS, twice=st.booleans())
    def begin_calls(self, places: Sequence[Place], owner: str, way: str, twice: bool) -> None:
        self.commit(
            [], [self.a_start(place, owner) for place in [*places, *(places if twice else ())]], way
        )

    @rule(
        data=st.data(), ends=ENDS, same=st.booleans(), twice=st.booleans(), places=PLACES, way=WAYS
    )  # fmt: skip
    def end_attempts_and_begin_calls(
        self,
        data: st.DataObject,
        ends: Sequence[End],
        same: bool,
        twice: bool,
        places: Sequence[Place],
        way: str,
    ) -> None:
        """Late or early, one attempt or several, once or twice, and with whatever begins then."""
        told: list[tuple[ModelAttempt, Response]] = []
        for end in ends if any(self.model.all()) else ():
            attempt = told[0][0] if same and told else data.draw(self.an_attempt())
            told.append((attempt, self.a_response(attempt, end)))
        self.commit(told * (1 + twice), [self.a_start(place, "ann") for place in places], way)

    @rule(
        name=JOBS, ix=IXS, ways=st.tuples(*[WAY_OF_A_CALL] * len(MODELS)), late=ENDS, way=WAYS,
        end=st.none() | ITEM_END,
    )  # fmt: skip
    def run_row(
        self,
        name: str,
        ix: int,
        ways: Sequence[Sequence[End]],
        late: Sequence[End],
        way: str,
        end: Answer | Failed | None,
    ) -> None:
        """Call by call to its end, and perhaps once more; answers may come when all is over."""
        for key, ends in zip(MODELS, ways, strict=True):
            for each in ends:
                self.try_call((name, ix, key), each)
        doubted = [t for t in self.model.all("in_doubt") if t.start.call.ix == ix]
        told = [(t, self.a_response(t, each)) for t, each in zip(doubted, late, strict=False)]
        self.commit(told, [], way)
        if end is not None:
            self.retry_job(name, [(ix, end)])

    @rule(
        name=JOBS, ix=IXS, key=st.sampled_from(list(MODELS)), retried=st.booleans(),
        fate=st.sampled_from([UNREACHABLE, TIMED_OUT, DIED]),
    )  # fmt: skip
    def exhaust_call(self, name: str, ix: int, key: CallKey, retried: bool, fate: Fate) -> None:
        """A call that always fails in the same way is given up; a retry starts a new count."""
        end: End = fate, (None, None)
        while self.try_call((name, ix, key), end):
            pass
        if retried:
            self.retry_job(name, [(ix, Failed(0, "no"))])
        self.try_call((name, ix, key), end)

    @precondition(lambda self: any(self.model.all()))
    @rule(data=st.data(), way=WAYS)
    def repeat_request(self, data: st.DataObject, way: str) -> None:
        """The same start is the same attempt; another process's of that very moment is not."""
        start = data.draw(self.an_attempt()).start
        others = [replace(start, owner=self.process(owner)) for owner in ("ann", "bob")]
        for each in (start, *others):
            self.commit([], [each], way)

    # Processes.

    @rule(
        owners=st.sampled_from([[], ["ann"], ["bob"], ["ann", "bob"]]),
        seconds=st.sampled_from([0, LASTS / 2, LASTS, 7200]),
        found=st.booleans(),
    )
    def kill_processes(self, owners: Sequence[str], seconds: float, found: bool) -> None:
        self.at += timedelta(seconds=seconds)
        for owner in owners:
            self.deaths[owner] += 1
        if found:
            with self.store.database.write_transaction() as connection:
                lost = recover(connection, self.is_lost, self.at)
            agree("attempts found lost", lost, self.model.recovered(self.is_dead, self.at))

    # Jobs and items.

    @rule(
        name=JOBS, way=st.none() | WAYS,
        what=st.sampled_from(["pause", "stop", "resume", "resume", "cancel", "finish"]),
    )  # fmt: skip
    def control_job(self, name: str, what: str, way: str | None) -> None:
        """A process that has not noticed the change still asks to begin calls."""
        job = self.job(name)
        match what:
            case "pause":
                self.move(job, "paused", ["running"])
            case "stop":
                self.move(job, "stopped", ["running"])
            case "resume":
                self.move(job, "running", ["paused", "stopped"])
            case "cancel":
                over = self.model.jobs[job].state in ("done", "cancelled")
                agree(f"{job} is cancelled", self.store.items.cancel_job(job), not over)
                if not over:
                    self.model.moved(job, "cancelled", ["running", "paused", "stopped"])
                    self.model.cancelled(job)
            case "finish":
                over = all(item.status != "open" for item in self.model.jobs[job].items)
                agree(f"{job} is finished", finish_job_if_done(self.store, job), over)
                if over:
                    self.model.moved(job, "done", ["running", "paused", "stopped"])
        if way is not None:
            self.begin_all(name, way)

    @rule(
        name=JOBS, covered=st.none() | st.lists(st.sampled_from([CHEAP, DEAR]), max_size=2),
        more=st.sampled_from([-1, 0, 0, 1]), way=st.none() | WAYS,
    )  # fmt: skip
    def set_budget(
        self, name: str, covered: Sequence[CallKey] | None, more: int, way: str | None
    ) -> None:
        """To what just covers some calls, or just not, and perhaps all of them are asked for."""
        job = self.job(name)
        budget = None
        if covered is not None:
            holds = [self.a_start((name, 0, key), "ann").hold or 0 for key in covered]
            budget = NanoUsd(max(0, self.model.committed(job) + sum(holds) + more))
        self.store.jobs.set_budget(job, budget)
        self.model.set_budget(job, budget)
        if way is not None:
            self.begin_all(name, way)

    @rule(name=JOBS, ends=ITEM_ENDS)
    def finish_items(self, name: str, ends: Sequence[tuple[int, Answer | Failed]]) -> None:
        self.store.items.finish(self.job(name), ends)
        for ix, end in ends:
            self.model.item_ended(self.job(name), ix, end)

    @rule(name=JOBS, ends=ITEM_ENDS)
    def retry_job(self, name: str, ends: Sequence[tuple[int, Answer | Failed]]) -> None:
        job = self.job(name)
        self.finish_items(name, ends)

        count = self.store.items.reopen(job, ["failed", "cancelled"])

        opened = self.model.reopened(job, ["failed", "cancelled"])
        agree("rows opened again", count, len(opened))
        self.opened |= {(job, ix) for ix in opened}
        if opened:
            self.model.moved(job, "running", ["done", "cancelled", "stopped", "paused"])

    # The invariants.

    @invariant()
    def every_invariant_holds(self) -> None:
        before, self.seen = self.seen, Snapshot.of(self.store)
        seen, model = self.seen, self.model
        for job in seen.jobs:
            invariants.money_of_a_job_is_the_sum_of_its_attempts(seen, job)
            invariants.budget_is_never_exceeded(seen, model, job)
            invariants.bill_is_covered(seen, model, job)
            invariants.money_equals_the_model(seen, model, job)
        invariants.call_is_in_flight_once(seen)
        invariants.cached_request_is_in_flight_once(seen, model)
        invariants.attempts_are_numbered_and_kept(seen, before)
        invariants.settled_rows_do_not_change(seen, before, self.opened)
        invariants.completion_belongs_to_its_request(seen)
        invariants.attempts_equal_the_model(seen, model)
        invariants.replies_equal_the_model(seen, model)
        invariants.completions_equal_the_model(seen, model)
        invariants.jobs_and_items_equal_the_model(seen, model)
        # Check one job's totals per step, because the queries are slow.
        self.steps += 1
        if seen.jobs:
            job = sorted(seen.jobs)[self.steps % len(seen.jobs)]
            group = GROUPS[self.steps % len(GROUPS)]
            invariants.totals_equal_the_model(self.store, model, job, group)
        self.opened.clear()

    def teardown(self) -> None:
        for job in self.seen.jobs:
            invariants.totals_equal_the_recomputed_totals(self.store, job)

    # Helpers.

    def a_call(self, place: Place) -> Call:
        """Jobs of a submission ask alike; so do the rows of a job, but for the dear call.

        What is asked later is the same on any submission, until a retry has changed what it is about.
        """
        name, ix, key = place
        submission = self.submissions[name]
        wording = self.model.jobs[self.job(name)].items[ix].wording
        about = {CHEAP: f"{submission}", DEAR: f"{submission}/{ix}", LATER: f"{wording}"}[key]
        model, most = MODELS[key]
        return replace(a_call(f"{model}/{about}", model=model, max_tokens=most), key=key)

    def a_start(self, place: Place, owner: str) -> AttemptRequest:
        """A start of its own, even if it is the same call's."""
        call = self.a_call(place)
        self.asked[call.fingerprint] = call
        price = PRICES[call.model.model]
        self.at += timedelta(seconds=1)
        return AttemptRequest(
            call=CallId(self.job(place[0]), place[1], call.key),
            kind=call.component_type,
            model=call.model.model,
            fingerprint=call.fingerprint,
            hold=price.max_cost(call) if price else None,
            expires_after=LASTS,
            use_cache=NAMES[place[0]],
            owner=self.process(owner),
            begun_at=self.at,
        )

    def process(self, owner: str) -> str:
        return f"host:{owner}:{self.deaths[owner]}"

    def is_dead(self, process: str) -> bool:
        _, owner, life = process.split(":")
        return int(life) < self.deaths[owner]

    def is_lost(self, process: str, expires_at: datetime) -> bool:
        return expires_at < self.at or self.is_dead(process)

    def an_attempt(self) -> st.SearchStrategy[ModelAttempt]:
        """One in flight, one in doubt, or any."""
        every = list(self.model.all())
        some = [list(self.model.all(state)) or every for state in ("sending", "in_doubt")]
        return st.one_of(*map(st.sampled_from, (*some, every)))

    def a_response(self, attempt: ModelAttempt, end: End) -> Response:
        """What a provider says, within what it may count."""
        fate, (text, halves) = end
        if fate is not ANSWERED:
            return Response(fate)
        if text == "a text":
            # Nobody else is ever told this, and it says what was asked.
            self.answers += 1
            text = f"{attempt.start.fingerprint} {self.answers}"
        if halves is None:
            return Response(fate, text)
        completion = attempt.call.max_tokens * halves // 2
        return Response(
            fate, text, Usage(10 + halves, completion, cached_tokens=[None, 5, 99][halves])
        )

    def a_finish(self, attempt: ModelAttempt, word: Response) -> AttemptResult:
        """The result, made as the call executor makes it."""
        start, n = attempt.start, attempt.n
        if word.fate.error is None:
            return success_result(start, n, Reply(word.text, usage=word.usage), attempt.price)
        error = word.fate.error(start.model, "no")
        doubts = attempt.doubts + (error.billing == "in_doubt")
        past = AttemptHistory(attempt.tried, doubts, attempt.refused + (word.fate is RATE_LIMITED))
        return failure_result(start, n, error, decide(error, past, 0.5))

    def try_call(self, place: Place, end: End) -> bool:
        """Begin an attempt of the call and end it; whether there was one."""
        (verdict,) = self.commit([], [self.a_start(place, "ann")], "together")
        if not isinstance(verdict, Admitted):
            return False
        attempt = self.model.tries[self.job(place[0]), place[1], str(place[2])][-1]
        if end[0] is DIED:
            self.kill_processes(["ann"], 0, found=True)
        else:
            self.commit([(attempt, self.a_response(attempt, end))], [], "together")
        return True

    def begin_all(self, name: str, way: str) -> None:
        """Have every call of the job ask to be begun."""
        places = [(name, ix, key) for ix in range(ITEMS) for key in MODELS]
        self.commit([], [self.a_start(place, "bob") for place in places], way)

    def commit(
        self,
        ends: Sequence[tuple[ModelAttempt, Response]],
        starts: Sequence[AttemptRequest],
        way: str,
    ) -> list[Admission]:
        """Do it to the ledger, note it down in the model, and see that the verdicts agree."""
        verdicts = _done(self.store, [self.a_finish(*end) for end in ends], starts, way)
        # Results first: the money that they release may admit a request.
        for attempt, word in ends:
            self.model.ended(attempt, word)
        for start, verdict in zip(starts, verdicts, strict=True):
            row = start.call.as_tuple
            before = list(self.model.tries[row])
            told = self.model.began(start, self.asked[start.fingerprint], PRICES[start.model])
            agree(f"verdict on {row}", verdict, told)
            if len(self.model.tries[row]) > len(before):
                self.was_within_bounds(row[0], [t for t in before if t.counts])
        for attempt, word in ends:
            if word.fate is NO_QUOTA:
                self.move(attempt.start.call.job_id, "stopped", ["running"])
        return verdicts

    def was_within_bounds(self, job: str, before: Sequence[ModelAttempt]) -> None:
        """See that one more attempt of a call was not one too many."""
        assert self.model.jobs[job].state == "running", f"begun in {job}, which does not run"
        free = (DIED.outcome, NO_QUOTA.outcome, RATE_LIMITED.outcome)
        told = [t for t in before if t.outcome not in free]
        assert len(told) < MAX_ATTEMPTS, f"an attempt after {len(told)}"
        doubts = sum(t.outcome == TIMED_OUT.outcome for t in told)
        assert doubts < MAX_IN_DOUBT, f"an attempt after {doubts} in doubt"

    def move(self, job: str, state: str, only_from: Sequence[str]) -> None:
        moved = self.store.jobs.change_state(job, state, from_states=only_from)
        agree(f"{job} moves", moved, self.model.moved(job, state, only_from))


def _done(
    store: Store, ends: Sequence[AttemptResult], starts: Sequence[AttemptRequest], way: str
) -> list[Admission]:
    """Have it committed in one of the ways; what comes of the entries."""
    if way == "alone":
        for end in ends:
            store.attempt_writer.settle(end).result(30)
        return [store.attempt_writer.admit(start).result(30) for start in starts]
    if way == "together":
        begun: list[Future[Admission]] = [Future() for _ in starts]
        entries = map(_AdmitEntry, starts, begun)
        batch: list[_QueueEntry] = [*entries, *map(_SettleEntry, ends)]
        if batch:
            store.attempt_writer._commit(batch)
        return [future.result(0) for future in begun]
    with store.database.write_transaction() as connection:
        if ends:
            settle(connection, ends)
        return admit(connection, starts) if starts else []
