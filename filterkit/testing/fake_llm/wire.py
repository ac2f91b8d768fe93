"""What all protocols share: a question as it was read, and a reply as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from filterkit.testing.fake_llm.answers import Finish

if TYPE_CHECKING:
    from aiohttp import web

Mode = Literal["json_schema", "json_object", "none"]


class Unreadable(ValueError):
    """A request that the provider would answer with 400; the text says why.

    param: the field at fault, None when the provider names none. code: OpenAI's name of the error.
    """

    def __init__(self, why: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(why)
        self.param, self.code = param, code


Why = Unreadable | None


@dataclass
class Asked:
    """A question, out of a request's body. config: the body without its texts. thinking: not switched off.

    tool: the one that must be called to answer. prefix: what the request wants cached; None where the provider itself
    caches all that comes before the article.
    """

    model: str
    system: str
    user: str
    schema: dict[str, Any] | None
    mode: Mode
    max_tokens: int | None
    thinking: bool
    config: dict[str, Any]
    tool: str | None = None
    prefix: str | None = None


@dataclass(frozen=True)
class Counts:
    """Tokens. cached and written (to the cache) are part of input; thinking is not part of output."""

    input: int
    cached: int
    output: int
    thinking: int
    written: int = 0


@dataclass(frozen=True)
class Wire:
    """An HTTP answer."""

    status: int
    body: dict[str, Any] | str
    headers: dict[str, str] = field(default_factory=dict)


class Speaker(Protocol):
    """A protocol: the modules gemini, chat and anthropic."""

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The API key that a request carries."""

    def read(
        self, model: str, body: dict[str, Any], *, openai_own: bool = True, headers: Mapping[str, str] | None = None
    ) -> Asked:
        """A question out of a request's body. Raises Unreadable. openai_own: as FakeLLM's argument."""

    def reply(
        self, text: str, finish: Finish, counts: Counts, model: str, number: int, tool: str | None = None
    ) -> Wire:
        """A 200."""

    def error(
        self, fault: str, model: str, wait_s: float | None = None, limit: int | None = None, why: Why = None
    ) -> Wire:
        """The answer to a request that got no reply."""

    def model_entry(self, name: str) -> dict[str, Any]:
        """A model in the list of models."""


class BatchSpeaker(Protocol):
    """A protocol's batches: the modules gemini_batches, openai_batches and anthropic_batches."""

    async def handle(self, request: web.BaseRequest, desk: Any) -> web.StreamResponse | None:
        """The answer to a request that is about batches or files of this protocol; None for another one.

        desk: the server's `Desk`.
        """
