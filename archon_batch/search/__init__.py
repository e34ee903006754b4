"""Inference-time architecture search (ITAS, section 3.3 of the Archon paper).

A search stores no progress of its own. The same search proposes the same trials again, and the
jobs of trials that have run are found by their submit keys.
"""
