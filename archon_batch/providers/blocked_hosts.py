"""Hosts that no call may go to unasked: what answers there gives its machine's credentials away.

Clouds tell a machine of itself at link-local addresses (RFC 3927; RFC 4291, 2.5.6) and at a few
others, without a key. An api_base that a file names is not to reach them by any spelling.
"""

import ipaddress
import os
import socket
from urllib.parse import urlsplit

ALLOW_VARIABLE = "ARCHON_BATCH_ALLOW_LINK_LOCAL"

#: What clouds call the place: Google's, Amazon's, and short forms of both.
_METADATA_NAMES = frozenset({
    "metadata", "metadata.google.internal", "metadata.goog", "instance-data",
    "instance-data.ec2.internal",
})  # fmt: skip
#: Where they have it besides: Amazon's and Google's in IPv6, Alibaba's, Oracle's, Azure's wire server.
_METADATA_ADDRESSES = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
#: IPv4 within IPv6: translated (RFC 6052), and compatible (RFC 4291, 2.5.5.1).
_IPV4_IN_IPV6 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class LinkLocalError(OSError):
    """A name stands for an address that no call may go to."""


def is_link_local_allowed() -> bool:
    """Whether the operator lets calls go there."""
    return os.environ.get(ALLOW_VARIABLE, "").strip().lower() in {"1", "yes", "true"}


def api_base_problem(api_base: str) -> str | None:
    """What is wrong with the host of an address, or None; nothing is looked up."""
    return host_problem(urlsplit(api_base).hostname or "")


def host_problem(host: str) -> str | None:
    """What is wrong with the host, or None."""
    name = host.lower().rstrip(".")
    address = _parse_address(name)
    if is_link_local_allowed() or not (
        name in _METADATA_NAMES or (address is not None and _is_link_local(address))
    ):
        return None
    return f"{host} is link-local, where a cloud tells of its machine; {ALLOW_VARIABLE}=1 lets calls go there"


def _is_link_local(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in wrapped for wrapped in _IPV4_IN_IPV6):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and _is_link_local(inner):
            return True
    return address.is_link_local or address in _METADATA_ADDRESSES


def _parse_address(host: str) -> _Address | None:
    """The address that a host stands for by itself: in decimal, hex and octal, of fewer parts too."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
