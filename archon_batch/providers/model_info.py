"""Whether a model can be called from here, and what it costs."""

from dataclasses import dataclass

from archon_batch.archon import SANDBOX, ListPrice, Model
from archon_batch.providers.blocked_hosts import why_not_called
from archon_batch.providers.endpoints import is_direct, missing_key, why_not_direct
from archon_batch.providers.price_list import listed, nearest, providers
from archon_batch.providers.scripted import MODELS as SCRIPTED

_FREE = ListPrice(input="0", output="0")  # type: ignore[arg-type]  # it is read exactly from text


def price_of(model: Model) -> ListPrice | None:
    """USD per million tokens: the architecture's own, else litellm's list's, else None.

    What runs on this machine or is made up costs nothing.
    """
    if model.price is not None:
        return model.price
    if model.is_here:
        return _FREE
    entry = listed(model.model)
    return entry.price if entry else None


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens, or None where nobody knows: of prompt and reply together, and of a reply."""

    context: int | None
    max_output: int | None


def limits_of(model: Model) -> Limits:
    """What the architecture says of the model, else what litellm's list does."""
    if model.provider == "local":
        from archon_batch.providers.local_model_server import WINDOW  # noqa: PLC0415

        return Limits(model.context or WINDOW, WINDOW)
    entry = listed(model.model)
    if entry is None:
        return Limits(model.context, None)
    return Limits(model.context or entry.context, entry.max_output)


def why_unknown(model: Model, *, unpriced: bool = False) -> str | None:
    """What is wrong with the model's name, or None when it may be called.

    A provider's newest model is on no list yet, nor are its oldest: whoever gives its price, or
    takes it without one (``unpriced``), is taken to know it.
    """
    if why := why_not_direct(model):
        return why
    if model.api_base is not None and (why := why_not_called(model.api_base)):
        return why
    if model.provider == "scripted":
        return (
            None if model.model in SCRIPTED else f"no such script; known are {', '.join(SCRIPTED)}"
        )
    if model.provider == "sandbox":
        return None if model.model == SANDBOX else f"no such sandbox; known is {SANDBOX}"
    if model.provider == "local":
        from archon_batch.providers.local_model import MODELS as LOCAL  # noqa: PLC0415

        return None if model.model in LOCAL else f"no such model; known are {', '.join(LOCAL)}"
    if model.api_base is not None or listed(model.model) is not None:
        return None
    close = ", ".join(nearest(model.model))
    hint = f"did you mean {close}?" if close else "litellm's list has none like it"
    if model.provider in providers():
        known = unpriced or model.price is not None
        return None if known else f"{hint}; a model on no list needs a price under models"
    return f"no provider is known for it; name it as provider/model; {hint}"


def missing_for(model: Model) -> tuple[str, ...]:
    """What this process lacks to call the model: names of environment variables.

    Raises:
        SettingsError: the local model is not installed, or there is no sandbox.
    """
    if model.provider == "scripted" or model.api_base is not None:
        return ()
    if model.provider == "local":
        from archon_batch.providers.local_model import ensure_installed  # noqa: PLC0415

        ensure_installed(model.model)
        return ()
    if model.provider == "sandbox":
        from archon_batch.sandbox import Sandbox  # noqa: PLC0415

        Sandbox()
        return ()
    if is_direct(model):
        return missing_key(model)
    from archon_batch.providers.litellm_provider import missing_keys  # noqa: PLC0415

    return missing_keys(model.model)
