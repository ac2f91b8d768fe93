"""Why there was no answer at all."""

from __future__ import annotations

import os
import ssl

import aiohttp

CONNECT_S = 5.0


def what_broke(error: BaseException, timeout_s: float) -> tuple[str, bool]:
    """Why there was no answer, in words, and whether the server could not even be reached.

    The SDK calls every lost connection a timeout; what happened is further down the chain of causes.
    """
    cause: BaseException | None = error
    while cause is not None:
        why = _unreachable(cause, timeout_s)
        if why:
            return f"cannot be reached: {why}", True
        if isinstance(cause, aiohttp.ServerTimeoutError):
            return f"no answer within {timeout_s:g} s", False
        cause = cause.__cause__
    return "dropped the connection", False


def _unreachable(cause: BaseException, timeout_s: float) -> str | None:
    """None: it could be reached. A proxy's address is not named, for it may hold a password."""
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return f"its name is not found ({_system_words(cause.os_error)})"
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        return f"the proxy does not answer ({_system_words(cause.os_error)})"
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return f"the proxy refuses with HTTP {cause.status}"
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        bad = cause.certificate_error
        why = bad.verify_message if isinstance(bad, ssl.SSLCertVerificationError) else type(bad).__name__
        return f"its TLS certificate is not accepted ({why})"
    if isinstance(cause, aiohttp.ClientSSLError):
        return f"TLS failed ({_system_words(cause.os_error)}); does it speak https?"
    if isinstance(cause, aiohttp.ClientConnectorError):
        return _system_words(cause.os_error)
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return f"no connection within {min(CONNECT_S, timeout_s):g} s"
    return None


def _system_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no reason given").replace("_", " ").lower()
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return " ".join(str(error.strerror or type(error).__name__).split())[:100]
