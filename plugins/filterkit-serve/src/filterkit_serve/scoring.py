"""The endpoints that score: plain ASGI, since every microsecond here is paid per article."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from filterkit.api import InferenceRow, InputError, TooLarge, parse_json, read_request, write_answer
from filterkit_serve.body import Body, Held
from filterkit_serve.errors import HttpError
from filterkit_serve.lane import QueueFull, ScoringFailed
from filterkit_serve.meters import Meters
from filterkit_serve.served import Live, Shelf
from filterkit_serve.settings import Settings
from filterkit_serve.wire import envelope, read_score, rows_of

JSON = (b"content-type", b"application/json")


class Scoring(ABC):
    """Reads a request, has its rows scored together with those of others, answers."""

    def __init__(self, shelf: Shelf, held: Held, settings: Settings, meters: Meters) -> None:
        self._shelf = shelf
        self._held = held
        self._settings = settings
        self._meters = meters
        self._outcomes: dict[str, tuple[Callable[[float], None], ...]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._shelf.ready:
            raise HttpError(503, "not_ready", "the students are still being loaded", {"retry-after": "1"})
        with self._held.body() as body:
            answer = await self._answer(scope, receive, body)
        content = orjson.dumps(answer)
        headers = [JSON, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, receive: Receive, body: Body) -> Any:
        content = await body.read(scope, receive, self._settings)
        try:
            return await self.answer(scope, parse_json(content))
        except TooLarge as error:
            raise HttpError(413, "inputs_too_large", str(error)) from None
        except InputError as error:
            raise HttpError(400, "bad_request", str(error)) from None

    @abstractmethod
    async def answer(self, scope: Scope, body: Any) -> Any:
        """What to say to a parsed body. Raises HttpError, or InputError about the body."""

    async def score(self, scope: Scope, live: Live, rows: Sequence[InferenceRow]) -> list[Any]:
        """The answers to the rows, in order. HttpError when the queue is full or the model fails."""
        scope["filterkit"] = {"filter": live.name, "articles": len(rows)}
        try:
            answers = await live.lane.submit(rows)
        except QueueFull as error:
            raise HttpError(
                429, "queue_full", "too many articles are waiting; try again later", {"retry-after": str(error.retry_s)}
            ) from None
        except ScoringFailed as error:
            self._count(live.name, [], len(rows))
            scope["filterkit"]["why"] = str(error)
            raise HttpError(500, "scoring_failed", "the student failed on this request") from None
        self._count(live.name, answers, 0)
        return answers

    def _count(self, name: str, answers: Sequence[Any], failed: int) -> None:
        if name not in self._outcomes:
            counted = self._meters.articles
            self._outcomes[name] = tuple(counted.labels(name, one).inc for one in ("scored", "blocked", "failed"))
        scored, blocked, lost = self._outcomes[name]
        held_back = sum(isinstance(one, Mapping) and "blocked" in one for one in answers)
        wrong = sum(isinstance(one, Mapping) and "error" in one for one in answers) + failed
        scored(len(answers) + failed - held_back - wrong)
        if held_back:
            blocked(held_back)
        if wrong:
            lost(wrong)


class Score(Scoring):
    """POST /v1/score"""

    async def answer(self, scope: Scope, body: Any) -> Any:
        asked = read_score(body, self._settings.inputs)
        live = self._shelf.choose(asked.filter or _named(scope))
        return envelope(live, asked.rows, await self.score(scope, live, asked.rows))


class Inference(Scoring):
    """POST / and POST /filters/{name}, as Hugging Face's servers take them."""

    async def answer(self, scope: Scope, body: Any) -> Any:
        live = self._shelf.choose(scope["path_params"].get("name") or _named(scope))
        request = read_request(body, max_inputs=self._settings.inputs)
        return write_answer(request, await self.score(scope, live, rows_of(request)))


def _named(scope: Scope) -> str | None:
    """?filter=NAME"""
    query = scope["query_string"]
    if not query:
        return None
    try:
        names = parse_qs(query.decode("ascii"), max_num_fields=16).get("filter")
    except ValueError as error:
        raise InputError("the address cannot be read") from error
    return names[0] if names else None
