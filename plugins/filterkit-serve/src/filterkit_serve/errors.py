"""What is answered when a request cannot be."""

from __future__ import annotations

from collections.abc import Mapping

import orjson


class HttpError(Exception):
    """Ends a request: an HTTP status, a code for programs, a sentence for people, and headers that belong to it."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def error_body(code: str, message: str, request_id: str) -> bytes:
    """The body of every error."""
    legible = message.encode("utf-8", "replace").decode()  # it may repeat what no JSON can hold
    return orjson.dumps({"error": {"code": code, "message": legible, "request_id": request_id}})


def whereabouts(error: BaseException) -> str:
    """An exception's kind and place. Its words are left out: they may hold an article's."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" in {place.tb_frame.f_globals.get('__name__')}:{place.tb_lineno}" if place else ""
    return f"{type(error).__name__}{where}"
