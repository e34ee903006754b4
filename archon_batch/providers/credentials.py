"""The key for an address that a file names: the one that the operator bound to its host."""

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

_PREFIX = "ARCHON_BATCH_KEY_"
#: As DNS and IP have them; what else looks like a host could pass for another one's variable.
_HOST_PATTERN = re.compile(r"[a-z0-9.:-]+")


class BoundKey(NamedTuple):
    """A key, which may be empty, and the only host that may see it."""

    host: str
    key: str


def bound_key(api_base: str) -> BoundKey:
    """The address's host, and its key; none where the operator bound none.

    litellm would send a provider's key to any address.
    """
    host = urlsplit(api_base).hostname or ""
    return BoundKey(host, os.environ.get(key_variable(host), ""))


def missing_key_variable(api_base: str | None) -> str | None:
    """The variable that would hold the key of an address that has none; None where it has one."""
    if api_base is None or bound_key(api_base).key:
        return None
    return key_variable(urlsplit(api_base).hostname or "") or None


def missing_key_warning(api_base: str | None) -> str | None:
    """What to say of an address without a key, unless it is on this machine, where few want one."""
    lacking = missing_key_variable(api_base)
    host = urlsplit(api_base or "").hostname or ""
    if lacking is None or host == "localhost" or host.startswith("127.") or host == "::1":
        return None
    return f"{host} is asked without a key; if it wants one, set {lacking}"


def key_variable(host: str) -> str:
    """The environment variable that holds the host's key; no two hosts share one."""
    if not _HOST_PATTERN.fullmatch(host):
        return ""
    # Were a hyphen as a dot, whoever owns llm-example.org would be sent llm.example.org's key.
    return _PREFIX + re.sub("[.:]", "_", host.replace("-", "__")).upper()
