"""The models that an architecture names."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

#: ASCII host names and addresses only: a lookalike letter could stand for another host.
_HOST = re.compile(r"[\w.:-]+", re.ASCII)


def _exact_decimal(value: object) -> Decimal:
    """The exact decimal: 0.15 is fifteen hundredths, not the nearest binary fraction."""
    wanted = "USD per million tokens, such as 0.15"
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(wanted)  # noqa: TRY004  (pydantic reports a ValueError only)
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError(wanted) from None


#: The bound keeps the sums of a job within 64 bits of nano-dollars.
PriceUsd = Annotated[
    Decimal, BeforeValidator(_exact_decimal), Field(ge=0, le=1_000_000, allow_inf_nan=False)
]


def _validate_address(address: str) -> str:
    """The address, if it is a plain http or https URL."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        good = parts.scheme in ("http", "https") and parts.port != 0 and not parts.fragment
    except ValueError:
        good, host = False, ""
    written = address.isascii() and address.isprintable() and " " not in address
    if not (good and written and _HOST.fullmatch(host)):
        raise ValueError("an address such as http://localhost:8000/v1")
    return address


class ListPrice(BaseModel):
    """USD per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    input: PriceUsd
    output: PriceUsd
    #: For prompt tokens that the provider reads from its cache; None means the price of input.
    cached_input: PriceUsd | None = None


class Model(BaseModel):
    """A model, its endpoint, its limits and its price."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: The name in litellm (``openai/gpt-4o-mini``), or ``local/...``, ``scripted/...``.
    model: str = Field(min_length=1, max_length=200)
    api_base: Annotated[str, Field(min_length=1), AfterValidator(_validate_address)] | None = None
    #: Requests per minute; None means no limit.
    rpm: int | None = Field(default=None, ge=1)
    #: Tokens per minute.
    tpm: int | None = Field(default=None, ge=1)
    #: Concurrent calls.
    max_in_flight: int | None = Field(default=None, ge=1)
    price: ListPrice | None = None
    #: The context window in tokens, for prompt and reply together.
    context: int | None = Field(default=None, ge=1)
    #: Whether it supports JSON schemas; None means what litellm knows.
    json_schema: bool | None = None
    #: Merge system messages into the first user message, for models whose chat template rejects
    #: them (Gemma).
    no_system: bool = False
    #: The transport of its calls; None means the default of the provider.
    transport: Literal["direct", "litellm"] | None = None

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0] if "/" in self.model else ""

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine: without network, key or price."""
        return self.provider in ("local", "scripted", "sandbox")
