"""A machine that does to a ledger all that can befall it, and keeps books beside it.

Its rules are what users, processes and providers do, in any order; after each of them every law of
``ledger_laws.py`` must hold. Budgets are tight, requests are alike across rows and jobs, answers
come late, twice and in any company.
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
from tests.store import ledger_laws as law
from tests.store.ledger_books import (
    ANSWERED,
    DIED,
    MOST_IN_DOUBT,
    MOST_TRIES,
    NO_QUOTA,
    RATE_LIMITED,
    REFUSED,
    TIMED_OUT,
    UNREACHABLE,
    Books,
    Fate,
    ItemBook,
    JobBook,
    Try,
    Word,
)
from tests.store.ledger_laws import Seen, agree

#: Names of jobs, and whether they take what was paid for before. A job is made anew each night.
NAMES = {"nightly": True, "weekly": True, "afresh": False}
NIGHTS = 3
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
#: How a commit comes about: each alone through the clerk's thread, all at once by the clerk, or all
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
    """A ledger, the books that are kept beside it, and all that can befall both."""

    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.at = datetime(2026, 1, 1, tzinfo=UTC)
        #: How often each process has died: the next one has another name.
        self.deaths: Counter[str] = Counter()
        #: How often each job was made.
        self.nights: Counter[str] = Counter()
        #: What was asked, by its fingerprint.
        self.asked: dict[str, Call] = {}
        self.answers = 0
        self.steps = 0
        #: Items that were opened again in this step: what they had may be gone.
        self.opened: set[tuple[str, int]] = set()
        with self.store.database.write_transaction() as connection:
            for table in ("completions", "calls", "attempts", "items", "jobs"):
                connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
        self.seen = Seen.of(self.store)

    # What is submitted.

    @initialize(budgets=st.fixed_dictionaries(dict.fromkeys(NAMES, BUDGETS)))
    def a_night_begins(self, budgets: dict[str, int | None]) -> None:
        for name, budget in budgets.items():
            self.job_is_submitted(name, budget, anew=True)

    @rule(name=JOBS, budget=BUDGETS, anew=st.booleans())
    def job_is_submitted(self, name: str, budget: int | None, anew: bool) -> None:
        """The same submission again is the same job, whatever else comes with it."""
        self.nights[name] += anew and self.nights[name] < NIGHTS
        job = f"{name}-{self.nights[name]}"
        new = NewJob(
            submit_key=job, name=name, dataset="rows.jsonl", architecture={}, prices=PRICES,
            options={}, shard_size=16, concurrent_shards=4, budget=None if budget is None else NanoUsd(budget),
        )  # fmt: skip
        rows = [NewItem(f"row-{ix}", a_question(), {}) for ix in range(ITEMS)]
        bad = NewItem("row-bad", replace(a_question(), messages=()), {}, "no prompt")

        made, is_new = self.store.jobs.get_or_create(new, [*rows, bad] if anew else rows)

        agree("the job's id", made.id, job[:12])
        agree("it is new", is_new, job not in self.books.jobs)
        if is_new:
            items = [ItemBook() for _ in rows]
            items += [ItemBook("failed", reason="no prompt", accepted=False)]
            self.books.jobs[job] = JobBook(NAMES[name], budget, items, ceiling=budget)

    def job(self, name: str) -> str:
        """The last one of that name."""
        return f"{name}-{self.nights[name]}"

    # What is begun and ended.

    @rule(places=PLACES, owner=OWNERS, way=WAYS, twice=st.booleans())
    def calls_begin(self, places: Sequence[Place], owner: str, way: str, twice: bool) -> None:
        self.commit(
            [], [self.a_start(place, owner) for place in [*places, *(places if twice else ())]], way
        )

    @rule(
        data=st.data(), ends=ENDS, same=st.booleans(), twice=st.booleans(), places=PLACES, way=WAYS
    )  # fmt: skip
    def attempts_end_and_calls_begin(
        self,
        data: st.DataObject,
        ends: Sequence[End],
        same: bool,
        twice: bool,
        places: Sequence[Place],
        way: str,
    ) -> None:
        """Late or early, one attempt or several, once or twice, and with whatever begins then."""
        told: list[tuple[Try, Word]] = []
        for end in ends if any(self.books.all()) else ():
            attempt = told[0][0] if same and told else data.draw(self.an_attempt())
            told.append((attempt, self.a_word(attempt, end)))
        self.commit(told * (1 + twice), [self.a_start(place, "ann") for place in places], way)

    @rule(
        name=JOBS, ix=IXS, ways=st.tuples(*[WAY_OF_A_CALL] * len(MODELS)), late=ENDS, way=WAYS,
        end=st.none() | ITEM_END,
    )  # fmt: skip
    def row_goes_its_way(
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
                self.is_tried((name, ix, key), each)
        doubted = [t for t in self.books.all("in_doubt") if t.start.call.ix == ix]
        told = [(t, self.a_word(t, each)) for t, each in zip(doubted, late, strict=False)]
        self.commit(told, [], way)
        if end is not None:
            self.job_is_retried(name, [(ix, end)])

    @rule(
        name=JOBS, ix=IXS, key=st.sampled_from(list(MODELS)), retried=st.booleans(),
        fate=st.sampled_from([UNREACHABLE, TIMED_OUT, DIED]),
    )  # fmt: skip
    def call_is_tried_in_vain(
        self, name: str, ix: int, key: CallKey, retried: bool, fate: Fate
    ) -> None:
        """Whoever meets with the same again and again gives up; a retry begins anew."""
        end: End = fate, (None, None)
        while self.is_tried((name, ix, key), end):
            pass
        if retried:
            self.job_is_retried(name, [(ix, Failed(0, "no"))])
        self.is_tried((name, ix, key), end)

    @precondition(lambda self: any(self.books.all()))
    @rule(data=st.data(), way=WAYS)
    def confirmation_is_lost(self, data: st.DataObject, way: str) -> None:
        """The same start is the same attempt; another process's of that very moment is not."""
        start = data.draw(self.an_attempt()).start
        others = [replace(start, owner=self.process(owner)) for owner in ("ann", "bob")]
        for each in (start, *others):
            self.commit([], [each], way)

    # What befalls processes.

    @rule(
        owners=st.sampled_from([[], ["ann"], ["bob"], ["ann", "bob"]]),
        seconds=st.sampled_from([0, LASTS / 2, LASTS, 7200]),
        found=st.booleans(),
    )
    def processes_die_and_time_passes(
        self, owners: Sequence[str], seconds: float, found: bool
    ) -> None:
        self.at += timedelta(seconds=seconds)
        for owner in owners:
            self.deaths[owner] += 1
        if found:
            with self.store.database.write_transaction() as connection:
                lost = recover(connection, self.is_lost, self.at)
            agree("attempts found lost", lost, self.books.recovered(self.is_dead, self.at))

    # What is done with jobs and items.

    @rule(
        name=JOBS, way=st.none() | WAYS,
        what=st.sampled_from(["pause", "stop", "resume", "resume", "cancel", "finish"]),
    )  # fmt: skip
    def job_is_told(self, name: str, what: str, way: str | None) -> None:
        """Whoever has not heard of it asks to begin calls all the same."""
        job = self.job(name)
        match what:
            case "pause":
                self.move(job, "paused", ["running"])
            case "stop":
                self.move(job, "stopped", ["running"])
            case "resume":
                self.move(job, "running", ["paused", "stopped"])
            case "cancel":
                over = self.books.jobs[job].state in ("done", "cancelled")
                agree(f"{job} is cancelled", self.store.items.cancel_job(job), not over)
                if not over:
                    self.books.moved(job, "cancelled", ["running", "paused", "stopped"])
                    self.books.cancelled(job)
            case "finish":
                over = all(item.status != "open" for item in self.books.jobs[job].items)
                agree(f"{job} is finished", finish_job_if_done(self.store, job), over)
                if over:
                    self.books.moved(job, "done", ["running", "paused", "stopped"])
        if way is not None:
            self.all_begin(name, way)

    @rule(
        name=JOBS, covered=st.none() | st.lists(st.sampled_from([CHEAP, DEAR]), max_size=2),
        more=st.sampled_from([-1, 0, 0, 1]), way=st.none() | WAYS,
    )  # fmt: skip
    def budget_is_set(
        self, name: str, covered: Sequence[CallKey] | None, more: int, way: str | None
    ) -> None:
        """To what just covers some calls, or just not, and perhaps all of them are asked for."""
        job = self.job(name)
        budget = None
        if covered is not None:
            reserves = [self.a_start((name, 0, key), "ann").hold or 0 for key in covered]
            budget = NanoUsd(max(0, self.books.committed(job) + sum(reserves) + more))
        self.store.jobs.set_budget(job, budget)
        self.books.set_budget(job, budget)
        if way is not None:
            self.all_begin(name, way)

    @rule(name=JOBS, ends=ITEM_ENDS)
    def items_end(self, name: str, ends: Sequence[tuple[int, Answer | Failed]]) -> None:
        self.store.items.finish(self.job(name), ends)
        for ix, end in ends:
            self.books.item_ended(self.job(name), ix, end)

    @rule(name=JOBS, ends=ITEM_ENDS)
    def job_is_retried(self, name: str, ends: Sequence[tuple[int, Answer | Failed]]) -> None:
        job = self.job(name)
        self.items_end(name, ends)

        count = self.store.items.reopen(job, ["failed", "cancelled"])

        opened = self.books.reopened(job, ["failed", "cancelled"])
        agree("rows opened again", count, len(opened))
        self.opened |= {(job, ix) for ix in opened}
        if opened:
            self.books.moved(job, "running", ["done", "cancelled", "stopped", "paused"])

    # The law.

    @invariant()
    def the_law_holds(self) -> None:
        before, self.seen = self.seen, Seen.of(self.store)
        seen, books = self.seen, self.books
        for job in seen.jobs:
            law.a_job_s_money_is_what_its_attempts_add_up_to(seen, job)
            law.a_budget_is_never_exceeded(seen, books, job)
            law.the_bill_is_covered(seen, books, job)
            law.the_money_is_what_was_told(seen, books, job)
        law.a_call_is_on_the_wire_once(seen)
        law.a_request_is_on_the_wire_once_where_replies_are_shared(seen, books)
        law.attempts_are_numbered_and_none_is_lost(seen, before)
        law.what_is_settled_stays(seen, before, self.opened)
        law.a_completion_is_never_another_request_s(seen)
        law.the_attempts_are_what_was_told(seen, books)
        law.the_replies_are_what_was_told(seen, books)
        law.the_completions_are_what_was_told(seen, books)
        law.the_jobs_and_items_are_what_was_told(seen, books)
        # One account after the other, since they ask much of the database.
        self.steps += 1
        if seen.jobs:
            job = sorted(seen.jobs)[self.steps % len(seen.jobs)]
            group = GROUPS[self.steps % len(GROUPS)]
            law.the_accounts_are_what_was_told(self.store, books, job, group)
        self.opened.clear()

    def teardown(self) -> None:
        for job in self.seen.jobs:
            law.the_sums_are_those_of_the_entries(self.store, job)

    # How all of this is done.

    def a_call(self, place: Place) -> Call:
        """Jobs of a night ask alike; so do the rows of a job, but for the dear call.

        What is asked later is the same on any night, until a retry has changed what it is about.
        """
        name, ix, key = place
        night = self.nights[name]
        wording = self.books.jobs[self.job(name)].items[ix].wording
        about = {CHEAP: f"{night}", DEAR: f"{night}/{ix}", LATER: f"{wording}"}[key]
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

    def an_attempt(self) -> st.SearchStrategy[Try]:
        """One in flight, one in doubt, or any."""
        every = list(self.books.all())
        some = [list(self.books.all(state)) or every for state in ("sending", "in_doubt")]
        return st.one_of(*map(st.sampled_from, (*some, every)))

    def a_word(self, attempt: Try, end: End) -> Word:
        """What a provider says, within what it may count."""
        fate, (text, halves) = end
        if fate is not ANSWERED:
            return Word(fate)
        if text == "a text":
            # Nobody else is ever told this, and it says what was asked.
            self.answers += 1
            text = f"{attempt.start.fingerprint} {self.answers}"
        if halves is None:
            return Word(fate, text)
        completion = attempt.call.max_tokens * halves // 2
        return Word(fate, text, Usage(10 + halves, completion, cached_tokens=[None, 5, 99][halves]))

    def a_finish(self, attempt: Try, word: Word) -> AttemptResult:
        """The end as attempts are ended by whoever sent them."""
        start, n = attempt.start, attempt.n
        if word.fate.error is None:
            return success_result(start, n, Reply(word.text, usage=word.usage), attempt.price)
        error = word.fate.error(start.model, "no")
        doubts = attempt.doubts + (error.billing == "in_doubt")
        past = AttemptHistory(attempt.tried, doubts, attempt.refused + (word.fate is RATE_LIMITED))
        return failure_result(start, n, error, decide(error, past, 0.5))

    def is_tried(self, place: Place, end: End) -> bool:
        """Begin an attempt of the call and end it; whether there was one."""
        (verdict,) = self.commit([], [self.a_start(place, "ann")], "together")
        if not isinstance(verdict, Admitted):
            return False
        attempt = self.books.tries[self.job(place[0]), place[1], str(place[2])][-1]
        if end[0] is DIED:
            self.processes_die_and_time_passes(["ann"], 0, found=True)
        else:
            self.commit([(attempt, self.a_word(attempt, end))], [], "together")
        return True

    def all_begin(self, name: str, way: str) -> None:
        """Have every call of the job ask to be begun."""
        places = [(name, ix, key) for ix in range(ITEMS) for key in MODELS]
        self.commit([], [self.a_start(place, "bob") for place in places], way)

    def commit(
        self, ends: Sequence[tuple[Try, Word]], starts: Sequence[AttemptRequest], way: str
    ) -> list[Admission]:
        """Do it to the ledger, note it down in the books, and see that the verdicts agree."""
        verdicts = _done(self.store, [self.a_finish(*end) for end in ends], starts, way)
        # Ends first: the money that they free may let a beginning through.
        for attempt, word in ends:
            self.books.ended(attempt, word)
        for start, verdict in zip(starts, verdicts, strict=True):
            row = start.call.as_tuple
            before = list(self.books.tries[row])
            told = self.books.began(start, self.asked[start.fingerprint], PRICES[start.model])
            agree(f"verdict on {row}", verdict, told)
            if len(self.books.tries[row]) > len(before):
                self.was_within_bounds(row[0], [t for t in before if t.counts])
        for attempt, word in ends:
            if word.fate is NO_QUOTA:
                self.move(attempt.start.call.job_id, "stopped", ["running"])
        return verdicts

    def was_within_bounds(self, job: str, before: Sequence[Try]) -> None:
        """See that one more attempt of a call was not one too many."""
        assert self.books.jobs[job].state == "running", f"begun in {job}, which does not run"
        free = (DIED.outcome, NO_QUOTA.outcome, RATE_LIMITED.outcome)
        told = [t for t in before if t.outcome not in free]
        assert len(told) < MOST_TRIES, f"an attempt after {len(told)}"
        doubts = sum(t.outcome == TIMED_OUT.outcome for t in told)
        assert doubts < MOST_IN_DOUBT, f"an attempt after {doubts} in doubt"

    def move(self, job: str, state: str, only_from: Sequence[str]) -> None:
        moved = self.store.jobs.change_state(job, state, from_states=only_from)
        agree(f"{job} moves", moved, self.books.moved(job, state, only_from))


def _done(
    store: Store, ends: Sequence[AttemptResult], starts: Sequence[AttemptRequest], way: str
) -> list[Admission]:
    """Have it committed in one of the ways; what comes of the beginnings."""
    if way == "alone":
        for end in ends:
            store.attempt_writer.settle(end).result(30)
        return [store.attempt_writer.admit(start).result(30) for start in starts]
    if way == "together":
        begun: list[Future[Admission]] = [Future() for _ in starts]
        beginnings = map(_AdmitEntry, starts, begun)
        batch: list[_QueueEntry] = [*beginnings, *map(_SettleEntry, ends)]
        if batch:
            store.attempt_writer._commit(batch)
        return [future.result(0) for future in begun]
    with store.database.write_transaction() as connection:
        if ends:
            settle(connection, ends)
        return admit(connection, starts) if starts else []
