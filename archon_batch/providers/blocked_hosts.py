"""Hosts that calls must not reach: cloud metadata services, which hand out credentials.

Clouds serve metadata at link-local addresses (RFC 3927; RFC 4291, 2.5.6) and at a few more,
without a key. No spelling of an api_base may reach them.
"""

import ipaddress
import os
import socket
from urllib.parse import urlsplit

ALLOW_VARIABLE = "ARCHON_BATCH_ALLOW_LINK_LOCAL"

#: Names of metadata services: Google's, Amazon's, and short forms of both.
_METADATA_NAMES = frozenset({
    "metadata", "metadata.google.internal", "metadata.goog", "instance-data",
    "instance-data.ec2.internal",
})  # fmt: skip
#: Metadata addresses that are not link-local: Amazon and Google (IPv6), Alibaba, Oracle, Azure.
_METADATA_ADDRESSES = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
#: IPv4 embedded in IPv6: translated (RFC 6052), and compatible (RFC 4291, 2.5.5.1).
_IPV4_IN_IPV6 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class LinkLocalError(OSError):
    """A name resolves to a blocked address."""


def is_link_local_allowed() -> bool:
    """Whether the operator allows calls to link-local hosts."""
    return os.environ.get(ALLOW_VARIABLE, "").strip().lower() in {"1", "yes", "true"}


def api_base_problem(api_base: str) -> str | None:
    """Why the host of the address is blocked, or None; without a DNS lookup."""
    return host_problem(urlsplit(api_base).hostname or "")


def host_problem(host: str) -> str | None:
    """Why the host is blocked, or None."""
    name = host.lower().rstrip(".")
    address = _parse_address(name)
    if is_link_local_allowed() or not (
        name in _METADATA_NAMES or (address is not None and _is_link_local(address))
    ):
        return None
    return f"{host} is link-local, where clouds serve credentials; {ALLOW_VARIABLE}=1 allows calls to it"


def _is_link_local(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in wrapped for wrapped in _IPV4_IN_IPV6):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and _is_link_local(inner):
            return True
    return address.is_link_local or address in _METADATA_ADDRESSES


def _parse_address(host: str) -> _Address | None:
    """The IP address of a host in any notation: decimal, hex, octal, also with fewer parts."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
