"""How many of the dev rows an architecture sees before a poor one is dropped."""

#: Each rung has so many times the rows of the one below it.
ETA = 3
#: Rows of the first rung at the least: fewer tell nothing.
MIN_ROWS = 5


def rungs(rows: int) -> tuple[int, ...]:
    """How many of the dev rows have been looked at after each rung; the last is all of them."""
    found = [rows]
    while found[0] // ETA >= MIN_ROWS:
        found.insert(0, found[0] // ETA)
    return tuple(found)
