"""The lines that messages stand in: joins never wait behind calls."""

#: Plans a shard and begins its next round; short.
JOINS = "joins"
#: Places the calls of a batch and waits for their replies; as long as the slowest of them.
CALLS = "calls"

ALL = (JOINS, CALLS)

#: Whose messages are fetched first, the last of them; alike ones are fetched as they came.
PRIORITIES = ("low", "normal", "high")
