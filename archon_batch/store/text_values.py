"""What comes from outside, as databases take it."""

from typing import overload

#: The most tokens that are a count, and the most nano-dollars that are a cost, ten million dollars:
#: hundreds of them still fit the sums, whose columns have 63 bits.
_MAX_TOKENS, _MAX_COST = 1 << 40, 10**16


@overload
def storable(text: str) -> str: ...
@overload
def storable(text: None) -> None: ...
def storable(text: str | None) -> str | None:
    """The text without what is refused: NUL by Postgres, half a surrogate pair by both."""
    if text is None:
        return None
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def valid_token_count(count: object) -> int | None:
    """The count, if it is one: a provider reports whatever it likes."""
    return count if type(count) is int and 0 <= count <= _MAX_TOKENS else None


def is_valid_cost(amount: object) -> bool:
    """Whether the amount is one that an attempt can have cost, in nano-dollars."""
    return type(amount) is int and 0 <= amount <= _MAX_COST
