"""The models that an architecture names."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

#: Names and numbers of hosts; what only looks like a letter could pass for another host.
_HOST = re.compile(r"[\w.:-]+", re.ASCII)


def _exact_decimal(value: object) -> Decimal:
    """The number as it is written: 0.15 is fifteen hundredths, not the nearest binary fraction."""
    wanted = "USD per million tokens, such as 0.15"
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(wanted)  # noqa: TRY004  (pydantic tells of a ValueError only)
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError(wanted) from None


#: The bound keeps every sum of a job within 64 bits of nano-dollars.
PriceUsd = Annotated[
    Decimal, BeforeValidator(_exact_decimal), Field(ge=0, le=1_000_000, allow_inf_nan=False)
]


def _validate_address(address: str) -> str:
    """The address, if a request can go there; nothing in it stands for something else."""
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
    #: Of the part of a prompt that the provider read from its cache; None is the price of others.
    cached_input: PriceUsd | None = None


class Model(BaseModel):
    """A model and where and how it may be called."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    #: The name litellm knows it by (``openai/gpt-4o-mini``), or ``local/...``, ``scripted/...``.
    model: str = Field(min_length=1, max_length=200)
    api_base: Annotated[str, Field(min_length=1), AfterValidator(_validate_address)] | None = None
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
    #: Send no system messages, which the templates of some models refuse (Gemma's): what they say
    #: stands before the first of the user's.
    no_system: bool = False
    #: The transport of its calls; None leaves the choice to the providers.
    transport: Literal["direct", "litellm"] | None = None

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0] if "/" in self.model else ""

    @property
    def is_local(self) -> bool:
        """Whether it is answered on this machine: without a network, a key or a price."""
        return self.provider in ("local", "scripted", "sandbox")
