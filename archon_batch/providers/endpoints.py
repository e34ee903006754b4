"""The transport of a call, direct HTTP or litellm, and the endpoint of a direct call."""

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from archon_batch.archon import Model
from archon_batch.errors import CredentialsError, UnknownModelError
from archon_batch.providers.credentials import bound_key


class _DefaultEndpoint(NamedTuple):
    """A provider's default URL, the variable of its key, and variables that override the URL."""

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
#: litellm's provider names for OpenAI-compatible endpoints.
_COMPATIBLE_PROVIDERS = frozenset(
    {"custom_openai", "hosted_vllm", "lm_studio", "openai", "openai_like"}
)
_COMPATIBLE_PROVIDERS |= {"openrouter"}
#: OpenAI's model families with other parameters or paths, which litellm translates.
_NEEDS_LITELLM = re.compile(
    r"o\d|gpt-([5-9]|\d\d)|chatgpt|codex|computer|.*(audio|instruct|realtime|search|research)"
)
#: OpenAI's models that need no translation.
_DIRECT_MODELS = re.compile(r"(ft:)?gpt-(3\.5|4)")


class Endpoint(NamedTuple):
    """The URL of a direct call, and its API key."""

    url: str
    key: str


def is_openai_compatible(model: Model) -> bool:
    return model.provider in _COMPATIBLE_PROVIDERS


def is_direct(model: Model) -> bool:
    """Whether calls bypass litellm; the model's own ``transport`` counts first."""
    if model.transport is not None:
        return model.transport == "direct"
    provider, _, name = model.model.partition("/")
    if not is_openai_compatible(model) or "://" in name:
        return False
    if provider == "openai":
        base_name = name.removeprefix("ft:").rpartition("/")[2]
        if _NEEDS_LITELLM.match(base_name) or name.startswith("responses/"):
            return False
        if model.api_base is None:
            return _DIRECT_MODELS.match(name) is not None
    if model.api_base is None:
        return provider in _DEFAULT_ENDPOINTS
    return "@" not in urlsplit(model.api_base).netloc


def transport_problem(model: Model) -> str | None:
    """Why ``transport: direct`` is impossible, or None."""
    if model.transport != "direct" or model.provider in _DEFAULT_ENDPOINTS:
        return None
    if model.is_local:
        return "transport: not for a model that runs on this machine"
    return None if model.api_base is not None else "transport: direct needs an api_base"


def missing_endpoint_variables(model: Model) -> tuple[str, ...]:
    """The variable of the key for the provider's default endpoint, if it is not set."""
    default = _DEFAULT_ENDPOINTS.get(model.provider)
    if model.api_base is not None or default is None or os.environ.get(default.key_variable):
        return ()
    return (default.key_variable,)


def endpoint_for(model: Model) -> Endpoint:
    """The URL of a direct call and its key.

    Raises:
        CredentialsError: there is no key, or it cannot be sent in a header.
        UnknownModelError: there is no URL, or an environment variable overrides it.
    """
    if model.api_base is not None:
        url, key = model.api_base, bound_key(model.api_base).key
    else:
        default = _DEFAULT_ENDPOINTS.get(model.provider)
        if default is None:
            raise UnknownModelError(model.model, "transport: direct needs an api_base")
        for name in default.override_variables:
            if os.environ.get(name):
                # Send neither the key to the overriding URL, nor the prompt to the default one.
                why = f"{name} is not supported; set api_base on the model, or transport: litellm"
                raise UnknownModelError(model.model, why)
        url, key = default.url, os.environ.get(default.key_variable, "")
        if not key:
            raise CredentialsError(model.model, f"{default.key_variable} is not set")
    if not (key.isascii() and key.isprintable()):
        raise CredentialsError(model.model, "its key has characters that no header can hold")
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return Endpoint(parts._replace(path=path).geturl(), key)
