"""Use cases: what the commands and the library do, without their input and output.

A use case is a function of plain arguments. It returns values, reports what happens on the way to
a callback (``events``), and raises the errors of ``archon_batch.errors``. It never prints, exits or
reads the environment.
"""
