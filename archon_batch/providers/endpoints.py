"""Which way a call goes: straight to an address that speaks like OpenAI's, or through litellm."""

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from archon_batch.archon import Model
from archon_batch.errors import CredentialsError, UnknownModelError
from archon_batch.providers.credentials import bound_key


class _DefaultEndpoint(NamedTuple):
    """A provider's own address, the variable with its key, and those that would move it."""

    url: str
    key_variable: str
    override_variables: tuple[str, ...]


_DEFAULT_ENDPOINTS = {
    "openai": _DefaultEndpoint(
        "https://api.openai.com/v1", "OPENAI_API_KEY", ("OPENAI_BASE_URL", "OPENAI_API_BASE")
    ),
    "openrouter": _DefaultEndpoint(
        "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", ("OPENROUTER_API_BASE",)
    ),
}
#: Providers of litellm's that only mean: an address that speaks like OpenAI's.
_COMPATIBLE_PROVIDERS = frozenset(
    {"custom_openai", "hosted_vllm", "lm_studio", "openai", "openai_like"}
)
_COMPATIBLE_PROVIDERS |= {"openrouter"}
#: Families of OpenAI's that take other parameters, or another path, than the rest: litellm's work.
_NEEDS_LITELLM = re.compile(
    r"o\d|gpt-([5-9]|\d\d)|chatgpt|codex|computer|.*(audio|instruct|realtime|search|research)"
)
#: Of OpenAI's own models, those that are known to be plain.
_DIRECT_MODELS = re.compile(r"(ft:)?gpt-(3\.5|4)")


class Endpoint(NamedTuple):
    """Where a direct call goes, and what it shows there."""

    url: str
    key: str


def is_openai_compatible(model: Model) -> bool:
    return model.provider in _COMPATIBLE_PROVIDERS


def is_direct(model: Model) -> bool:
    """Whether the model's calls need no litellm; its own ``lane`` counts first."""
    if model.lane is not None:
        return model.lane == "direct"
    provider, _, name = model.model.partition("/")
    if not is_openai_compatible(model) or "://" in name:
        return False
    if provider == "openai":
        last = name.removeprefix("ft:").rpartition("/")[2]
        if _NEEDS_LITELLM.match(last) or name.startswith("responses/"):
            return False
        if model.api_base is None:
            return _DIRECT_MODELS.match(name) is not None
    if model.api_base is None:
        return provider in _DEFAULT_ENDPOINTS
    return "@" not in urlsplit(model.api_base).netloc


def transport_problem(model: Model) -> str | None:
    """What is wrong with a ``lane: direct``, or None."""
    if model.lane != "direct" or model.provider in _DEFAULT_ENDPOINTS:
        return None
    if model.is_local:
        return "lane: it has none; it is answered on this machine"
    return None if model.api_base is not None else "lane: direct needs an api_base"


def missing_endpoint_variables(model: Model) -> tuple[str, ...]:
    """The variable with the key of the provider's own address, if it is not set."""
    home = _DEFAULT_ENDPOINTS.get(model.provider)
    if model.api_base is not None or home is None or os.environ.get(home.key_variable):
        return ()
    return (home.key_variable,)


def endpoint_for(model: Model) -> Endpoint:
    """The address of a direct call and its key.

    Raises:
        CredentialsError: there is no key for it, or one that no header can hold.
        UnknownModelError: there is no address, or the environment names another one.
    """
    if model.api_base is not None:
        url, key = model.api_base, bound_key(model.api_base).key
    else:
        home = _DEFAULT_ENDPOINTS.get(model.provider)
        if home is None:
            raise UnknownModelError(model.model, "lane: direct needs an api_base")
        for name in home.override_variables:
            if os.environ.get(name):
                # Neither may the key go there unasked, nor the prompt to another place.
                why = f"{name} is not followed; give the model an api_base, or lane: litellm"
                raise UnknownModelError(model.model, why)
        url, key = home.url, os.environ.get(home.key_variable, "")
        if not key:
            raise CredentialsError(model.model, f"{home.key_variable} is not set")
    if not (key.isascii() and key.isprintable()):
        raise CredentialsError(model.model, "its key has characters that no header can hold")
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return Endpoint(parts._replace(path=path).geturl(), key)
