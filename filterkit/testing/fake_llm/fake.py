"""`FakeLLM`: the server in a thread of this process, or in a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any, Self

from filterkit.errors import FilterkitError
from filterkit.testing.fake_llm.faults import Settings

try:
    from filterkit.testing.fake_llm.server import Desk, Exchange, digest, listen
except ImportError as error:
    raise ImportError("filterkit.testing.fake_llm needs aiohttp: pip install 'filterkit[testing]'") from error

START_S = 30.0
__all__ = ["Exchange", "FakeLLM", "digest"]


class FakeLLM:
    """A fake provider on 127.0.0.1, serving while its `with` block lasts.

    latency_s: seconds until an answer (an exceeded limit is said at once). faults: probability of each fault per
    request, by name (see FAULTS). script: the faults of the first requests in order, "ok" for none. always: the fault
    of every article that contains a text. The first of always, script, faults that says something counts.
    requests_per_minute, requests_per_day: limits, answered with 429; the minute is a sliding window of window_s.
    retry_after_s: the wait that a rate_limit or quota_day fault asks for, None to say nothing. model_version: who says
    to have replied, if not the model asked for. models: those that exist, all by default; api_key: the only valid one.
    A request that the provider would refuse gets its 400; without any key Gemini says 403, Anthropic 401.
    openai_own=False answers OpenAI's protocol as a local server does: unknown fields, both limits of tokens, a schema
    that is not strict, any temperature and a missing model are taken.
    structured: the kinds of output that the server knows ("none" is plain text), a request for another one is a 400.
    bias: how many points a model's scores are off. wobble: up to so many more, others each time it is asked about an
    article.
    thinking_tokens: spent on every reply unless switched off. min_cached_tokens: a prefix of fewer is not cached.
    record=False keeps no exchanges, only counts. process=True serves from a process of its own; port=0 takes a free
    port. Raises FilterkitError on an unknown name.

    batch_lag_s: seconds from the submit of a batch until it ends. batch_faults: probability of each of BATCH_FAULTS per
    step, drawn one by one; batch_script: those of the first steps, each taken by the next step of its stage, "ok" by
    the next job. The requests of a batch meet faults, script and always like live ones, but no limits.
    batch_listed_after_s: seconds until a list of batches shows a new one. batch_file_bytes: the largest upload.
    """

    def __init__(
        self,
        *,
        latency_s: float = 0.0,
        faults: Mapping[str, float] | None = None,
        script: Iterable[str] = (),
        always: Mapping[str, str] | None = None,
        requests_per_minute: int | None = None,
        requests_per_day: int | None = None,
        window_s: float = 60.0,
        retry_after_s: float | None = 1.0,
        model_version: str | None = None,
        models: Iterable[str] | None = None,
        api_key: str | None = None,
        openai_own: bool = True,
        structured: Iterable[str] = ("json_schema", "json_object", "none"),
        thinking_tokens: int = 0,
        min_cached_tokens: int = 1024,
        seed: int = 0,
        bias: Mapping[str, float] | None = None,
        wobble: float = 0.0,
        record: bool = True,
        process: bool = False,
        batch_lag_s: float = 0.1,
        batch_faults: Mapping[str, float] | None = None,
        batch_script: Iterable[str] = (),
        batch_listed_after_s: float = 0.0,
        batch_file_bytes: int = 256_000_000,
        port: int = 0,
    ) -> None:
        self._settings = Settings(
            latency_s=latency_s,
            faults=dict(faults or {}),
            script=tuple(script),
            always=dict(always or {}),
            requests_per_minute=requests_per_minute,
            requests_per_day=requests_per_day,
            window_s=window_s,
            retry_after_s=retry_after_s,
            model_version=model_version,
            models=None if models is None else tuple(models),
            api_key=api_key,
            openai_own=openai_own,
            structured=tuple(structured),
            thinking_tokens=thinking_tokens,
            min_cached_tokens=min_cached_tokens,
            seed=seed,
            bias=dict(bias or {}),
            wobble=wobble,
            record=record,
            batch_lag_s=batch_lag_s,
            batch_faults=dict(batch_faults or {}),
            batch_script=tuple(batch_script),
            batch_listed_after_s=batch_listed_after_s,
            batch_file_bytes=batch_file_bytes,
        )
        self._port, self._last = port, dict[str, Any]()
        self._host: _Thread | _Process = _Process() if process else _Thread()

    def __enter__(self) -> Self:
        self._port = self._host.start(self._settings, self._port)
        return self

    def __exit__(self, *_: object) -> None:
        self._last = self.state()
        self._host.stop()

    @property
    def url(self) -> str:
        """The base URL for Gemini's SDKs and for Anthropic's."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's SDK."""
        return f"{self.url}/v1"

    def state(self) -> dict[str, Any]:
        """All counts: requests, answered, others, in_flight, max_in_flight, and by kind statuses, faults, tokens.

        Those are of live requests (faults: of all); of batches: batches (jobs), batch_answered, batch_tokens, and files
        that are kept.
        After the `with` block: as they were at its end.
        """
        return self._host.state() if self._host.running else self._last

    @property
    def requests(self) -> int:
        """Requests for an answer so far."""
        return int(self.state()["requests"])

    @property
    def answered(self) -> int:
        """Those answered with status 200, whatever the answer was worth."""
        return int(self.state()["answered"])

    @property
    def max_in_flight(self) -> int:
        """The most requests that were open at one time."""
        return int(self.state()["max_in_flight"])

    @property
    def exchanges(self) -> list[Exchange]:
        """All requests for an answer, in the order of their arrival. With process=True only within the `with` block."""
        return self._host.exchanges()

    def paid(self) -> dict[str, dict[str, int]]:
        """How many times each article was answered, and so charged: "live" at the full price, "batch" at half of it.

        By `digest` of the article's text. An answer that got lost on its way counts: it is charged all the same. With
        process=True only within the `with` block, as `batches` too.
        """
        return self._host.paid()

    def batches(self) -> list[dict[str, Any]]:
        """All batch jobs: id, name (the token), status, requests, counts of what came of them by kind, faults."""
        return self._host.batches()

    def reset(self) -> None:
        """Forget all requests and batches; script, limits and random numbers start anew."""
        self._host.reset()

    def set_faults(self, faults: Mapping[str, float]) -> None:
        """Other probabilities from now on."""
        self.change(faults=dict(faults))

    def set_script(self, script: Iterable[str]) -> None:
        """The faults of the next requests."""
        self.change(script=list(script))

    def change(self, **settings: Any) -> None:
        """Other settings from now on, by the names of the arguments."""
        self._host.change(settings)


class _Thread:
    """The server on an event loop in a thread."""

    def __init__(self) -> None:
        self.running = False
        self._ready: threading.Event = threading.Event()
        self._problem: BaseException | None = None

    def start(self, settings: Settings, port: int) -> int:
        self._desk, self._port = Desk(settings), port
        self._ready.clear()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="fake-llm", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_S) or self._problem is not None:
            raise FilterkitError(f"the fake provider did not start: {self._problem}", fix="Try another port")
        self.running = True
        return self._port

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        try:
            runner, self._port = await listen(self._desk, self._port)
        except OSError as error:
            self._problem = error
            return
        finally:
            self._ready.set()
        try:
            await self._over.wait()
        finally:
            await runner.cleanup()

    def stop(self) -> None:
        self.running = False
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(START_S)

    def state(self) -> dict[str, Any]:
        return self._desk.state()

    def exchanges(self) -> list[Exchange]:
        return self._desk.exchanges

    def paid(self) -> dict[str, dict[str, int]]:
        return {"live": dict(self._desk.paid), "batch": dict(self._desk.batch_paid)}

    def batches(self) -> list[dict[str, Any]]:
        return self._desk.jobs()

    def reset(self) -> None:
        self._on_loop(self._desk.reset)

    def change(self, values: dict[str, Any]) -> None:
        self._on_loop(self._desk.change, values)

    def _on_loop(self, function: Any, *args: Any) -> None:
        async def call() -> None:
            function(*args)

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(START_S)


class _Process:
    """The server in a process of its own, which ends with this one."""

    running = False

    def start(self, settings: Settings, port: int) -> int:
        command = [sys.executable, "-m", "filterkit.testing.fake_llm", "--port", str(port), "--while-stdin-is-open"]
        command += ["--settings", json.dumps(settings.to_dict())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        url = re.search(r"http://\S+", line)
        if url is None:
            self._process.wait(START_S)
            raise FilterkitError(f"the fake provider did not start: {line}", fix="Try another port")
        self._url, self.running = url.group(), True
        return int(self._url.rsplit(":", 1)[1])

    def stop(self) -> None:
        self.running = False
        self._process.communicate(timeout=START_S)

    def state(self) -> dict[str, Any]:
        return self._call("state")

    def exchanges(self) -> list[Exchange]:
        return [Exchange(**e) for e in self._call("exchanges")["exchanges"]]

    def paid(self) -> dict[str, dict[str, int]]:
        return self._call("paid")

    def batches(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = self._call("batches")["batches"]
        return jobs

    def reset(self) -> None:
        self._call("reset", {})

    def change(self, values: dict[str, Any]) -> None:
        self._call("settings", values)

    def _call(self, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}/_fake/{what}", data=data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=START_S) as answer:
                out: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise FilterkitError(json.load(error)["error"]) from None
        return out
