"""Oracle: asks a large model one question."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from filterkit.contracts.base import Backend, O, Options
from filterkit.records import OracleRequest, Reply


class OracleOptions(Options):
    """Options that every oracle has; a plugin's `Options` derives from it."""

    model: str = Field("", description="the model asked for, as the provider names it")
    timeout_s: float = Field(60.0, gt=0, description="seconds a request may take")
    aliases: list[str] = Field(
        [], description="other names under which the model asked for may answer; * stands for anything"
    )


class Oracle(Backend[O]):
    """Answers one request at a time, many concurrently, on one event loop.

    The core owns prompt, schema, concurrency, limits, retries, budget, parsing and storing.
    """

    Options: ClassVar[type[Options]] = OracleOptions
    supports_schema: ClassVar[bool] = True
    reports_cost: ClassVar[bool] = False
    deterministic: ClassVar[bool] = False
    answer_options: ClassVar[tuple[str, ...]] = ()
    """Names of own options that shape the answer (a thinking level): where one differs from its default,
    the question is another one."""

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(getattr(self.options, "model", ""))

    @property
    def list_price_share(self) -> float | None:
        """What is charged, as a share of the model's list price: 0.5 for a half-price tier. None: the price tables
        of plugins do not apply (a server of one's own), only what the workspace says under `prices`."""
        return 1.0

    async def open(self) -> None:
        """Called once, on the loop of `complete`, before the first request; not when there is nothing to ask."""
        return

    @abstractmethod
    async def complete(self, request: OracleRequest) -> Reply:
        """The model's answer, unparsed; no retry. Cancellable.

        Raises Transient, Refused, RateLimited or Fatal.
        """

    async def aclose(self) -> None:
        """Called once, on the loop of `complete`, after the last request."""
        return

    def count_tokens(self, request: OracleRequest) -> int | None:
        """Input tokens of the request, counted offline; None when unknown (the core then estimates, and says so)."""
        return None
