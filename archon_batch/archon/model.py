"""The models that an architecture names."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _exact(value: object) -> Decimal:
    """The number as it is written: 0.15 is fifteen hundredths, not the nearest binary fraction."""
    wanted = "USD per million tokens, such as 0.15"
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(wanted)  # noqa: TRY004  (pydantic tells of a ValueError only)
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError(wanted) from None


#: The bound keeps every sum of a job within 64 bits of nano-dollars.
Usd = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class ListPrice(BaseModel):
    """USD per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    input: Usd
    output: Usd
    #: Of the part of a prompt that the provider read from its cache; None is the price of others.
    cached_input: Usd | None = None


class Model(BaseModel):
    """A model and where and how it may be called."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: The name litellm knows it by (``openai/gpt-4o-mini``), or ``local/...``, ``scripted/...``.
    model: str = Field(min_length=1, max_length=200)
    api_base: str | None = Field(default=None, min_length=1)
    #: Requests a minute; None is no limit of ours.
    rpm: int | None = Field(default=None, ge=1)
    #: Tokens a minute.
    tpm: int | None = Field(default=None, ge=1)
    #: Calls at once.
    max_in_flight: int | None = Field(default=None, ge=1)
    price: ListPrice | None = None
    #: The window, in tokens, of prompt and reply together.
    context: int | None = Field(default=None, ge=1)
    #: Whether it can be held to a JSON schema; None leaves it to litellm's list.
    json_schema: bool | None = None

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0] if "/" in self.model else ""
