"""What one layer hands to the next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from archon_batch.archon.call import Message


@dataclass(frozen=True, slots=True)
class Question:
    """What an item asks: a conversation whose last message is the user's."""

    id: str
    messages: tuple[Message, ...]

    @property
    def query(self) -> str:
        """The last message, which the components talk about."""
        return self.messages[-1].content

    @property
    def instructions(self) -> str:
        """What the system messages say; empty when there are none."""
        return "\n\n".join(m.content for m in self.messages if m.role == "system")

    @property
    def earlier_turns(self) -> tuple[Message, ...]:
        """The turns before the query, without system messages."""
        return tuple(m for m in self.messages[:-1] if m.role != "system")


class UnitTestResult(NamedTuple):
    """A unit test, by its words, and whether a candidate passed it."""

    test: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """One response, and all that is known of it: an annotation cannot drift to another."""

    #: The key of the call that made it, less its ``again``: ``layer.component.slot``.
    id: str
    text: str
    #: The candidates it was made from.
    parents: tuple[str, ...] = ()
    critique: str | None = None
    #: The last unit tests it was judged by; None when it was by none.
    unit_test_results: tuple[UnitTestResult, ...] | None = None
    #: What components counted or measured of it, by their own names.
    scores: Mapping[str, float] = field(default_factory=dict)


#: ``unreadable``: a reply that its reader refused. ``failed``: a call that got no reply.
#: ``without``: nothing was read in the end, and what was done instead. ``overflow``: a prompt that
#: was too long for the model's window, and what was left out. ``cut``: a candidate that ends where
#: its max_tokens did.
WarningKind = Literal["unparsed", "failed", "skipped", "context_overflow", "truncated"]


class ComponentWarning(NamedTuple):
    """Something that did not go as asked, as a component tells it."""

    kind: WarningKind
    why: str


@dataclass(frozen=True, slots=True)
class ItemWarning:
    """A remark with the place of its component, in the item's account."""

    layer: int
    component: int
    kind: WarningKind
    why: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one component adds to the state; None leaves that part as it was."""

    #: New candidates, or those that are kept, best first.
    candidates: tuple[Candidate, ...] | None = None
    #: By the id of the candidate that each is about.
    critiques: Mapping[str, str] = field(default_factory=dict)
    unit_test_results: Mapping[str, tuple[UnitTestResult, ...]] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unit_tests: tuple[str, ...] | None = None
    #: What components of other packages hand to each other, by names of their own.
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    candidates: tuple[Candidate, ...] = ()
    unit_tests: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)

    def apply(self, contributions: Iterable[Contribution]) -> "State":
        """The state that the components of one layer leave, in the order they stand there.

        Candidates that any of them gives replace those before; critiques, tests and scores join
        the candidates they are about, and go when these go.
        """
        given = list(contributions)
        lists = [c.candidates for c in given if c.candidates is not None]
        # Two components may keep the same candidate; it stays one, where it first stands.
        candidates = {c.id: c for kept in lists for c in kept} if lists else None
        kept = self.candidates if candidates is None else tuple(candidates.values())
        for contribution in given:
            if contribution.critiques or contribution.unit_test_results or contribution.scores:
                kept = tuple(_annotate(candidate, contribution) for candidate in kept)
        tests = [c.unit_tests for c in given if c.unit_tests is not None]
        values = dict(self.values)
        for contribution in given:
            values |= contribution.values
        return State(
            candidates=kept,
            # Two generators may write the same test; it is one.
            unit_tests=tuple(dict.fromkeys(t for some in tests for t in some))
            if tests
            else self.unit_tests,
            values=values,
        )


def _annotate(candidate: Candidate, contribution: Contribution) -> Candidate:
    """The candidate with what is said of it; a second critique joins the first."""
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
