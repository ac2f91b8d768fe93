"""From settings to a running server, and to its exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from filterkit.api import StoppedEarly
from filterkit_serve.address import listen, url
from filterkit_serve.log import Handler, Log
from filterkit_serve.server import Server
from filterkit_serve.settings import Settings, Wanted

SPARE_FILES = 512
"""Open files beside connections: students, libraries, the log."""


def run(wanted: Sequence[Wanted], settings: Settings, host: str, port: int, *, no_token: bool) -> int:
    """Serve until SIGTERM or Ctrl-C; 0. Raises FilterkitError: the address, a filter or a student is wrong."""
    # Tokenising a batch then stays in the scoring thread and leaves the other cores, and the interpreter, to requests.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    listener = listen(host, port, guarded=no_token or settings.token is not None)
    _allow_files(settings.connections)
    log = Log(sys.stderr.fileno())
    _into(log)
    server = Server(wanted, settings, listener, log)
    click.echo(f"Listening on {url(listener)}")
    sys.stdout.flush()
    try:
        server.run()
    finally:
        log.close()
    if isinstance(server.failure, StoppedEarly):
        click.echo(f"Error: {server.failure}", err=True)
        os._exit(server.failure.exit_code)  # a student that still scores cannot be stopped, and would be waited for
    if server.failure is not None:
        raise server.failure
    return 0


def _into(log: Log) -> None:
    """Warnings, and what libraries log, become lines of the log."""
    logging.getLogger().handlers[:] = [Handler(log)]
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what it warns of has a line of ours

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        log.say("warning", message=str(message)[:500])

    warnings.showwarning = show


def _allow_files(connections: int) -> None:
    """Each connection is an open file; many systems allow 1,024 unless one asks for more."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows; or more than the system allows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = connections + SPARE_FILES
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
