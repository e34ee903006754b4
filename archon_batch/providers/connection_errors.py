"""Failed connections: which are temporary, and which a person has to fix."""

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

#: The connection failed, so nothing was sent.
CONNECT_ERRORS: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)
#: A name server answered that the name has no address; no answer has another code.
_UNKNOWN_HOST_ERRNOS = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
#: OpenSSL's reasons when the server does not speak TLS at all.
_NOT_TLS_REASONS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}


class ReachedHosts:
    """The hosts that have answered this process before: their failures are temporary outages."""

    def __init__(self) -> None:
        self._hosts: set[str] = set()

    def add(self, host: str | None) -> None:
        self._hosts.add(host or "")

    def classify(self, error: BaseException, host: str | None) -> type[ProviderError]:
        """The error class of a failed connection to the host."""
        if (host or "") in self._hosts:
            return UnreachableError
        cause = getattr(error, "os_error", None)
        if isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN_HOST_ERRNOS:
            return UnknownHostError
        if isinstance(cause, LinkLocalError):
            return UntrustedHostError
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return UntrustedHostError
        if isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS_REASONS:
            return UntrustedHostError
        return UnreachableError


def describe_connection_error(error: BaseException) -> str:
    """The cause of a failed connection, with the host where it is known."""
    # Behind a proxy, this is the proxy's host.
    host = getattr(error, "host", None)
    where = f"{host}: " if host else ""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        certificate_error = error.certificate_error
        reason = getattr(certificate_error, "verify_message", "") or str(certificate_error)
        return f"{where}certificate verify failed: {reason}"
    cause = getattr(error, "os_error", None)
    if isinstance(cause, socket.gaierror):
        return f"{where}{cause.strerror}"
    if isinstance(cause, ssl.SSLError):
        return f"{where}no TLS: {cause.reason or cause}"
    if isinstance(cause, OSError) and cause.errno:
        return f"{where}{os.strerror(cause.errno)}"
    return str(cause or error) or type(error).__name__
