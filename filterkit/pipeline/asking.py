"""One question to an oracle: the request, and the judgement of what came back. Nothing unchecked becomes a label."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from filterkit.contracts import Oracle
from filterkit.errors import BackendError, Fatal, FilterkitError, RateLimited, Refused, StoppedEarly
from filterkit.filters import Filter
from filterkit.prompt import BadReply, fence, parse_reply, reply_schema, system_text
from filterkit.records import Label, OracleRequest, Price, Reply, Usage
from filterkit.store import Outcome, Result


@dataclass(frozen=True)
class Answer:
    """What one request brought.

    again: asking once more may help; wait_s: how long the provider asks to wait before; ends_run: no further
    request can succeed, and why. cost_usd None: unknown. model_version None: there was no reply.
    """

    result: Result
    error: str = ""
    label: Label | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    model_version: str | None = None
    latency_s: float = 0.0
    again: bool = False
    wait_s: float | None = None
    ends_run: FilterkitError | None = None

    def outcome(self, attempt: int, *, again: bool, final: bool) -> Outcome:
        """The answer as the store takes it."""
        return Outcome(
            attempt,
            self.result,
            label=self.label,
            usage=self.usage or Usage(),
            cost_usd=self.cost_usd,
            latency_s=self.latency_s,
            model_version=self.model_version,
            error=self.error,
            final=final,
            again=again,
        )


class Asker:
    """Asks one oracle about one filter. Never raises what an oracle raises: it is in the Answer."""

    def __init__(self, filter: Filter, oracle: Oracle[Any], name: str, prices: Mapping[str, Price]) -> None:
        self._spec, self._oracle, self._name = filter.spec, oracle, name
        self._price = prices.get(oracle.model)
        self._timeout_s = float(getattr(oracle.options, "timeout_s", 60.0))
        self._fixed: dict[str, Any] = {
            "system": system_text(filter.spec),
            "rubric": filter.rubric,
            "json_schema": reply_schema(filter.spec),
            "model": oracle.model,
            "timeout_s": self._timeout_s,
            **filter.spec.generation.model_dump(),
        }

    async def ask(self, attempt: int, text: str) -> Answer:
        """Send one request about `text`, as `sent_text` gave it; its key is the attempt's number."""
        started = time.monotonic()
        try:
            request = OracleRequest(key=str(attempt), article=fence(text), **self._fixed)
            async with asyncio.timeout(self._timeout_s):
                reply = await self._oracle.complete(request)
            answer = self._judge(reply)
        except Exception as error:
            answer = self._excuse(error)
        return replace(answer, latency_s=time.monotonic() - started)

    def _judge(self, reply: Reply) -> Answer:
        usage = reply.usage
        cost = usage.cost_usd
        if cost is None and self._price is not None:
            cost = self._price.cost(usage)

        def answer(result: Result, error: str = "", label: Label | None = None, again: bool = False) -> Answer:
            return Answer(result, error, label, usage, cost, reply.model_version, again=again)

        if reply.finish == "blocked":
            return answer("refused", "the provider blocked the answer")
        if reply.finish != "stop":  # a truncated answer may even parse, and be wrong
            why = "was cut off at max_output_tokens" if reply.finish == "length" else "did not end normally"
            return answer("bad", f"the answer {why}", again=True)
        try:
            return answer("labelled", label=parse_reply(self._spec, reply.text))
        except BadReply as error:
            return answer("bad", str(error), again=True)

    def _excuse(self, error: Exception) -> Answer:
        what = str(error) or type(error).__name__
        if isinstance(error, RateLimited) and error.scope == "day":
            fix = "Run the same command again when the quota has been renewed; what was labelled is kept"
            stop = StoppedEarly(f"the quota of the day is used up ({what})", where=f"oracle {self._name}", fix=fix)
            return Answer("limited", what, cost_usd=0.0, ends_run=stop)
        if isinstance(error, RateLimited):
            return Answer("limited", what, cost_usd=0.0, again=True, wait_s=error.retry_after_s)
        if isinstance(error, Fatal):
            fix = error.fix or "Mend that and run the same command again; what was labelled is kept"
            return Answer(
                "fatal", what, cost_usd=0.0, ends_run=FilterkitError(what, where=f"oracle {self._name}", fix=fix)
            )
        if isinstance(error, Refused):
            return Answer("refused", what)
        if isinstance(error, TimeoutError):
            return Answer("transient", f"no answer within {self._timeout_s:g} s", again=True)
        if isinstance(error, BackendError | OSError):
            return Answer("transient", what, again=True)
        if isinstance(error, FilterkitError):  # a missing key, a wrong option: the user's to mend
            return Answer("fatal", what, cost_usd=0.0, ends_run=error)
        return Answer("broken", f"the oracle {self._name} failed: {type(error).__name__}: {what}")
