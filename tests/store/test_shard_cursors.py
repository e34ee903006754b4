"""Lines deal out shards, each to one, and move only for who has their turn."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from archon_batch.archon import Answer
from tests.builders import a_job

VIA, QUEUE = "broker", "joins"


def begun(store, job, width=2):
    return store.shard_cursors.start(job.id, width, VIA, QUEUE)


def at(store, turn):
    return store.shard_cursors.current_shard(turn.job, turn.line, turn.word)


def aged(store, seconds):
    """Let the lines have moved so much earlier, and their messages been sent."""
    with store.database.write_transaction() as connection:
        earlier = sa.text(
            "UPDATE shard_cursors SET progress_at = progress_at - :ago, sent_at = sent_at - :ago"
        )
        connection.execute(earlier, {"ago": seconds})


def test_lines_begin_at_the_first_open_shards(any_store):
    job = a_job(any_store, questions=8, shard=2)
    any_store.items.finish(job.id, [(ix, Answer("four", "0.0.0")) for ix in range(3)])

    turns = begun(any_store, job)

    assert [(turn.line, turn.shard) for turn in turns] == [(0, 1), (1, 2)]
    assert [at(any_store, turn) for turn in turns] == [1, 2]


def test_there_are_no_more_lines_than_open_shards(any_store):
    job = a_job(any_store, questions=3, shard=2)

    assert len(begun(any_store, job, width=9)) == 2


def test_a_line_goes_on_to_the_next_shard_that_no_other_has(any_store):
    job = a_job(any_store, questions=4, shard=1)
    one, _ = begun(any_store, job)
    any_store.items.finish(job.id, [(0, Answer("four", "0.0.0"))])

    following = any_store.shard_cursors.next_shard(one, QUEUE)

    assert (following.line, following.shard) == (0, 2)
    assert (at(any_store, one), at(any_store, following)) == (None, 2)


def test_a_line_ends_when_nothing_is_left_to_take(any_store):
    job = a_job(any_store, questions=2, shard=1)
    one, two = begun(any_store, job)
    any_store.items.finish(job.id, [(0, Answer("four", "0.0.0"))])

    assert any_store.shard_cursors.next_shard(one, QUEUE) is None
    assert any_store.shard_cursors.counts_by_job(VIA) == {job.id: 1}
    assert at(any_store, two) == 1


def test_of_two_copies_of_a_message_one_moves_the_line(any_store):
    job = a_job(any_store)
    (turn,) = begun(any_store, job)

    rounds = [any_store.shard_cursors.start_round(turn, 3, {"calls"}) for _ in range(2)]

    assert rounds[0].shard == turn.shard
    assert rounds[1] is None
    assert any_store.shard_cursors.next_shard(turn, QUEUE) is None
    assert at(any_store, rounds[0]) == turn.shard


def test_the_last_batch_of_a_round_is_told_so_and_no_other(any_store):
    job = a_job(any_store)
    (turn,) = begun(any_store, job)
    following = any_store.shard_cursors.start_round(turn, 3, {"calls"})
    before = turn.job, turn.line, turn.word
    now = following.job, following.line, following.word

    assert not any_store.shard_cursors.batch_done(*before)
    with ThreadPoolExecutor() as pool:
        last = list(pool.map(lambda _: any_store.shard_cursors.batch_done(*now), range(3)))

    assert sorted(last) == [False, False, True]


def test_beginning_again_ends_what_was_under_way(any_store):
    job = a_job(any_store)
    (before,) = begun(any_store, job)

    (after,) = begun(any_store, job)

    assert (at(any_store, before), at(any_store, after)) == (None, 0)


def test_lines_at_once_take_no_shard_twice(any_store):
    job = a_job(any_store, questions=12, shard=1)
    turns = begun(any_store, job, width=4)

    with ThreadPoolExecutor() as pool:
        for _ in range(2):
            any_store.items.finish(
                job.id, [(turn.shard, Answer("four", "0.0.0")) for turn in turns]
            )
            turns = list(
                pool.map(lambda turn: any_store.shard_cursors.next_shard(turn, QUEUE), turns)
            )

    assert sorted(turn.shard for turn in turns) == [8, 9, 10, 11]


def test_lines_are_added_as_far_as_there_are_shards(any_store):
    job = a_job(any_store, questions=5, shard=1)
    one, *_ = begun(any_store, job, width=3)
    any_store.items.finish(job.id, [(ix, Answer("four", "0.0.0")) for ix in (0, 3, 4)])
    any_store.shard_cursors.next_shard(one, QUEUE)

    added = any_store.shard_cursors.scale_up(job.id, 9, VIA, QUEUE)

    assert added == []
    any_store.items.reopen(job.id, ["answered"])
    added = any_store.shard_cursors.scale_up(job.id, 4, VIA, QUEUE)
    assert [(turn.line, turn.shard) for turn in added] == [(0, 0), (3, 3)]


def test_a_line_that_has_not_moved_stands_still_until_somebody_works_on_it(any_store):
    job = a_job(any_store, questions=2, shard=1)
    one, two = begun(any_store, job)
    aged(any_store, 30)
    any_store.shard_cursors.heartbeat({(two.job, two.line, two.word)})

    (still,) = any_store.shard_cursors.stalled(VIA, 20)

    assert (still.turn, still.queues) == (one, (QUEUE,))
    assert 30 <= still.idle < 60
    assert any_store.shard_cursors.stalled(VIA, 120) == []
    assert any_store.shard_cursors.stalled("another carrier", 20) == []


def test_a_line_that_a_clock_moved_which_was_a_day_ahead_stands_still(any_store):
    job = a_job(any_store, questions=1)
    (one,) = begun(any_store, job)
    aged(any_store, -86_400)

    assert [still.turn for still in any_store.shard_cursors.stalled(VIA, 20)] == [one]


def passed(store):
    return {(s.turn.job, s.turn.line) for s in store.shard_cursors.stalled(VIA, 20) if s.passed}


@pytest.mark.parametrize(
    ("queue", "priority", "seen"),
    [("joins", "normal", True), ("calls", "normal", False), ("joins", "high", False)],
)
def test_a_line_is_passed_when_somebody_works_on_what_was_sent_later_to_its_queue(
    any_store, queue, priority, seen
):
    job, other = (a_job(any_store, name=name) for name in ("one", "other"))
    any_store.jobs.set_priority(other.id, priority)
    (lost,) = begun(any_store, job)
    aged(any_store, 30)
    (later,) = any_store.shard_cursors.start(other.id, 1, VIA, queue)
    before = passed(any_store)

    any_store.shard_cursors.heartbeat({(later.job, later.line, later.word)})

    assert before == set()
    assert passed(any_store) == ({(lost.job, lost.line)} if seen else set())


def test_what_was_sent_at_nearly_the_same_time_passes_nobody(any_store):
    job = a_job(any_store, questions=2, shard=1)
    _, two = begun(any_store, job)
    aged(any_store, 30)

    any_store.shard_cursors.heartbeat({(two.job, two.line, two.word)})

    assert len(any_store.shard_cursors.stalled(VIA, 20)) == 1
    assert passed(any_store) == set()


def test_of_messages_in_several_queues_nobody_knows_whether_they_were_passed(any_store):
    job = a_job(any_store, questions=2, shard=1)
    lines = begun(any_store, job)
    turns = [
        any_store.shard_cursors.start_round(turn, 2, {"calls", "calls.openai"}) for turn in lines
    ]
    aged(any_store, 30)
    any_store.shard_cursors.heartbeat({(job.id, turns[1].line, turns[1].word)}, resent=True)
    any_store.shard_cursors.heartbeat({(job.id, turns[1].line, turns[1].word)})

    assert passed(any_store) == set()


def test_what_is_sent_again_is_passed_by_nothing_from_before(any_store):
    job = a_job(any_store, questions=2, shard=1)
    one, two = begun(any_store, job)
    aged(any_store, 60)
    any_store.shard_cursors.heartbeat({(two.job, two.line, two.word)}, resent=True)
    any_store.shard_cursors.heartbeat({(two.job, two.line, two.word)})
    before = passed(any_store)

    any_store.shard_cursors.heartbeat({(one.job, one.line, one.word)}, resent=True)
    with any_store.database.write_transaction() as connection:
        connection.execute(
            sa.text("UPDATE shard_cursors SET progress_at = progress_at - 30 WHERE cursor = 0")
        )

    assert before == {(one.job, one.line)}
    assert passed(any_store) == set()


def test_a_job_that_does_not_run_has_no_line_that_stands_still(any_store):
    job = a_job(any_store)
    begun(any_store, job)
    aged(any_store, 30)
    any_store.jobs.change_state(job.id, "paused", from_states=["running"])

    assert any_store.shard_cursors.stalled(VIA, 20) == []
