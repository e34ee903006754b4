"""The state that one layer passes to the next, and what components contribute to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from archon_batch.archon.call import Message


@dataclass(frozen=True, slots=True)
class Question:
    """The conversation of an item. Its last message is the user's."""

    id: str
    messages: tuple[Message, ...]

    @property
    def query(self) -> str:
        """The text of the last message."""
        return self.messages[-1].content

    @property
    def instructions(self) -> str:
        """The text of the system messages; empty if there are none."""
        return "\n\n".join(m.content for m in self.messages if m.role == "system")

    @property
    def earlier_turns(self) -> tuple[Message, ...]:
        """The messages before the query, without system messages."""
        return tuple(m for m in self.messages[:-1] if m.role != "system")


class UnitTestResult(NamedTuple):
    """The text of a unit test, and whether a candidate passed it."""

    test: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A response with its critique, unit test results and scores."""

    #: The key of its call without the re-ask number: ``layer.component.request_index``.
    id: str
    text: str
    #: The ids of the candidates that it was made from.
    parents: tuple[str, ...] = ()
    critique: str | None = None
    #: The latest unit test results; None if there are none.
    unit_test_results: tuple[UnitTestResult, ...] | None = None
    #: Numbers from components, by names that the components choose.
    scores: Mapping[str, float] = field(default_factory=dict)


#: ``unparsed``: a parser rejected a reply. ``failed``: a call failed. ``skipped``: a component has no
#: result, or a partial one, and what it returned instead. ``context_overflow``: a prompt exceeded the
#: context window, and what was left out. ``truncated``: a candidate ends at max_tokens.
WarningKind = Literal["unparsed", "failed", "skipped", "context_overflow", "truncated"]


class ComponentWarning(NamedTuple):
    """A problem that a component reports and works around."""

    kind: WarningKind
    why: str


@dataclass(frozen=True, slots=True)
class ItemWarning:
    """A warning with the position of its component."""

    layer: int
    component: int
    kind: WarningKind
    why: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one component adds to the state. None leaves that part unchanged."""

    #: New or selected candidates, best first.
    candidates: tuple[Candidate, ...] | None = None
    #: By candidate id, as are ``unit_test_results`` and ``scores``.
    critiques: Mapping[str, str] = field(default_factory=dict)
    unit_test_results: Mapping[str, tuple[UnitTestResult, ...]] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unit_tests: tuple[str, ...] | None = None
    #: Values between components of other packages, by names that they choose.
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    candidates: tuple[Candidate, ...] = ()
    unit_tests: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)

    def apply(self, contributions: Iterable[Contribution]) -> "State":
        """The state after a layer; the contributions are in the order of its components.

        If any component returns candidates, they replace the candidates before. Critiques, unit
        test results and scores become fields of their candidates.
        """
        contributions = list(contributions)
        lists = [c.candidates for c in contributions if c.candidates is not None]
        # Two components may return the same candidate: keep the first.
        by_id = {c.id: c for returned in lists for c in returned}
        candidates = tuple(by_id.values()) if lists else self.candidates
        for contribution in contributions:
            if contribution.critiques or contribution.unit_test_results or contribution.scores:
                candidates = tuple(_annotate(candidate, contribution) for candidate in candidates)
        tests = [c.unit_tests for c in contributions if c.unit_tests is not None]
        # Two generators may write the same test: keep one.
        unit_tests = tuple(dict.fromkeys(test for written in tests for test in written))
        values = dict(self.values)
        for contribution in contributions:
            values |= contribution.values
        return State(candidates, unit_tests if tests else self.unit_tests, values)


def _annotate(candidate: Candidate, contribution: Contribution) -> Candidate:
    """The candidate with its part of the contribution. A second critique is appended to the first."""
    critique = contribution.critiques.get(candidate.id)
    if critique is not None and candidate.critique is not None:
        critique = f"{candidate.critique}\n\n{critique}"
    tests, scores = (
        contribution.unit_test_results.get(candidate.id),
        contribution.scores.get(candidate.id),
    )
    if critique is None and tests is None and scores is None:
        return candidate
    return replace(
        candidate,
        critique=candidate.critique if critique is None else critique,
        unit_test_results=candidate.unit_test_results if tests is None else tests,
        scores={**candidate.scores, **(scores or {})},
    )
