"""The API key for an ``api_base``: the one that the operator bound to its host."""

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

_PREFIX = "ARCHON_BATCH_KEY_"
#: DNS names and IP addresses; anything else could map to the variable of another host.
_HOST_PATTERN = re.compile(r"[a-z0-9.:-]+")


class BoundKey(NamedTuple):
    """A key, which may be empty, and the only host that may see it."""

    host: str
    key: str


def bound_key(api_base: str) -> BoundKey:
    """The host of the address and its key, which is empty where the operator bound none.

    litellm by itself would send a provider's key to any address.
    """
    host = urlsplit(api_base).hostname or ""
    return BoundKey(host, os.environ.get(key_variable(host), ""))


def missing_key_variable(api_base: str | None) -> str | None:
    """The unset environment variable for the key of the address; None where the key is set."""
    if api_base is None or bound_key(api_base).key:
        return None
    return key_variable(urlsplit(api_base).hostname or "") or None


def missing_key_warning(api_base: str | None) -> str | None:
    """A warning for an address without a key; None on this machine, where few servers need one."""
    variable = missing_key_variable(api_base)
    host = urlsplit(api_base or "").hostname or ""
    if variable is None or host == "localhost" or host.startswith("127.") or host == "::1":
        return None
    return f"no key is sent to {host}; if it needs one, set {variable}"


def key_variable(host: str) -> str:
    """The environment variable that holds the host's key; no two hosts share one."""
    if not _HOST_PATTERN.fullmatch(host):
        return ""
    # Distinguish "-" from ".": else the owner of llm-example.org gets llm.example.org's key.
    return _PREFIX + re.sub("[.:]", "_", host.replace("-", "__")).upper()
