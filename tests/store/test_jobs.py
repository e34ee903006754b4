"""Jobs: made once, found again, moved from state to state."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from archon_batch.archon import Message, Question
from archon_batch.errors import JobNotFoundError
from archon_batch.money import NanoUsd, Overbilling, Price
from archon_batch.store import NewItem, NewJob
from tests.builders import a_job, a_question, an_architecture

PRICES = {"scripted/plausible": Price(15, 60, 7), "scripted/rough": None}


def test_a_job_is_stored_as_created(any_store):
    architecture = an_architecture()

    made = a_job(any_store, architecture=architecture, prices=PRICES, budget=7, reuse=False)

    job = any_store.jobs.get(made.id)
    assert job == made
    assert (job.name, job.dataset, job.rows, job.shard_size, job.concurrent_shards) == (
        "nightly", "rows.jsonl", 2, 16, 4,
    )  # fmt: skip
    assert (job.architecture, job.prices) == (architecture.to_dict(), PRICES)
    assert (job.options, job.budget) == ({"reuse": False}, 7)
    assert (job.state, job.spent, job.held, job.in_doubt) == ("running", 0, 0, 0)
    assert job.created_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - job.created_at) < timedelta(minutes=1)
    assert job.ended_at is None


def test_submitting_twice_gives_one_job(any_store):
    first = a_job(any_store, questions=2)

    second = a_job(any_store, questions=3)

    assert second == first
    assert [job.id for job in any_store.jobs.all()] == [first.id]
    assert any_store.usage.progress(first.id).open == 2


def test_a_second_submission_does_not_read_its_rows(any_store):
    def new(key):
        return NewJob(key * 64, key, "rows.jsonl", {}, {}, {}, 16, 4, None)

    def rows():
        yield NewItem("row-0", a_question(), {})
        read.append("row-0")

    read: list[str] = []

    made = [any_store.jobs.get_or_create(new("a"), rows()) for _ in range(2)]

    assert [is_new for _, is_new in made] == [True, False]
    assert read == ["row-0"]


def test_a_job_is_created_with_all_its_rows_or_not_at_all(any_store):
    def rows():
        for n in range(1_500):
            yield NewItem(f"row-{n}", a_question(), {})
        raise RuntimeError("the file ends in the middle of a row")

    new = NewJob("a" * 64, "cut", "rows.jsonl", {}, {}, {}, 16, 4, None)

    with pytest.raises(RuntimeError):
        any_store.jobs.get_or_create(new, rows())

    assert any_store.jobs.all() == []
    assert not any_store.items.has_open("a" * 12)


def test_rows_are_divided_into_shards_in_order(any_store):
    job = a_job(any_store, questions=2_050, shard=1_000)

    sizes = [len(any_store.items.open_in_shard(job.id, shard)) for shard in range(4)]

    assert sizes == [1_000, 1_000, 50, 0]
    assert any_store.items.open_in_shard(job.id, 2)[0].ix == 2_000


def test_any_text_of_a_question_is_read_back(any_store):
    text = "é \0 \ud800 \U0001f600 \u202e \x7f \r\n"
    question = Question("row-0", (Message("system", text), Message("user", text)))

    job = a_job(any_store, questions=[question])

    (item,) = any_store.items.open_in_shard(job.id, 0)
    assert item.question == question


def test_a_row_with_a_reason_has_failed_from_the_start(any_store):
    new = NewJob("a" * 64, "rough", "rows.jsonl", {}, {}, {}, 16, 4, None)
    bad = NewItem("row-0", Question("row-0", ()), {}, reason="line 1: no prompt")

    job, _ = any_store.jobs.get_or_create(new, [bad, NewItem("row-1", a_question(), {})])

    assert [item.ix for item in any_store.items.open_in_shard(job.id, 0)] == [1]
    ending = any_store.item_results.get(job.id, "row-0")
    assert (ending.status, ending.reason) == ("failed", "line 1: no prompt")


@pytest.fixture
def three(any_store):
    return {name: a_job(any_store, name=name) for name in ("labels", "labels-2", "100%_sure")}


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("labels", "labels"),
        ("labels-2", "labels-2"),
        ("labels-", "labels-2"),
        ("100", "100%_sure"),
        ("100%_", "100%_sure"),
    ],
)
def test_a_job_is_found_by_its_name_or_a_prefix(any_store, three, ref, name):
    assert any_store.jobs.find(ref) == three[name]


@pytest.mark.parametrize("length", [12, 11, 6])
def test_a_job_is_found_by_its_id_or_a_prefix(any_store, three, length):
    job = three["labels"]

    assert any_store.jobs.find(job.id[:length]) == job


@pytest.mark.parametrize("ref", ["nothing", "%", "_", "100_", "LABELS!", "\\"])
def test_an_unknown_job_is_not_found(any_store, three, ref):
    del three

    with pytest.raises(JobNotFoundError, match="no job with this id or name"):
        any_store.jobs.find(ref)


def test_an_ambiguous_prefix_lists_its_matches(any_store, three):
    with pytest.raises(JobNotFoundError) as refusal:
        any_store.jobs.find("label")

    assert f"{three['labels'].id} (labels)" in refusal.value.why
    assert f"{three['labels-2'].id} (labels-2)" in refusal.value.why


def test_the_newest_of_several_jobs_with_one_name_is_found(any_store):
    def new(key):
        return NewJob(key * 64, "nightly", "rows.jsonl", {}, {}, {}, 16, 4, None)

    _, newer = (any_store.jobs.get_or_create(new(key), [])[0] for key in "ab")

    assert any_store.jobs.newest_named("nightly") == newer
    assert any_store.jobs.newest_named("night") is None
    assert any_store.jobs.all()[0] == newer
    with pytest.raises(JobNotFoundError, match="several jobs match"):
        any_store.jobs.find("nightly")


def test_an_unknown_id_is_not_found(any_store):
    with pytest.raises(JobNotFoundError, match="no job with this id"):
        any_store.jobs.get("abc")


def test_a_job_changes_from_the_given_states(any_store):
    job = a_job(any_store)

    moved = any_store.jobs.change_state(
        job.id, "paused", from_states=["running"], reason="the budget"
    )

    assert moved
    after = any_store.jobs.get(job.id)
    assert (after.state, after.reason, after.ended_at) == ("paused", "the budget", None)


def test_a_job_in_another_state_does_not_change(any_store):
    job = a_job(any_store)
    any_store.jobs.change_state(job.id, "cancelled", from_states=["running"], reason="by hand")

    moved = any_store.jobs.change_state(job.id, "done", from_states=["running", "paused"])

    assert not moved
    after = any_store.jobs.get(job.id)
    assert (after.state, after.reason) == ("cancelled", "by hand")


@pytest.mark.parametrize("state", ["done", "cancelled"])
def test_an_ended_job_has_an_end_time_and_a_resumed_job_has_none(any_store, state):
    job = a_job(any_store)

    any_store.jobs.change_state(job.id, state, from_states=["running"])
    ended = any_store.jobs.get(job.id).ended_at
    any_store.jobs.change_state(job.id, "running", from_states=[state])

    assert ended is not None
    assert job.created_at <= ended <= datetime.now(UTC)
    assert any_store.jobs.get(job.id).ended_at is None


def test_a_reason_may_contain_any_text(any_store):
    job = a_job(any_store)

    any_store.jobs.change_state(
        job.id, "stopped", from_states=["running"], reason="m: \0 and \ud800"
    )

    assert any_store.jobs.get(job.id).reason == "m: \ufffd and ?"


def test_a_budget_is_raised_lowered_and_removed(any_store):
    job = a_job(any_store, budget=5)

    for budget in (NanoUsd(9), NanoUsd(2), None):
        any_store.jobs.set_budget(job.id, budget)
        assert any_store.jobs.get(job.id).budget == budget


def test_an_id_is_the_prefix_of_the_submit_key(any_store):
    job = a_job(any_store, name="nightly")

    assert job.id == hashlib.sha256(b"nightly").hexdigest()[:12]


def test_overbilling_is_stored_with_the_job_and_only_grows(any_store):
    job = a_job(any_store)

    any_store.jobs.record_overbilling(
        job.id, "one", Overbilling(completion_tokens=500, max_tokens=64)
    )
    any_store.jobs.record_overbilling(job.id, "two", Overbilling(prompt_tokens=9))
    any_store.jobs.record_overbilling(job.id, "one", Overbilling(7, 300, 32))

    found = any_store.jobs.get(job.id)
    assert found.overbilling == {
        "one": Overbilling(7, 500, 64),
        "two": Overbilling(prompt_tokens=9),
    }
    assert {k: v for k, v in found.options.items() if k != "overbilling"} == job.options
