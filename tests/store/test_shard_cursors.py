"""Shard cursors share the shards of a job, and move only by the current token."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from archon_batch.archon import Answer
from tests.builders import a_job

CARRIER, QUEUE = "broker", "joins"


def start(store, job, count=2):
    return store.shard_cursors.start(job.id, count, CARRIER, QUEUE)


def key(position):
    return position.job_id, position.cursor, position.token


def shard(store, position):
    return store.shard_cursors.current_shard(*key(position))


def finish(store, job, *ixs):
    store.items.finish(job.id, [(ix, Answer("four", "0.0.0")) for ix in ixs])


def age(store, seconds):
    """Move the last progress and the last message of every cursor into the past."""
    with store.database.write_transaction() as connection:
        earlier = sa.text(
            "UPDATE shard_cursors SET progress_at = progress_at - :ago, sent_at = sent_at - :ago"
        )
        connection.execute(earlier, {"ago": seconds})


def stalled(store, seconds=20):
    return store.shard_cursors.stalled(CARRIER, seconds)


def overtaken(store):
    return {key(cursor.position)[:2] for cursor in stalled(store) if cursor.overtaken}


def test_cursors_start_at_the_first_open_shards(any_store):
    job = a_job(any_store, questions=8, shard=2)
    finish(any_store, job, 0, 1, 2)

    positions = start(any_store, job)

    assert [(position.cursor, position.shard) for position in positions] == [(0, 1), (1, 2)]
    assert [shard(any_store, position) for position in positions] == [1, 2]


def test_there_are_no_more_cursors_than_open_shards(any_store):
    job = a_job(any_store, questions=3, shard=2)

    assert len(start(any_store, job, count=9)) == 2


def test_a_cursor_moves_to_the_next_shard_that_no_cursor_has(any_store):
    job = a_job(any_store, questions=4, shard=1)
    one, _ = start(any_store, job)
    finish(any_store, job, 0)

    following = any_store.shard_cursors.next_shard(one, QUEUE)

    assert (following.cursor, following.shard) == (0, 2)
    assert (shard(any_store, one), shard(any_store, following)) == (None, 2)


def test_a_cursor_without_a_next_shard_is_deleted(any_store):
    job = a_job(any_store, questions=2, shard=1)
    one, two = start(any_store, job)
    finish(any_store, job, 0)

    assert any_store.shard_cursors.next_shard(one, QUEUE) is None
    assert any_store.shard_cursors.counts_by_job(CARRIER) == {job.id: 1}
    assert shard(any_store, two) == 1


def test_one_of_two_copies_of_a_message_moves_the_cursor(any_store):
    job = a_job(any_store)
    (position,) = start(any_store, job)

    rounds = [any_store.shard_cursors.start_round(position, 3, {"calls"}) for _ in range(2)]

    assert rounds[0].shard == position.shard
    assert rounds[1] is None
    assert any_store.shard_cursors.next_shard(position, QUEUE) is None
    assert shard(any_store, rounds[0]) == position.shard


def test_only_the_last_batch_of_a_round_is_reported_as_the_last(any_store):
    job = a_job(any_store)
    (before,) = start(any_store, job)
    current = any_store.shard_cursors.start_round(before, 3, {"calls"})

    assert not any_store.shard_cursors.batch_done(*key(before))
    with ThreadPoolExecutor() as pool:
        last = list(pool.map(lambda _: any_store.shard_cursors.batch_done(*key(current)), range(3)))

    assert sorted(last) == [False, False, True]


def test_starting_again_replaces_the_cursors(any_store):
    job = a_job(any_store)
    (before,) = start(any_store, job)

    (after,) = start(any_store, job)

    assert (shard(any_store, before), shard(any_store, after)) == (None, 0)


def test_concurrent_cursors_take_no_shard_twice(any_store):
    job = a_job(any_store, questions=12, shard=1)
    positions = start(any_store, job, count=4)

    with ThreadPoolExecutor() as pool:
        for _ in range(2):
            finish(any_store, job, *(position.shard for position in positions))
            positions = list(
                pool.map(lambda one: any_store.shard_cursors.next_shard(one, QUEUE), positions)
            )

    assert sorted(position.shard for position in positions) == [8, 9, 10, 11]


def test_cursors_are_added_as_far_as_there_are_shards(any_store):
    job = a_job(any_store, questions=5, shard=1)
    one, *_ = start(any_store, job, count=3)
    finish(any_store, job, 0, 3, 4)
    any_store.shard_cursors.next_shard(one, QUEUE)

    added = any_store.shard_cursors.scale_up(job.id, 9, CARRIER, QUEUE)

    assert added == []
    any_store.items.reopen(job.id, ["answered"])
    added = any_store.shard_cursors.scale_up(job.id, 4, CARRIER, QUEUE)
    assert [(position.cursor, position.shard) for position in added] == [(0, 0), (3, 3)]


def test_a_cursor_without_progress_is_stalled_until_a_heartbeat(any_store):
    job = a_job(any_store, questions=2, shard=1)
    one, two = start(any_store, job)
    age(any_store, 30)
    any_store.shard_cursors.heartbeat({key(two)})

    (cursor,) = stalled(any_store)

    assert (cursor.position, cursor.queues) == (one, (QUEUE,))
    assert 30 <= cursor.idle_seconds < 60
    assert stalled(any_store, 120) == []
    assert any_store.shard_cursors.stalled("another carrier", 20) == []


def test_a_cursor_whose_progress_is_in_the_future_is_stalled(any_store):
    job = a_job(any_store, questions=1)
    (one,) = start(any_store, job)
    age(any_store, -86_400)

    assert [cursor.position for cursor in stalled(any_store)] == [one]


@pytest.mark.parametrize(
    ("queue", "priority", "is_overtaken"),
    [("joins", "normal", True), ("calls", "normal", False), ("joins", "high", False)],
)
def test_a_later_message_that_is_worked_on_overtakes_in_its_queue_and_priority(
    any_store, queue, priority, is_overtaken
):
    job, other = (a_job(any_store, name=name) for name in ("one", "other"))
    any_store.jobs.set_priority(other.id, priority)
    (lost,) = start(any_store, job)
    age(any_store, 30)
    (later,) = any_store.shard_cursors.start(other.id, 1, CARRIER, queue)
    before = overtaken(any_store)

    any_store.shard_cursors.heartbeat({key(later)})

    assert before == set()
    assert overtaken(any_store) == ({key(lost)[:2]} if is_overtaken else set())


def test_messages_sent_at_nearly_the_same_time_do_not_overtake(any_store):
    job = a_job(any_store, questions=2, shard=1)
    _, two = start(any_store, job)
    age(any_store, 30)

    any_store.shard_cursors.heartbeat({key(two)})

    assert len(stalled(any_store)) == 1
    assert overtaken(any_store) == set()


def test_messages_in_several_queues_are_never_known_to_be_overtaken(any_store):
    job = a_job(any_store, questions=2, shard=1)
    queues = {"calls", "calls.openai"}
    _, two = (
        any_store.shard_cursors.start_round(position, 2, queues)
        for position in start(any_store, job)
    )
    age(any_store, 30)
    any_store.shard_cursors.heartbeat({key(two)}, resent=True)
    any_store.shard_cursors.heartbeat({key(two)})

    assert overtaken(any_store) == set()


def test_a_resent_message_is_not_overtaken_by_earlier_ones(any_store):
    job = a_job(any_store, questions=2, shard=1)
    one, two = start(any_store, job)
    age(any_store, 60)
    any_store.shard_cursors.heartbeat({key(two)}, resent=True)
    any_store.shard_cursors.heartbeat({key(two)})
    before = overtaken(any_store)

    any_store.shard_cursors.heartbeat({key(one)}, resent=True)
    with any_store.database.write_transaction() as connection:
        connection.execute(
            sa.text("UPDATE shard_cursors SET progress_at = progress_at - 30 WHERE cursor = 0")
        )

    assert before == {key(one)[:2]}
    assert overtaken(any_store) == set()


def test_a_job_that_is_not_running_has_no_stalled_cursor(any_store):
    job = a_job(any_store)
    start(any_store, job)
    age(any_store, 30)
    any_store.jobs.change_state(job.id, "paused", from_states=["running"])

    assert stalled(any_store) == []
