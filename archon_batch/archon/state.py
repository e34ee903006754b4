"""What one layer hands to the next."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

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
    def earlier(self) -> tuple[Message, ...]:
        """The turns before the query, without system messages."""
        return tuple(m for m in self.messages[:-1] if m.role != "system")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One response, and all that is known of it: an annotation cannot drift to another."""

    #: The key of the call that made it, less its ``again``: ``layer.component.slot``.
    id: str
    text: str
    #: The candidates it was made from.
    parents: tuple[str, ...] = ()
    critique: str | None = None
    #: One verdict a unit test, in the order of the state's tests.
    tests: tuple[bool, ...] | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that did not go as asked, told in the item's account."""

    layer: int
    component: int
    #: ``unreadable``: a reply that its reader refused. ``failed``: a call that got no reply.
    #: ``without``: nothing was read in the end, so the component did without.
    kind: Literal["unreadable", "failed", "without"]
    why: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one component adds to the state; None leaves that part as it was."""

    #: New candidates, or those that are kept, best first.
    candidates: tuple[Candidate, ...] | None = None
    #: Critiques by the id of the candidate that each is about.
    critiques: Mapping[str, str] = field(default_factory=dict)
    unit_tests: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class State:
    candidates: tuple[Candidate, ...] = ()
    unit_tests: tuple[str, ...] = ()

    def after(self, contributions: Iterable[Contribution]) -> "State":
        """The state that the components of one layer leave, in the order they stand there.

        Candidates that any of them gives replace those before; critiques join the candidates they
        are about, and go when these go.
        """
        given = list(contributions)
        lists = [c.candidates for c in given if c.candidates is not None]
        # Two components may keep the same candidate; it stays one, where it first stands.
        candidates = {c.id: c for kept in lists for c in kept} if lists else None
        kept = self.candidates if candidates is None else tuple(candidates.values())
        for contribution in given:
            kept = tuple(_criticised(c, contribution.critiques.get(c.id)) for c in kept)
        tests = [c.unit_tests for c in given if c.unit_tests is not None]
        return State(
            candidates=kept,
            unit_tests=tuple(t for some in tests for t in some) if tests else self.unit_tests,
        )


def _criticised(candidate: Candidate, critique: str | None) -> Candidate:
    if critique is None:
        return candidate
    both = critique if candidate.critique is None else f"{candidate.critique}\n\n{critique}"
    return replace(candidate, critique=both)
