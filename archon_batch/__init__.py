"""Batch LLM inference through Archon architectures, over a message queue."""
