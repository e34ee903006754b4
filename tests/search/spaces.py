"""Spaces that tests are about, and a runner that needs neither a database nor a provider."""

from collections.abc import Callable, Sequence
from typing import Any

from archon_batch.archon import Answer, Architecture, checked, run
from archon_batch.itas import Plan
from archon_batch.money import NanoUsd
from archon_batch.providers import scripted
from archon_batch.search import ALGORITHMS, Space
from archon_batch.search.trial_jobs import Case, Outcome, Outcomes, Tally, Wanted
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
    return checked(Space, data, "")


def cases(count: int, origin: int = 0) -> list[Case]:
    return [
        Case(f"{origin}/{n}", a_question(f"What is {n}?"), {"answer": "x"}, origin)
        for n in range(count)
    ]


def a_plan(space: Space, algorithm: str = "random", **more: Any) -> Plan:
    fresh: dict[str, Any] = {
        "trials": 20,
        "at_once": 3,
        "dev": cases(15),
        "held_out": cases(4, 1),
        "seed": 0,
    }
    return Plan(space, ALGORITHMS[algorithm], **{**fresh, **more})  # type: ignore[index]


class Played:
    """Runs architectures by the core alone; scores follow from what is asked of the test."""

    def __init__(
        self,
        score: Callable[[Architecture, Case], float] = lambda _a, _c: 0.0,
        budget: int | None = None,
    ) -> None:
        self.tally = Tally()
        self.ran: list[tuple[str, ...]] = []
        self.left: NanoUsd | None = None if budget is None else NanoUsd(budget)
        self._score = score
        self._paid: set[str] = set()

    def run(self, wanted: Sequence[Wanted], keep: NanoUsd = NanoUsd(0)) -> list[Outcomes]:  # noqa: B008
        return [
            {c.id: o for c in one.cases if (o := self._one(one, c, keep)) is not None}
            for one in wanted
        ]

    def _one(self, wanted: Wanted, case: Case, keep: NanoUsd) -> Outcome | None:
        asked: list[str] = []

        def answer(call: Any) -> Any:
            asked.append(call.fingerprint)
            return scripted.settled(call)

        end, _ = run(wanted.architecture, case.question, answer)
        assert isinstance(end, Answer)
        new = set(asked) - self._paid
        # A call is a nano-dollar.
        if self.left is not None:
            if self.left - keep < len(new):
                return None
            self.left = NanoUsd(self.left - len(new))
        self.tally.settled += len(asked)
        self.tally.found += len(asked) - len(new)
        self._paid |= new
        self.ran.append((wanted.label, case.id))
        return Outcome(self._score(wanted.architecture, case), len(asked), 0, len(asked) / 1e9)
