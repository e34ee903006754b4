"""Search spaces for tests, and a trial runner without a database or a provider."""

from collections.abc import Callable, Sequence
from typing import Any

from archon_batch.archon import Answer, Architecture, run_item, validate_data
from archon_batch.money import NanoUsd
from archon_batch.providers import scripted
from archon_batch.search.algorithms import ALGORITHMS
from archon_batch.search.request import SearchRequest
from archon_batch.search.space import Space
from archon_batch.search.trial_jobs import (
    CallCounts,
    RowOutcome,
    RowOutcomes,
    SearchRow,
    TrialRequest,
)
from tests.builders import MODEL, a_question

ROLES = {
    "generators": ["one", "two", "three"],
    "fusers": ["one", "two"],
    "critic": "one",
    "ranker": "one",
    "verifier": "one",
    "unit_tests": "one",
    "voter": "text",
}


def a_space(roles: Any = None, limits: Any = None, **axes: Any) -> Space:
    data: dict[str, Any] = {
        "name": "small",
        "models": {name: {"model": MODEL} for name in ("one", "two", "three")},
        "defaults": {"max_tokens": 64},
        "roles": {**ROLES, **(roles or {})},
        "axes": {} if "mix" in axes else {"generators": [1, 2, 3]},
        "limits": limits or {},
    }
    data["axes"] |= axes
    return validate_data(Space, data, "")


def cases(count: int, origin: int = 0) -> list[SearchRow]:
    return [
        SearchRow(f"{origin}/{n}", a_question(f"What is {n}?"), {"answer": "x"}, origin)
        for n in range(count)
    ]


def a_request(space: Space, algorithm: str = "random", **more: Any) -> SearchRequest:
    fresh: dict[str, Any] = {
        "trials": 20,
        "at_once": 3,
        "dev": cases(15),
        "held_out": cases(4, 1),
        "seed": 0,
    }
    return SearchRequest(space, ALGORITHMS[algorithm], **{**fresh, **more})  # type: ignore[index]


class InMemoryRunner:
    """Runs architectures in memory; a function of the test gives the scores."""

    def __init__(
        self,
        score: Callable[[Architecture, SearchRow], float] = lambda _a, _c: 0.0,
        budget: int | None = None,
    ) -> None:
        self.call_counts = CallCounts()
        self.ran: list[tuple[str, ...]] = []
        self.budget_left: NanoUsd | None = None if budget is None else NanoUsd(budget)
        self._score = score
        self._paid: set[str] = set()

    def run(
        self,
        requests: Sequence[TrialRequest],
        budget_to_keep: NanoUsd = NanoUsd(0),  # noqa: B008
    ) -> list[RowOutcomes]:
        return [
            {c.id: o for c in one.rows if (o := self._one(one, c, budget_to_keep)) is not None}
            for one in requests
        ]

    def _one(self, wanted: TrialRequest, case: SearchRow, keep: NanoUsd) -> RowOutcome | None:
        asked: list[str] = []

        def answer(call: Any) -> Any:
            asked.append(call.fingerprint)
            return scripted.final_reply(call)

        end, _ = run_item(wanted.architecture, case.question, answer)
        assert isinstance(end, Answer)
        new = set(asked) - self._paid
        # A call costs one nano-dollar.
        if self.budget_left is not None:
            if self.budget_left - keep < len(new):
                return None
            self.budget_left = NanoUsd(self.budget_left - len(new))
        self.call_counts.settled += len(asked)
        self.call_counts.cached += len(asked) - len(new)
        self._paid |= new
        self.ran.append((wanted.label, case.id))
        return RowOutcome(self._score(wanted.architecture, case), len(asked), 0, len(asked) / 1e9)
