"""Scoring of a job's answers with a real store."""

import pytest

from archon_batch.archon import Answer, Failed
from archon_batch.errors import InputError
from archon_batch.evaluation.metrics import METRICS
from archon_batch.evaluation.scoring import compare_scores, score_answers, scores_to_json
from archon_batch.scores import Score
from archon_batch.store import NewItem, NewJob
from tests.builders import MODEL, a_job, a_question, an_architecture

EXACT = METRICS["exact"]()


def answered(store, job, *answers):
    """Finish the job's first rows with these answers; None fails the row."""
    store.items.finish(
        job.id,
        [
            (ix, Failed(0, "refused") if text is None else Answer(text, "0.0.0"))
            for ix, text in enumerate(answers)
        ],
    )
    return job


def test_finished_rows_have_a_score_and_unfinished_rows_are_counted(store):
    job = answered(store, a_job(store, questions=4), "row-0", "wrong", None)

    scores = score_answers(store, job, EXACT, "place")

    assert [(row.row_id, row.score) for row in scores.rows] == [
        ("row-0", Score(1.0, "row-0")),
        ("row-1", Score(0.0, "wrong")),
        ("row-2", Score(0.0)),
    ]
    figures = scores_to_json(scores, group_by=None, seed=0)
    assert (figures["mean"], figures["rows"]) == (pytest.approx(1 / 3), 3)
    assert (figures["failed"], figures["open"], figures["unparsed"]) == (1, 1, 0)


def test_the_labels_of_later_rows_are_known(store):
    job = answered(store, a_job(store, questions=2), "it is row-1", "row-1")

    scores = score_answers(store, job, METRICS["label"](), "place")

    assert [row.score.extracted for row in scores.rows] == ["row-1", "row-1"]
    assert scores.extra_figures["confusion"]["row-0"] == {"row-1": 1}


def test_a_rejected_row_needs_no_reference(store):
    new = NewJob(
        submit_key="k" * 64,
        name="n",
        dataset="rows.jsonl",
        architecture=an_architecture().to_dict(),
        prices={MODEL: None},
        options={},
        shard_size=16,
        concurrent_shards=4,
        budget=None,
    )
    rows = [
        NewItem("a", a_question(row="a"), {"gold": "4"}),
        NewItem("b", a_question(row="b"), {}, "prompt: missing"),
    ]
    job = answered(store, store.jobs.get_or_create(new, rows)[0], "4")

    assert [row.score.value for row in score_answers(store, job, EXACT, "gold").rows] == [1, 0]


def test_two_jobs_are_compared_on_their_common_rows(store):
    job = answered(store, a_job(store, questions=3), "row-0", "row-1", "wrong")
    rows = [a_question(row=name) for name in ("row-1", "row-2", "row-9")]
    other = answered(store, a_job(store, questions=rows, name="t"), "wrong", "wrong", "row-9")

    difference = compare_scores(
        score_answers(store, job, EXACT, "place"), score_answers(store, other, EXACT, "place"), 0
    )

    assert (difference["rows"], difference["mean"]) == (2, 0.5)
    assert (difference["better"], difference["worse"]) == (1, 0)


def test_jobs_without_a_common_row_cannot_be_compared(store):
    job = answered(store, a_job(store, questions=1), "a")
    other = answered(store, a_job(store, questions=[a_question(row="other")], name="t"), "a")

    with pytest.raises(InputError, match="no scored row in common"):
        compare_scores(
            score_answers(store, job, EXACT, "place"),
            score_answers(store, other, EXACT, "place"),
            0,
        )


def test_a_job_without_finished_rows_has_no_mean(store):
    figures = scores_to_json(
        score_answers(store, a_job(store), EXACT, "place"), group_by="place", seed=0
    )

    assert (figures["mean"], figures["rows"], figures["open"], figures["by"]) == (None, 0, 2, [])
