"""Plays: what seldom comes about by chance, and is worth to be seen each time.

A play is a few of the machine's own rules in an order, and the law must hold after each of them.
"""

from collections.abc import Callable
from typing import Any

from archon_batch.archon import Failed
from tests.store.ledger_books import (
    ANSWERED,
    DIED,
    NO_QUOTA,
    RATE_LIMITED,
    REFUSED,
    TIMED_OUT,
    UNREACHABLE,
)
from tests.store.ledger_machine import CHEAP, DEAR, LATER, End, Ledger

JOB = "afresh"
OVER = Failed(0, "no")

ANSWER: End = (ANSWERED, ("a text", 1))


class Stage:
    """A machine whose rules are called by name."""

    def __init__(self, machine: Ledger) -> None:
        self.machine = machine
        machine.a_night_begins(dict.fromkeys(("nightly", "weekly", JOB)))

    def __getattr__(self, rule: str) -> Callable[..., Any]:
        def befall(*given: Any, **more: Any) -> Any:
            result = getattr(self.machine, rule)(*given, **more)
            self.machine.the_law_holds()
            return result

        return befall

    def tried(self, key: Any, *fates: Any) -> None:
        """The call of the first row is tried, each time with that end."""
        for fate in fates:
            end = ANSWER if fate is ANSWERED else (fate, (None, None))
            assert self.is_tried((JOB, 0, key), end)

    def retried(self) -> None:
        self.job_is_retried(JOB, [(0, OVER)])


def an_answer_comes_in_one_batch_with_its_doubt(stage: Stage) -> None:
    stage.calls_begin([(JOB, 0, CHEAP)], "ann", "together", twice=False)
    (attempt,) = stage.machine.books.all()
    ends = [
        (attempt, stage.machine.a_word(attempt, end)) for end in ((TIMED_OUT, (None, None)), ANSWER)
    ]
    stage.commit(ends, [], "together")


def an_answer_comes_long_after_a_retry(stage: Stage) -> None:
    stage.tried(CHEAP, TIMED_OUT, REFUSED)
    stage.retried()
    (attempt,) = stage.machine.books.all("in_doubt")
    stage.commit([(attempt, stage.machine.a_word(attempt, ANSWER))], [], "alone")
    stage.tried(CHEAP, ANSWERED)


def a_call_is_lost_after_it_was_refused(stage: Stage) -> None:
    stage.tried(CHEAP, RATE_LIMITED, DIED, RATE_LIMITED, DIED)


def what_later_layers_asked_goes_with_the_failure_before_them(stage: Stage) -> None:
    stage.tried(CHEAP, REFUSED)
    stage.tried(DEAR, ANSWERED)
    stage.tried(LATER, ANSWERED)
    stage.retried()


def a_call_that_nobody_survives_is_tried_anew_by_a_retry(stage: Stage) -> None:
    stage.tried(CHEAP, DIED, DIED, DIED)
    stage.all_begin(JOB, "alone")
    stage.retried()
    stage.tried(CHEAP, DIED, RATE_LIMITED, ANSWERED)


def jobs_that_do_not_run_begin_nothing(stage: Stage) -> None:
    stage.tried(CHEAP, NO_QUOTA)
    for what in ("resume", "pause", "resume", "stop", "resume", "cancel"):
        stage.job_is_told(JOB, what, "together")


def blank_answers_are_asked_for_again(stage: Stage) -> None:
    for text in ("", None):
        assert stage.is_tried((JOB, 0, CHEAP), (ANSWERED, (text, 1)))
        stage.retried()
    stage.tried(CHEAP, ANSWERED)


def a_job_is_submitted_again_in_each_state(stage: Stage) -> None:
    for what in ("pause", "stop", "resume", "cancel"):
        stage.job_is_told(JOB, what, None)
        stage.job_is_submitted(JOB, 300, anew=False)


def a_call_is_tried_as_often_as_may_be(stage: Stage) -> None:
    for key, fate in ((CHEAP, UNREACHABLE), (DEAR, TIMED_OUT), (LATER, UNREACHABLE)):
        stage.call_is_tried_in_vain(JOB, 0, key, retried=True, fate=fate)


def a_call_is_turned_away_more_often_than_it_may_be_tried(stage: Stage) -> None:
    stage.tried(CHEAP, *[RATE_LIMITED, UNREACHABLE] * 4, *[RATE_LIMITED] * 3, ANSWERED)


def a_provider_counts_no_tokens(stage: Stage) -> None:
    for key in (CHEAP, DEAR, LATER):
        assert stage.is_tried((JOB, 0, key), (ANSWERED, ("a text", None)))
    # As often as each account is looked at.
    for _ in range(12):
        stage.items_end(JOB, [])


def an_answer_is_found_again(stage: Stage) -> None:
    for name, row in (("nightly", 0), ("nightly", 1), ("afresh", 0), ("afresh", 1)):
        stage.is_tried((name, row, CHEAP), ANSWER)
    for _ in range(12):
        stage.items_end(JOB, [])


def a_budget_is_spent_to_its_last_nano_dollar(stage: Stage) -> None:
    stage.tried(DEAR, ANSWERED)
    for more in (-1, 0, 1):
        stage.budget_is_set(JOB, [CHEAP, DEAR], more, "together")
    stage.processes_die_and_time_passes(["bob"], 0, found=True)
    stage.budget_is_set(JOB, [], 1, "bare")


PLAYS: list[Callable[[Stage], None]] = [
    an_answer_comes_in_one_batch_with_its_doubt,
    an_answer_comes_long_after_a_retry,
    a_call_is_lost_after_it_was_refused,
    what_later_layers_asked_goes_with_the_failure_before_them,
    a_call_that_nobody_survives_is_tried_anew_by_a_retry,
    jobs_that_do_not_run_begin_nothing,
    blank_answers_are_asked_for_again,
    a_job_is_submitted_again_in_each_state,
    a_call_is_tried_as_often_as_may_be,
    a_call_is_turned_away_more_often_than_it_may_be_tried,
    a_provider_counts_no_tokens,
    an_answer_is_found_again,
    a_budget_is_spent_to_its_last_nano_dollar,
]
