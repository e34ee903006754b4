"""Where code that models wrote is run: without network, files, environment or trust."""

from archon_batch.sandbox.attacks import Attacked, attacked
from archon_batch.sandbox.trial import Check, Outcome, Sandbox

__all__ = ["Attacked", "Check", "Outcome", "Sandbox", "attacked"]
