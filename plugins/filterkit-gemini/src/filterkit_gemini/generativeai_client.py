"""Asks Gemini through the older google-generativeai, over REST and in threads: its own async call cannot do REST.

The threads are not an executor's: those are waited for at exit, for as long as a provider hangs.

The package's `configure()` holds one key and one address for the whole process. The service client beneath it is used
instead, one per thread, because a requests session is not made to be shared.
"""

from __future__ import annotations

import asyncio
import importlib
import queue
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from filterkit.api import ConfigError, Fatal, OracleRequest, Transient
from filterkit_gemini.faults import Faults
from filterkit_gemini.options import GeminiOptions
from filterkit_gemini.wire import safety_settings

MOST_THREADS = 512
"""A thread is made when a request finds none that is free, so there are as many as were in flight at once."""


class GenerativeAIClient:
    """Threads, each with a service client of the older SDK."""

    def __init__(self, options: GeminiOptions, secret: str, faults: Faults) -> None:
        self._options, self._secret, self._faults = options, secret, faults
        self._sdk = _Sdk()
        self._threads = _Threads(MOST_THREADS)
        self._own = threading.local()
        self._services: list[Any] = []
        try:
            self._first: list[Any] = [self._service()]
        except Exception as error:
            raise ConfigError(
                f"google-generativeai cannot be set up: {faults.said(str(error)) or type(error).__name__}",
                where="oracle gemini",
                fix="Look at the environment variables for certificates (GOOGLE_API_USE_…)",
            ) from None

    async def ask(self, request: OracleRequest) -> Any:
        """The reply as REST JSON. Raises BackendError."""
        return await asyncio.wrap_future(self._threads.submit(lambda: self._ask(request)))

    def _ask(self, request: OracleRequest) -> Any:
        name = request.model if "/" in request.model else f"models/{request.model}"
        content, part = self._sdk.protos.Content, self._sdk.protos.Part
        question = self._sdk.protos.GenerateContentRequest(
            model=name,
            system_instruction=content(parts=[part(text=request.system)]) if request.system else None,
            contents=[content(role="user", parts=[part(text=request.user)])],
            generation_config=self._sdk.protos.GenerationConfig(
                temperature=request.temperature,
                max_output_tokens=request.max_output_tokens,
                response_mime_type="application/json",
                response_schema=older_schema(request.json_schema),
            ),
            safety_settings=safety_settings(self._options.safety),
        )
        client = self._client()
        try:
            reply = client.generate_content(question, retry=None, timeout=request.timeout_s)
        except self._sdk.api_errors.GoogleAPICallError as error:
            raise self._explain(error) from None
        except self._sdk.auth_errors.GoogleAuthError:
            raise self._faults.of_status(401, "the key was refused", {}) from None
        except self._sdk.http_errors.Timeout:
            raise Transient(f"no answer within {request.timeout_s:g} s") from None
        except self._sdk.http_errors.TooManyRedirects as error:
            raise self._faults.of_status(error.response.status_code, "", error.response.headers) from None
        except (self._sdk.http_errors.InvalidURL, self._sdk.http_errors.InvalidSchema) as error:
            what = f"the request cannot be sent: {self._faults.said(str(error))}"
            raise Fatal(what, fix="Look at base_url and at the environment variables for proxies") from None
        except (self._sdk.http_errors.RequestException, OSError) as error:
            raise self._faults.of_connection(error) from None
        except (ValueError, AttributeError, TypeError, LookupError):  # no JSON, or in a form that the SDK trips over
            raise Transient("the provider sent something that cannot be read") from None
        # With names for enums and camelCase, and without fields that were not sent, it is the REST JSON again.
        return type(reply).to_dict(
            reply,
            use_integers_for_enums=False,
            preserving_proto_field_name=False,
            always_print_fields_with_no_presence=False,
        )

    def _explain(self, error: Any) -> Exception:
        response = getattr(error, "response", None)
        if response is None:
            return self._faults.of_status(int(error.code or 0), {"message": error.message}, {})
        try:
            body = response.json()
        except ValueError:
            body = response.text
        return self._faults.of_status(response.status_code, body, response.headers)

    def _client(self) -> Any:
        client = getattr(self._own, "client", None)
        if client is None:
            try:
                client = self._first.pop()
            except IndexError:
                client = self._service()
            self._own.client = client
        return client

    def _service(self) -> Any:
        # Both are said, so that none is taken from the environment: the key goes there.
        where = {"api_endpoint": self._options.url, "universe_domain": "googleapis.com"}
        key = self._sdk.credentials(self._secret)
        client = self._sdk.service(transport="rest", credentials=key, client_options=where)
        client.transport._session.max_redirects = 0  # the key would be sent along; there is no public way
        self._services.append(client)
        return client

    async def aclose(self) -> None:
        """Close all connections. A thread whose request was cancelled ends with that request, or with the process."""
        self._threads.close()
        for client in self._services:
            client.transport.close()


class _Threads:
    """Daemon threads, made when none is free. `submit` and `close` are called from one thread."""

    def __init__(self, most: int) -> None:
        self._most, self._made = most, 0
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((call, future))
        if not self._free.acquire(blocking=False) and self._made < self._most:
            self._made += 1
            threading.Thread(target=self._work, name=f"gemini-{self._made}", daemon=True).start()
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            del call, future, job  # the last request is not to be held while waiting for the next
            self._free.release()

    def close(self) -> None:
        """What has not begun is cancelled; threads end after what they are doing."""
        try:
            while (job := self._jobs.get_nowait()) is not None:
                job[1].cancel()
        except queue.Empty:
            pass
        for _ in range(self._made):
            self._jobs.put(None)


class _Sdk:
    """What is needed of the older SDK, imported when it is asked for. ConfigError when it is not installed."""

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # "please migrate": this SDK was asked for by name
                self.protos = importlib.import_module("google.generativeai.protos")
                self.service = importlib.import_module("google.ai.generativelanguage").GenerativeServiceClient
                self.api_errors = importlib.import_module("google.api_core.exceptions")
                self.auth_errors = auth_errors = importlib.import_module("google.auth.exceptions")
                self.http_errors = importlib.import_module("requests.exceptions")
                api_key = importlib.import_module("google.auth.api_key")
        except ImportError:
            raise ConfigError(
                "google-generativeai is not installed",
                where="oracle gemini, option sdk",
                fix="pip install 'filterkit-gemini[generativeai]', or use sdk genai",
            ) from None

        class Key(api_key.Credentials):  # type: ignore[name-defined, misc]
            """A key that is not "refreshed" after a 401, which would send the same request twice more."""

            def refresh(self, request: object) -> None:
                raise auth_errors.RefreshError("the key was refused")

        self.credentials: Any = Key


def older_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema in the older dialect, which knows neither additionalProperties nor bounds of numbers."""
    out: dict[str, Any] = {"type": schema["type"].upper()}
    for key in ("description", "enum", "required"):
        if key in schema:
            out[key] = schema[key]
    if "properties" in schema:
        out["properties"] = {name: older_schema(value) for name, value in schema["properties"].items()}
    if "items" in schema:
        out["items"] = older_schema(schema["items"])
    return out
