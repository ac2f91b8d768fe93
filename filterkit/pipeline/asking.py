"""One question to an oracle: the request, and the judgement of what came back. Nothing unchecked becomes a label."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from filterkit.contracts import Oracle
from filterkit.errors import (
    BackendError,
    Fatal,
    FilterkitError,
    RateLimited,
    Refused,
    StoppedEarly,
    Transient,
    Unreachable,
)
from filterkit.filters import Filter
from filterkit.pipeline.pricing import Pricing
from filterkit.pipeline.question import Requests
from filterkit.records import Label, Reply, Usage, plausible, plausible_usd
from filterkit.reply import BadReply, parse_reply, same_model
from filterkit.store import Outcome, Result


@dataclass(frozen=True)
class Answer:
    """What one request brought.

    again: asking once more may help; unreachable: no connection was made; wait_s: how long the provider asks to wait
    before; ends_run: no further request can succeed, and why. cost_usd None: unknown. model_version None: there was
    no reply.
    """

    result: Result
    error: str = ""
    label: Label | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    model_version: str | None = None
    latency_s: float = 0.0
    again: bool = False
    unreachable: bool = False
    wait_s: float | None = None
    ends_run: FilterkitError | None = None

    def outcome(self, attempt: int, again: bool, final: bool, reserved_usd: float | None) -> Outcome:
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
            reserved_usd=reserved_usd,
        )


class Asker:
    """Asks one oracle about one filter. Never raises what an oracle raises: it is in the Answer."""

    def __init__(self, filter: Filter, oracle: Oracle[Any], name: str, pricing: Pricing) -> None:
        self._spec, self._oracle, self._name, self._pricing = filter.spec, oracle, name, pricing
        self._aliases = tuple(getattr(oracle.options, "aliases", ()))
        self._requests = Requests(filter, oracle)
        self._known_versions: set[str] = set()

    async def ask(
        self, attempt: int, text: str, correction: str = "", *, server_s: Callable[[], float] = time.monotonic
    ) -> Answer:
        """Send one request about `text`, as `sent_text` gave it; its key is the attempt's number.

        `server_s`: a clock of the provider's time, which requests in flight together share.
        """
        started, server_started = time.monotonic(), server_s()
        try:
            request = self._requests.make(str(attempt), text, correction)
            async with asyncio.timeout(request.timeout_s):
                reply = await self._oracle.complete(request)
            return self.judge(reply, time.monotonic() - started, server_s() - server_started)
        except Exception as error:
            return replace(self.excuse(error), latency_s=time.monotonic() - started)

    def judge(self, reply: Reply, latency_s: float = 0.0, server_s: float = 0.0) -> Answer:
        """What a reply is worth, after so many seconds, and so many of the provider's time."""
        version = reply.model_version
        rerouted = not self._is_asked_model(version)
        usage = plausible(reply.usage)  # an odd report must not cost the reply, nor those that are stored with it
        cost = plausible_usd(self._pricing.cost_usd(usage, server_s, rerouted_to=version if rerouted else None))
        said: dict[str, Any] = {
            "usage": usage,
            "cost_usd": cost,
            "model_version": version,
            "latency_s": latency_s,
        }
        if rerouted:
            stop = self._rerouted(version)
            return Answer("rerouted", stop.what, ends_run=stop, **said)
        if reply.finish == "blocked":
            return Answer("refused", "the provider blocked the answer", **said)
        if reply.finish != "stop":  # a truncated answer may even parse, and be wrong
            why = "was cut off at max_output_tokens" if reply.finish == "length" else "did not end normally"
            return Answer("bad", f"the answer {why}", again=True, **said)
        try:
            return Answer("labelled", label=parse_reply(self._spec, reply.text), **said)
        except BadReply as error:
            return Answer("bad", str(error), again=True, **said)

    def _is_asked_model(self, version: str) -> bool:
        if version not in self._known_versions:
            if not same_model(self._oracle.model, version, self._aliases):
                return False
            self._known_versions.add(version)
        return True

    def _rerouted(self, version: str) -> FilterkitError:
        asked = self._oracle.model
        if not version:
            return FilterkitError(
                f"does not say which model replied; {asked} was asked",
                where=f"oracle {self._name}",
                fix="If you trust it, accept that: -O 'oracle.aliases=[\"\"]'; what was labelled is kept",
            )
        return FilterkitError(
            f"asked {asked}, and {version[:100]!r} replied: the provider sent the question to another model",
            where=f"oracle {self._name}",
            fix=f"Ask for it by its name (-O oracle.model=…), or accept it: -O 'oracle.aliases=[\"{version[:100]}\"]'",
        )

    def excuse(self, error: Exception) -> Answer:
        """What an error instead of a reply means."""
        what = str(error) or type(error).__name__
        if isinstance(error, RateLimited) and error.scope == "day":
            fix = "Run the same command again when the quota has been renewed; what was labelled is kept"
            stop = StoppedEarly(f"the quota of the day is used up ({what})", where=f"oracle {self._name}", fix=fix)
            return Answer("limited", what, cost_usd=0.0, ends_run=stop)
        if isinstance(error, RateLimited):
            return Answer("limited", what, cost_usd=0.0, again=True, wait_s=error.retry_after_s)
        if isinstance(error, Fatal):
            fix = error.fix or "Mend that and run the same command again; what was labelled is kept"
            ends = FilterkitError(error.what, where=error.where or f"oracle {self._name}", fix=fix)
            return Answer("fatal", what, cost_usd=0.0, ends_run=ends)
        if isinstance(error, Refused):
            return Answer("refused", what, cost_usd=0.0)
        if isinstance(error, TimeoutError):
            return Answer("transient", f"no answer within {self._requests.timeout_s:g} s", again=True)
        if isinstance(error, BackendError | OSError):
            if not isinstance(error, Transient):
                return Answer("transient", what, again=True)
            return Answer(
                "transient",
                what,
                cost_usd=0.0 if error.unbilled else None,
                again=True,
                unreachable=isinstance(error, Unreachable),
                wait_s=error.retry_after_s,
            )
        if isinstance(error, FilterkitError):  # a missing key, a wrong option: the user's to mend
            return Answer("fatal", what, cost_usd=0.0, ends_run=error)
        return Answer("broken", f"the oracle {self._name} failed: {type(error).__name__}: {what}")
