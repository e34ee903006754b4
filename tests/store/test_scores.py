"""Scores beside the answers they are of."""

from archon_batch.archon import Answer, Failed
from archon_batch.scores import Score
from tests.builders import a_job

NUMBER = "number against gold"


def test_scores_are_read_by_row_and_metric(any_store):
    job = a_job(any_store)
    scores = {0: Score(1.0, "4"), 1: Score(0.0, unparsed_reason="there is no number in the answer")}

    any_store.scores.replace(job.id, NUMBER, scores)
    any_store.scores.replace(job.id, "judge", {1: Score(None, unparsed_reason="no verdict")})

    assert any_store.scores.metric_names(job.id) == ["judge", NUMBER]
    assert any_store.scores.by_row(job.id, NUMBER) == scores
    both = any_store.scores.between(job.id, 1, 5)
    assert [(row.ix, row.metric) for row in both] == [(1, "judge"), (1, NUMBER)]
    assert both[0].score == Score(None, unparsed_reason="no verdict")


def test_scoring_again_replaces_the_scores(any_store):
    job, other = a_job(any_store), a_job(any_store, name="other")
    for one in (job, other):
        any_store.scores.replace(one.id, NUMBER, {0: Score(1.0), 1: Score(1.0)})

    any_store.scores.replace(job.id, NUMBER, {1: Score(0.0)})

    assert any_store.scores.by_row(job.id, NUMBER) == {1: Score(0.0)}
    assert any_store.scores.by_row(other.id, NUMBER) == {0: Score(1.0), 1: Score(1.0)}


def test_text_that_no_database_accepts_is_replaced(any_store):
    job = a_job(any_store)

    any_store.scores.replace(job.id, NUMBER, {0: Score(0.0, "a\0b\ud800")})

    assert any_store.scores.by_row(job.id, NUMBER)[0].extracted == "a\ufffdb?"


def test_a_row_that_is_opened_again_has_no_score(any_store):
    job = a_job(any_store)
    any_store.items.finish(job.id, [(0, Answer("4", "0.0.0")), (1, Failed(0, "refused"))])
    any_store.scores.replace(job.id, NUMBER, {0: Score(1.0), 1: Score(0.0)})

    any_store.items.reopen(job.id, ["failed"])

    assert any_store.scores.by_row(job.id, NUMBER) == {0: Score(1.0)}


def test_an_item_result_has_its_scores(any_store):
    job = a_job(any_store)
    any_store.scores.replace(job.id, NUMBER, {1: Score(1.0, "4")})

    first, second = any_store.item_results.all(job.id)

    assert (first.scores, second.scores) == ({}, {NUMBER: Score(1.0, "4")})
