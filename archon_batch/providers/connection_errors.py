"""Why no connection came about: what passes by itself, and what somebody has to mend."""

import os
import socket
import ssl
from typing import Final

import aiohttp

from archon_batch.errors import (
    ProviderError,
    UnknownHostError,
    UnreachableError,
    UntrustedHostError,
)
from archon_batch.providers.blocked_hosts import LinkLocalError

#: No connection came about, so nothing was sent.
CONNECT_ERRORS: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
#: The name has no address, says a name server that answered; that none did is another code.
_UNKNOWN_HOST_ERRNOS = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
#: Of OpenSSL, when what answers speaks no TLS at all.
_NOT_TLS_REASONS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}


class ReachedHosts:
    """The hosts that have answered this process: what they do now is an outage, and passes."""

    def __init__(self) -> None:
        self._hosts: set[str] = set()

    def add(self, host: str | None) -> None:
        self._hosts.add(host or "")

    def classify(self, error: BaseException, host: str | None) -> type[ProviderError]:
        """What a connection that did not come about to the host means."""
        if (host or "") in self._hosts:
            return UnreachableError
        trouble = getattr(error, "os_error", None)
        if isinstance(trouble, socket.gaierror) and trouble.errno in _UNKNOWN_HOST_ERRNOS:
            return UnknownHostError
        if isinstance(trouble, LinkLocalError):
            return UntrustedHostError
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return UntrustedHostError
        if isinstance(trouble, ssl.SSLError) and trouble.reason in _NOT_TLS_REASONS:
            return UntrustedHostError
        return UnreachableError


def describe_connection_error(error: BaseException) -> str:
    """What went wrong below, with the host where it can be told."""
    # Through a proxy, it is the proxy that was not found.
    host = getattr(error, "host", None)
    where = f"{host}: " if host else ""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        given = error.certificate_error
        reason = getattr(given, "verify_message", "") or str(given)
        return f"{where}certificate verify failed: {reason}"
    trouble = getattr(error, "os_error", None)
    if isinstance(trouble, socket.gaierror):
        return f"{where}{trouble.strerror}"
    if isinstance(trouble, ssl.SSLError):
        return f"{where}no TLS: {trouble.reason or trouble}"
    if isinstance(trouble, OSError) and trouble.errno:
        return f"{where}{os.strerror(trouble.errno)}"
    return str(trouble or error) or type(error).__name__
