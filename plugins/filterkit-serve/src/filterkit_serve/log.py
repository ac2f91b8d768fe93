"""The log: one JSON object a line, on stderr.

Nobody may read stderr, or too slowly: lines are written by a thread of their own and dropped where it falls behind, so
that no request ever waits for its line. No text of an article and no token gets here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any

import orjson

MOST_WAITING = 20_000
"""Lines that wait for whoever reads stderr, before new ones are dropped."""
_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class Log:
    """Takes lines from any thread. dropped: how many were not written because nobody read the earlier ones."""

    def __init__(self, target: int) -> None:
        self.dropped = 0
        self._target = target
        self._lines: deque[bytes] = deque()
        self._filled = threading.Event()
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def say(self, event: str, **values: Any) -> None:
        """One line."""
        if len(self._lines) >= MOST_WAITING:
            self.dropped += 1
            return
        line = {"at": datetime.now(UTC), "event": event, **values}
        try:
            self._lines.append(orjson.dumps(line, option=_LINE))
        except TypeError:  # a path that is no UTF-8, say
            self._lines.append(json.dumps(line, default=str).encode() + b"\n")

    def flush(self) -> None:
        """Hand over what was said; called a few times a second, so that a line costs no switch of threads."""
        if self._lines:
            self._filled.set()

    def close(self, seconds: float = 1.0) -> None:
        """Wait a little for the last lines."""
        self._closed = True
        self._filled.set()
        self._writer.join(seconds)

    def _write(self) -> None:
        closed = False
        while not closed:
            self._filled.wait()
            self._filled.clear()
            closed = self._closed  # asked before the lines are written: none that came before it is left behind
            while self._lines:
                chunk = b"".join(self._lines.popleft() for _ in range(min(len(self._lines), 256)))
                with contextlib.suppress(OSError):  # whoever read it is gone
                    _write_all(self._target, chunk)


def _write_all(target: int, chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(target, chunk) :]


class Handler(logging.Handler):
    """What libraries log, as lines of the same log: their message, and of an exception its kind only."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        kind = {"exception": error.__name__} if error else {}
        self._log.say("library", logger=record.name, message=record.getMessage().strip()[:300], **kind)
