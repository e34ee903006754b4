"""Scenarios that random steps rarely reach.

A scenario is a sequence of the machine's rules; every invariant must hold after each of them.
"""

from collections.abc import Callable
from typing import Any

from archon_batch.archon import Failed
from tests.store.ledger_machine import CHEAP, DEAR, LATER, End, Ledger
from tests.store.ledger_model import (
    ANSWERED,
    DIED,
    NO_QUOTA,
    RATE_LIMITED,
    REFUSED,
    TIMED_OUT,
    UNREACHABLE,
)

JOB = "afresh"
OVER = Failed(0, "no")

ANSWER: End = (ANSWERED, ("a text", 1))


class Driver:
    """Calls the rules of a machine by name and checks the invariants."""

    def __init__(self, machine: Ledger) -> None:
        self.machine = machine
        machine.submit_jobs(dict.fromkeys(("nightly", "weekly", JOB)))

    def __getattr__(self, rule: str) -> Callable[..., Any]:
        def apply_rule(*given: Any, **more: Any) -> Any:
            result = getattr(self.machine, rule)(*given, **more)
            self.machine.every_invariant_holds()
            return result

        return apply_rule

    def tried(self, key: Any, *fates: Any) -> None:
        """Try the call of the first row once for each fate."""
        for fate in fates:
            end = ANSWER if fate is ANSWERED else (fate, (None, None))
            assert self.try_call((JOB, 0, key), end)

    def retried(self) -> None:
        self.retry_job(JOB, [(0, OVER)])


def answer_in_one_batch_with_its_doubt(driver: Driver) -> None:
    driver.begin_calls([(JOB, 0, CHEAP)], "ann", "together", twice=False)
    (attempt,) = driver.machine.model.all()
    ends = [
        (attempt, driver.machine.a_response(attempt, end))
        for end in ((TIMED_OUT, (None, None)), ANSWER)
    ]
    driver.commit(ends, [], "together")


def answer_long_after_a_retry(driver: Driver) -> None:
    driver.tried(CHEAP, TIMED_OUT, REFUSED)
    driver.retried()
    (attempt,) = driver.machine.model.all("in_doubt")
    driver.commit([(attempt, driver.machine.a_response(attempt, ANSWER))], [], "alone")
    driver.tried(CHEAP, ANSWERED)


def call_lost_after_rate_limits(driver: Driver) -> None:
    driver.tried(CHEAP, RATE_LIMITED, DIED, RATE_LIMITED, DIED)


def retry_deletes_later_layers(driver: Driver) -> None:
    driver.tried(CHEAP, REFUSED)
    driver.tried(DEAR, ANSWERED)
    driver.tried(LATER, ANSWERED)
    driver.retried()


def poison_pill_is_retried(driver: Driver) -> None:
    driver.tried(CHEAP, DIED, DIED, DIED)
    driver.begin_all(JOB, "alone")
    driver.retried()
    driver.tried(CHEAP, DIED, RATE_LIMITED, ANSWERED)


def job_that_is_not_running(driver: Driver) -> None:
    driver.tried(CHEAP, NO_QUOTA)
    for what in ("resume", "pause", "resume", "stop", "resume", "cancel"):
        driver.control_job(JOB, what, "together")


def blank_answers_are_retried(driver: Driver) -> None:
    for text in ("", None):
        assert driver.try_call((JOB, 0, CHEAP), (ANSWERED, (text, 1)))
        driver.retried()
    driver.tried(CHEAP, ANSWERED)


def job_submitted_again_in_each_state(driver: Driver) -> None:
    for what in ("pause", "stop", "resume", "cancel"):
        driver.control_job(JOB, what, None)
        driver.submit_job(JOB, 300, anew=False)


def call_with_the_maximum_of_attempts(driver: Driver) -> None:
    for key, fate in ((CHEAP, UNREACHABLE), (DEAR, TIMED_OUT), (LATER, UNREACHABLE)):
        driver.exhaust_call(JOB, 0, key, retried=True, fate=fate)


def call_with_many_rate_limits(driver: Driver) -> None:
    driver.tried(CHEAP, *[RATE_LIMITED, UNREACHABLE] * 4, *[RATE_LIMITED] * 3, ANSWERED)


def provider_without_token_counts(driver: Driver) -> None:
    for key in (CHEAP, DEAR, LATER):
        assert driver.try_call((JOB, 0, key), (ANSWERED, ("a text", None)))
    # As often as each account is looked at.
    for _ in range(12):
        driver.finish_items(JOB, [])


def cache_hits(driver: Driver) -> None:
    for name, row in (("nightly", 0), ("nightly", 1), ("afresh", 0), ("afresh", 1)):
        driver.try_call((name, row, CHEAP), ANSWER)
    for _ in range(12):
        driver.finish_items(JOB, [])


def budget_spent_to_the_last_nano_dollar(driver: Driver) -> None:
    driver.tried(DEAR, ANSWERED)
    for more in (-1, 0, 1):
        driver.set_budget(JOB, [CHEAP, DEAR], more, "together")
    driver.kill_processes(["bob"], 0, found=True)
    driver.set_budget(JOB, [], 1, "bare")


def result_releases_the_budget_for_a_request_of_its_commit(driver: Driver) -> None:
    driver.set_budget(JOB, [CHEAP], 0, None)
    driver.begin_calls([(JOB, 0, CHEAP)], "ann", "together", twice=False)
    (attempt,) = driver.machine.model.all()
    rate_limited = driver.machine.a_response(attempt, (RATE_LIMITED, (None, None)))
    request = driver.machine.a_start((JOB, 1, CHEAP), "ann")
    driver.commit([(attempt, rate_limited)], [request], "together")


SCENARIOS: list[Callable[[Driver], None]] = [
    answer_in_one_batch_with_its_doubt,
    answer_long_after_a_retry,
    call_lost_after_rate_limits,
    retry_deletes_later_layers,
    poison_pill_is_retried,
    job_that_is_not_running,
    blank_answers_are_retried,
    job_submitted_again_in_each_state,
    call_with_the_maximum_of_attempts,
    call_with_many_rate_limits,
    provider_without_token_counts,
    cache_hits,
    budget_spent_to_the_last_nano_dollar,
    result_releases_the_budget_for_a_request_of_its_commit,
]
