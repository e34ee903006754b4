"""Where code that models wrote is run: without network, files, environment or trust."""

from archon_batch.sandbox.trial import Outcome, Sandbox, Test

__all__ = ["Outcome", "Sandbox", "Test"]
