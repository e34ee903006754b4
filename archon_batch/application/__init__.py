"""Use cases: what the commands and the library do, apart from how it is asked for and shown."""
