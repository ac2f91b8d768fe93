"""Why there was no answer at all."""

from __future__ import annotations

import os

import aiohttp

from filterkit.api import Transient, Unreachable

CONNECT_S = 5.0


def lost(error: BaseException, server: str) -> Transient:
    """What a failed connection means. The SDK has one name for all; what happened is further down the causes."""
    cause: BaseException | None = error
    while cause is not None:
        why = _unreachable(cause)
        if why:
            return Unreachable(f"{server}: cannot be reached: {why}")
        cause = cause.__cause__
    return Transient(f"{server}: dropped the connection")


def _unreachable(cause: BaseException) -> str | None:
    """None: it could be reached. A proxy's address is not named, for it may hold a password."""
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return f"the proxy refuses with HTTP {cause.status}"
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return f"no connection within {CONNECT_S:g} s"
    if not isinstance(cause, aiohttp.ClientConnectorError):
        return None
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        return "the proxy does not answer"
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return "its name is not found"
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return "its TLS certificate is not accepted"
    if isinstance(cause, aiohttp.ClientSSLError):
        return "TLS failed; does it speak https?"
    number = cause.os_error.errno
    return os.strerror(number).lower() if number and number > 0 else type(cause.os_error).__name__
