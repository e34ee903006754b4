"""Runs code that models wrote: without network, files, environment or trust."""

from archon_batch.sandbox.runner import Sandbox, SandboxTest, SandboxTestResult
from archon_batch.sandbox.self_test import AttackResult, run_attacks

__all__ = ["AttackResult", "Sandbox", "SandboxTest", "SandboxTestResult", "run_attacks"]
