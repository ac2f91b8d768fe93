"""Asks Gemini through google-genai, in the way that costs it the least work.

Three ways of the SDK would cost money or time here, and are switched off: it repeats a request after a lost
connection unless `retry_options` are given, continues a reply by further requests, and copies, checks and converts the
same configuration anew for every request. The last is gone around by its own `extra_body`, which takes the unchanging
part of the body as it is, and by `should_return_http_response`, which leaves the reading of the reply to us.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import aiohttp
from google import genai
from google.genai import errors, types

from filterkit.api import OracleRequest, Transient
from filterkit_gemini.faults import Faults
from filterkit_gemini.options import GeminiOptions
from filterkit_gemini.wire import fixed_body

KEEP_ALIVE_S = 60.0


class GenaiClient:
    """One session and one SDK client, on the loop that runs when it is made."""

    def __init__(self, options: GeminiOptions, secret: str, faults: Faults) -> None:
        self._options, self._faults = options, faults
        self._session = aiohttp.ClientSession(
            # The engine owns how many are in flight; the session must not hold them back.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None),  # `complete` owns the timeout
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=bool(urllib.request.getproxies()),  # it costs time for every request
        )
        self._client = genai.Client(
            vertexai=False,
            api_key=secret,
            http_options=types.HttpOptions(
                base_url=options.base_url,
                aiohttp_client=self._session,
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )
        self._fixed: tuple[Any, ...] = ()
        self._config: dict[str, Any] = {}

    async def ask(self, request: OracleRequest) -> Any:
        """The JSON of the reply. Raises BackendError."""
        try:
            response = await self._client.aio.models.generate_content(
                model=request.model,
                contents=request.user,
                config=self._config_of(request),  # type: ignore[arg-type]  # its values may be models
            )
            return json.loads((response.sdk_http_response and response.sdk_http_response.body) or "")
        except errors.APIError as error:
            headers = getattr(error.response, "headers", None) or {}
            raise self._faults.of_status(error.code, error.details, headers) from None
        except aiohttp.ClientConnectorError as error:
            raise self._faults.of_connection(error, never_sent=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._faults.of_connection(error) from None
        except ValueError:  # no JSON, or not even text
            raise Transient("the provider sent something that is no JSON") from None

    def _config_of(self, request: OracleRequest) -> dict[str, Any]:
        """All but the user's turn, made anew only where it differs from the request before.

        As a dict, because the SDK copies a config that is a model, with all that is in it.
        """
        fixed = (
            request.model,
            request.system,
            request.json_schema,
            request.temperature,
            request.seed,
            request.max_output_tokens,
        )
        if fixed != self._fixed:
            self._config = {
                "automatic_function_calling": types.AutomaticFunctionCallingConfig(disable=True),
                "automatic_continuation": False,
                "should_return_http_response": True,
                "http_options": types.HttpOptions(extra_body=fixed_body(self._options, request)),
            }
            self._fixed = fixed
        return self._config

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aio.aclose()
        self._client.close()
        await self._session.close()
