"""Asks Gemini through google-genai, in the way that costs it the least work.

Three ways of the SDK would cost money or time here, and are switched off: it repeats a request after a lost
connection unless `retry_options` are given, continues a reply by further requests, and copies, checks and converts the
same configuration anew for every request. The last is gone around by its own `extra_body`, which takes the unchanging
part of the body as it is, by `should_return_http_response`, which leaves the reading of the reply to us, and by a
config that is neither copied nor searched: 0.6 ms of CPU time a request instead of 0.8.

What it would take from the environment (address, version, Vertex, replays) is said to it: the key goes there.
"""

from __future__ import annotations

import json
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import aiohttp
from google import genai
from google.genai import types
from google.genai.client import DebugConfig

from filterkit.api import ConfigError, Fatal, OracleRequest, Transient
from filterkit_gemini.faults import Faults
from filterkit_gemini.options import GeminiOptions
from filterkit_gemini.wire import fixed_body

API_VERSION = "v1beta"  # the one that knows all of what is sent; the SDK's own default changes with its versions
KEEP_ALIVE_S = 60.0
CHUNK_BYTES = 1 << 20
_TIERS = ("standard", "flex", "priority")


class _Unsearched:
    """Makes a config cost the SDK less work for every request, to the same effect."""

    def __contains__(self, name: object) -> bool:
        """False, as a search through all fields would find as well, which are pairs: the SDK goes on to ask for the
        attribute. It does so for some thirty names a request."""
        return False

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself: no one changes it, and all that is in it need not be copied."""
        return self


# Not by a class statement: mypy's plugin for pydantic stumbles over a name in the SDK's types.
_Config: Any = type("_Config", (_Unsearched, types.GenerateContentConfig), {})


class GenaiClient:
    """One session and one SDK client, on the loop that runs when it is made."""

    def __init__(
        self,
        options: GeminiOptions,
        secret: str,
        faults: Faults,
        session: aiohttp.ClientSession,
        client: genai.Client,
    ) -> None:
        self._options, self._faults, self._session, self.sdk = options, faults, session, client
        self._key = {"x-goog-api-key": secret}
        self._fixed: tuple[Any, ...] = ()
        self._config: Any = None
        self._told_tier = False

    @classmethod
    async def open(cls, options: GeminiOptions, secret: str, faults: Faults) -> GenaiClient:
        """ConfigError when the SDK cannot be set up with this environment, such as with a proxy it does not know."""
        session = aiohttp.ClientSession(
            # The engine owns how many are in flight; the session must not hold them back.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None),  # `complete` owns the timeout
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=bool(urllib.request.getproxies()),  # it costs time for every request
            raise_for_status=_raise_unless_ok,  # the SDK's own loses the status where the body is no JSON
        )
        try:
            client = genai.Client(
                vertexai=False,
                api_key=secret,
                debug_config=DebugConfig(client_mode="api", replays_directory=None, replay_id=None),
                http_options=types.HttpOptions(
                    base_url=options.url,
                    api_version=API_VERSION,
                    aiohttp_client=session,
                    async_client_args={"allow_redirects": False},  # aiohttp would send the key along
                    retry_options=types.HttpRetryOptions(attempts=1),
                ),
            )
        except Exception as error:  # an ImportError, a ValueError, an OSError of a certificate
            await session.close()
            raise ConfigError(
                f"google-genai cannot be set up: {faults.said(str(error)) or type(error).__name__}",
                where="oracle gemini",
                fix="Look at the environment variables for proxies and certificates (ALL_PROXY, HTTPS_PROXY, SSL_…)",
            ) from None
        except BaseException:
            await session.close()
            raise
        return cls(options, secret, faults, session, client)

    async def ask(self, request: OracleRequest) -> Any:
        """The JSON of the reply. Raises BackendError."""
        with self.explained():
            response = await self.sdk.aio.models.generate_content(
                model=request.model,
                contents=request.user,
                config=self._config_of(request),
            )
        answer = response.sdk_http_response
        if answer is None:
            raise Transient("google-genai handed on no reply")
        self._compare_tier(answer.headers or {})
        return _read(answer.body or "")

    async def get(self, path: str, **query: str | int) -> Any:
        """The JSON that Google answers at an address below the version. Raises BackendError.

        For what the SDK reads and does not hand on, such as how many requests of a batch are done, and why one failed.
        """
        with self.explained():
            async with self._session.get(
                f"{self._options.url}/{API_VERSION}/{path}",
                params=query,
                headers=self._key,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._options.timeout_s),
            ) as response:
                return _read(await response.text())

    async def download(self, name: str, write: Callable[[bytes], None]) -> None:
        """Hand a file that Google made to `write`, part by part. Raises BackendError.

        Not by the SDK's own download: its address redirects to this one, and redirects are not followed here.
        """
        with self.explained():
            async with self._session.get(
                f"{self._options.url}/download/{API_VERSION}/{name}:download",
                params={"alt": "media"},
                headers=self._key,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_read=self._options.timeout_s),
            ) as response:
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    write(chunk)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what goes wrong in a request into BackendError."""
        try:
            yield
        except _NotOkError as error:
            raise self._faults.of_status(error.status, error.body, error.headers) from None
        except aiohttp.ClientConnectorError as error:
            raise self._faults.of_connection(error, never_sent=True) from None
        except aiohttp.InvalidURL:
            raise Fatal("the request cannot be sent: its address is none", fix="Look at base_url") from None
        except TimeoutError:
            raise Transient("no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._faults.of_connection(error) from None
        except UnicodeDecodeError:
            raise Transient("the provider sent something that is not even text") from None
        except ValueError as error:  # before anything was sent: every other article would fare the same
            raise Fatal(f"the request cannot be sent: {self._faults.said(str(error))}") from None

    def _config_of(self, request: OracleRequest) -> Any:
        """All but the user's turn, made anew only where it differs from the request before."""
        fixed = (
            request.model,
            request.system,
            request.json_schema,
            request.temperature,
            request.seed,
            request.max_output_tokens,
        )
        if fixed != self._fixed:
            self._config = _Config(
                automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
                automatic_continuation=False,
                should_return_http_response=True,
                http_options=types.HttpOptions(extra_body=fixed_body(self._options, request)),
            )
            self._fixed = fixed
        return self._config

    def _compare_tier(self, headers: dict[str, str]) -> None:
        """Say once when Google served, and will bill, another tier than the one asked for."""
        if self._told_tier:
            return
        served = next((v.lower() for name, v in headers.items() if name.lower() == "x-gemini-service-tier"), None)
        if served in _TIERS and served != self._options.service_tier:
            self._told_tier = True
            warnings.warn(
                f"Google served the tier {served}, not {self._options.service_tier}: what it bills differs from the "
                "estimate and from the ledger",
                stacklevel=2,
            )

    async def aclose(self) -> None:
        """Close all connections."""
        try:
            await self.sdk.aio.aclose()
            self.sdk.close()
        finally:
            await self._session.close()


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Transient("the provider sent something that is no JSON") from None


class _NotOkError(Exception):
    """An answer with another status than 200."""

    def __init__(self, status: int, body: Any, headers: dict[str, str]) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers


async def _raise_unless_ok(response: aiohttp.ClientResponse) -> None:
    if response.status == 200:
        return
    text = (await response.read()).decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = text
    raise _NotOkError(response.status, body, dict(response.headers))
