"""What is known about a model: its price, its token limits, and whether it can be called."""

from dataclasses import dataclass

from archon_batch.archon import SANDBOX_MODEL, ListPrice, Model
from archon_batch.providers.blocked_hosts import api_base_problem
from archon_batch.providers.endpoints import (
    is_direct,
    missing_endpoint_variables,
    transport_problem,
)
from archon_batch.providers.price_list import find_entry, known_providers, similar_models
from archon_batch.providers.scripted import MODELS as SCRIPTED

_FREE = ListPrice(input="0", output="0")  # type: ignore[arg-type]  # parsed exactly from text


def price_of(model: Model) -> ListPrice | None:
    """USD per million tokens, by the architecture, else by litellm's list; None if unknown.

    Local and scripted models cost nothing.
    """
    if model.price is not None:
        return model.price
    if model.is_local:
        return _FREE
    entry = find_entry(model.model)
    return entry.price if entry else None


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """Tokens of prompt and reply together, and of a reply; None if unknown."""

    context_window: int | None
    max_output: int | None


def token_limits_of(model: Model) -> TokenLimits:
    """The model's limits, by the architecture, else by litellm's list."""
    if model.provider == "local":
        from archon_batch.providers.local_model_server import CONTEXT_WINDOW  # noqa: PLC0415

        return TokenLimits(model.context or CONTEXT_WINDOW, CONTEXT_WINDOW)
    entry = find_entry(model.model)
    if entry is None:
        return TokenLimits(model.context, None)
    return TokenLimits(model.context or entry.context_window, entry.max_output)


def model_problem(model: Model, *, allow_unpriced: bool = False) -> str | None:
    """Why the model cannot be called, or None.

    The list lacks a provider's newest and oldest models. They are accepted with a price in the
    architecture, or without one if ``allow_unpriced``.
    """
    if problem := transport_problem(model):
        return problem
    if model.api_base is not None and (problem := api_base_problem(model.api_base)):
        return problem
    if model.provider == "scripted":
        return (
            None if model.model in SCRIPTED else f"no such script; known are {', '.join(SCRIPTED)}"
        )
    if model.provider == "sandbox":
        return (
            None if model.model == SANDBOX_MODEL else f"no such sandbox; known is {SANDBOX_MODEL}"
        )
    if model.provider == "local":
        from archon_batch.providers.local_model import MODELS as LOCAL  # noqa: PLC0415

        return None if model.model in LOCAL else f"no such model; known are {', '.join(LOCAL)}"
    if model.api_base is not None or find_entry(model.model) is not None:
        return None
    similar = ", ".join(similar_models(model.model))
    hint = f"did you mean {similar}?" if similar else "litellm's list has no similar model"
    if model.provider in known_providers():
        is_accepted = allow_unpriced or model.price is not None
        return None if is_accepted else f"{hint}; an unlisted model needs a price under models"
    return f"unknown provider; write provider/model; {hint}"


def missing_variables(model: Model) -> tuple[str, ...]:
    """The unset environment variables that calls of the model need.

    Raises:
        SettingsError: the local model is not installed, or there is no sandbox.
    """
    if model.provider == "scripted" or model.api_base is not None:
        return ()
    if model.provider == "local":
        from archon_batch.providers.local_model import installed_weights  # noqa: PLC0415

        installed_weights(model.model)
        return ()
    if model.provider == "sandbox":
        from archon_batch.sandbox import Sandbox  # noqa: PLC0415

        Sandbox()
        return ()
    if is_direct(model):
        return missing_endpoint_variables(model)
    from archon_batch.providers.litellm_provider import missing_litellm_variables  # noqa: PLC0415

    return missing_litellm_variables(model.model)
