"""The key for an address that a file names: the one that the operator bound to its host."""

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

_PREFIX = "ARCHON_BATCH_KEY_"
#: As DNS and IP have them; what else looks like a host could pass for another one's variable.
_HOST = re.compile(r"[a-z0-9.:-]+")


class Bound(NamedTuple):
    """A key, which may be empty, and the only host that may see it."""

    host: str
    key: str


def bound(api_base: str) -> Bound:
    """The address's host, and its key; none where the operator bound none.

    litellm would send a provider's key to any address.
    """
    host = urlsplit(api_base).hostname or ""
    return Bound(host, os.environ.get(variable(host), ""))


def unbound(api_base: str | None) -> str | None:
    """The variable that would hold the key of an address that has none; None where it has one."""
    if api_base is None or bound(api_base).key:
        return None
    return variable(urlsplit(api_base).hostname or "") or None


def wanted(api_base: str | None) -> str | None:
    """What to say of an address without a key, unless it is on this machine, where few want one."""
    lacking = unbound(api_base)
    host = urlsplit(api_base or "").hostname or ""
    if lacking is None or host == "localhost" or host.startswith("127.") or host == "::1":
        return None
    return f"{host} is asked without a key; if it wants one, set {lacking}"


def variable(host: str) -> str:
    """The environment variable that holds the host's key; no two hosts share one."""
    if not _HOST.fullmatch(host):
        return ""
    # Were a hyphen as a dot, whoever owns llm-example.org would be sent llm.example.org's key.
    return _PREFIX + re.sub("[.:]", "_", host.replace("-", "__")).upper()
