"""Where to listen, and whether that is open to others."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import re
import socket
import struct
import sys
from pathlib import Path

from filterkit.api import ConfigError, Context

TOKEN = "FILTERKIT_SERVE_TOKEN"  # noqa: S105 - the variable's name
BACKLOG = 1024
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_SO_ATTACH_FILTER = 26
_NO_SYN = (  # classic BPF over a TCP header: its flags; is SYN among them? then nothing of the packet, else all of it
    (0x30, 0, 0, 13),
    (0x45, 0, 1, 0x02),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)


def token() -> bytes | None:
    """The bearer token, of the environment only; None when there is none. No message or log will hold it.

    ConfigError: no client could send it.
    """
    if not os.environ.get(TOKEN, "").strip():
        return None
    found = Context(Path()).secret(TOKEN)
    if not _SENDABLE.fullmatch(found):
        raise ConfigError(
            "a token is letters, digits and signs of ASCII, without spaces", where=TOKEN, fix="Choose another one"
        )
    return found.encode()


def listen(host: str, port: int, *, guarded: bool) -> socket.socket:
    """A listening socket. ConfigError: no such address, taken, or others could reach it and it is not `guarded`."""
    where = f"{host or 'every address'}, port {port}"
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError("there is no such address", where=where, fix="Give --host an address") from error
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    if not guarded and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise ConfigError(
            "everybody who reaches this address could use the server",
            where=where,
            fix=f"export {TOKEN}=…, or say --no-token if something in front of it asks who they are",
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen there ({error.strerror})", where=where, fix="Give another --port or --host"
        ) from error
    return listener


def let_nobody_in(listener: socket.socket) -> None:
    """No connection begins any more; those that have begun still arrive here to be accepted.

    A listening socket that is just closed cuts off clients whom the system has let in and nobody has accepted yet.
    Linux alone can do better; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in _NO_SYN))
    with contextlib.suppress(OSError):
        program = struct.pack("HL", len(_NO_SYN), ctypes.addressof(code))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def accept_waiting(listener: socket.socket) -> list[socket.socket]:
    """All connections that wait at a listening socket which does not block."""
    accepted = []
    with contextlib.suppress(OSError):
        while True:
            accepted.append(listener.accept()[0])
    return accepted


def url(listener: socket.socket) -> str:
    """The address as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
