"""Where code that models wrote is run: without network, files, environment or trust."""

from archon_batch.sandbox.runner import Check, Outcome, Sandbox
from archon_batch.sandbox.self_test import Attacked, attacked

__all__ = ["Attacked", "Check", "Outcome", "Sandbox", "attacked"]
