"""Whether a component looks at critiques, and whether it has to have them."""

from collections.abc import Sequence
from typing import ClassVar

from archon_batch.archon.component import Component
from archon_batch.archon.state import Candidate


class UsesCritiques(Component):
    """A part of components that can show each candidate with its critique."""

    reads: ClassVar[frozenset[str]] = frozenset({"critiques", "unit_tests"})

    #: true: there have to be critiques. false: they are not shown. Without it: if there are any.
    use_critiques: bool | None = None

    def effective_requires(self) -> frozenset[str]:
        return self.requires | {"critiques"} if self.use_critiques else self.requires

    def shows_critiques(self, shown: Sequence[Candidate]) -> bool:
        return self.use_critiques is not False and any(c.critique is not None for c in shown)
