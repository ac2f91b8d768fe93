"""Model `huggingface-endpoint`: a student that runs elsewhere, behind an address."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from filterkit.api import ConfigError, FilterkitError, FilterSpec, Model, Options, Prediction, Scorer, StoppedEarly
from filterkit_hf.dialects import Dialect, Labels, Scores, find_dialect
from filterkit_hf.endpoints import Endpoints
from filterkit_hf.hub import Access
from filterkit_hf.options import ENDPOINTS_API, Address, hub_address, token_if_set, token_of
from filterkit_hf.server import (
    Patience,
    Refusal,
    Server,
    checked_address,
    is_hugging_face,
    is_loopback,
    is_private,
    origin,
)

SERVE_TOKEN = "FILTERKIT_SERVE_TOKEN"  # noqa: S105 - the variable's name
"""What `filterkit serve` reads its token from."""
_MOST_CHARS = 4_000_000
"""Characters of one request; proxies before endpoints take bodies of some megabytes."""
_PROBE = "One plain sentence."
_PRICE_S = 10.0
"""Seconds that the price is worth waiting for."""


class EndpointOptions(Options):
    """How a server is asked, and how long it is waited for."""

    dialect: Literal["auto", "labels", "tei", "vllm"] = Field(
        "auto",
        description="what the server speaks: labels (Inference Endpoints, filterkit serve, text-classification), tei "
        "(text-embeddings-inference), vllm; auto asks it",
    )
    served_model: str | None = Field(None, description="vllm: the model's name there, where the server has several")
    batch_size: int = Field(32, ge=1, le=1024, description="texts a request")
    concurrency: int = Field(4, ge=1, le=64, description="requests on their way at once")
    timeout_s: float = Field(60.0, gt=0, le=3600, description="seconds that one answer may take")
    retries: int = Field(5, ge=0, le=100, description="how often a request is sent again (429, 502, 504, no answer)")
    cold_start_s: float = Field(
        600.0,
        ge=0,
        le=86_400,
        description="seconds that a server is waited for that says 503, as one that scales up from zero does; also the "
        "longest pause it may ask for",
    )
    authenticate: Literal["auto"] | bool = Field(
        "auto",
        description="send a token: auto only to Hugging Face (but for Spaces) and to this machine, if there is one; "
        "true to any server, but never over plain http to another machine",
    )
    token_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description=f"the environment variable that holds the token; if not given, HF_TOKEN for Hugging Face and "
        f"{SERVE_TOKEN} for other servers",
    )
    endpoints_api: Address = Field(
        ENDPOINTS_API, description="address of the Inference Endpoints API, which is asked for the price by the hour"
    )


class EndpointScorer(Scorer):
    """Uncalibrated scores from one server. Nothing is sent before the first text is scored."""

    def __init__(self, server: Server, spec: FilterSpec, options: EndpointOptions) -> None:
        self.server = server
        self._spec = spec
        self._options = options
        self._found: Dialect | None = None
        self._most = options.batch_size
        self._has_answered = False
        self._pool: ThreadPoolExecutor | None = None
        self._making = threading.Lock()
        self.max_batch = options.batch_size * options.concurrency

    def predict(self, encoded: Sequence[str]) -> Prediction:
        """Scores as the server gives them; a text that it refuses is a failed row.

        Raises ConfigError (address, token), StoppedEarly (it does not answer), ArtifactError (it has another student),
        BackendError (its answers make no sense).
        """
        texts = [_sendable(text) for text in encoded]
        rows: list[Scores | str] = [row for part in self._each(texts) for row in part] if texts else []
        scores = np.full((len(texts), len(self._spec.names)), np.nan, dtype=np.float32)
        errors: dict[int, str] = {}
        for at, row in enumerate(rows):
            if isinstance(row, list):
                scores[at] = row
            else:
                errors[at] = row or f"{self.server.address} has no scores for it"
        return Prediction(scores, errors=errors)

    def verdicts(self, articles: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
        """What the server itself makes of whole articles; None where it gives scores only."""
        dialect = self._dialect()
        found: list[dict[str, Any]] = []
        if not isinstance(dialect, Labels):
            return None
        for start in range(0, len(articles), self._most):
            part = [dict(article) for article in articles[start : start + self._most]]
            try:
                answer = self.server.post(dialect.path, {"inputs": part})
            except Refusal:  # a plain server takes no articles
                return None
            if not _are_verdicts(answer, len(part)):
                return None
            found += answer
        return found

    def close(self) -> None:
        self.server.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _each(self, texts: Sequence[str]) -> Iterator[list[Scores | str]]:
        """The answers of each request, in order; several are on their way at once."""
        self.server.go_on()
        groups = list(_groups(texts, min(self._most, self._dialect().most)))
        if len(groups) == 1:
            yield self._ask(groups[0])
            return
        self._pool = self._pool or ThreadPoolExecutor(self._options.concurrency, "endpoint")
        futures = [self._pool.submit(self._ask, group) for group in groups]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            self.server.hurry()
            raise
        finally:
            for future in futures:
                future.cancel()

    def _ask(self, texts: Sequence[str]) -> list[Scores | str]:
        """Scores, or why there are none, of each text. A request that is refused is halved, down to the text that is
        to blame."""
        dialect = self._dialect()
        try:
            rows = dialect.read(self.server.post(dialect.path, dialect.payload(texts)), len(texts))
        except Refusal as refusal:
            if len(texts) == 1:
                self._blame_server(refusal, dialect)
                return [f"{self.server.address} refuses it ({refusal})"]
            half = len(texts) // 2
            if refusal.status == 413:
                self._most = max(1, min(self._most, half))
            return self._ask(texts[:half]) + self._ask(texts[half:])
        self._has_answered = True
        return list(rows)

    def _blame_server(self, refusal: Refusal, dialect: Dialect) -> None:
        """ConfigError when the server has never answered, and refuses the plainest text too."""
        if self._has_answered:
            return
        try:
            self.server.post(dialect.path, dialect.payload([_PROBE]))
        except Refusal as plain:
            if plain.status >= 500:
                raise StoppedEarly(f"fails at every request ({plain})", where=self.server.address) from None
            paused = "paused" in str(refusal)  # in the words of Inference Endpoints, which answer 400 then
            fix = "filterkit endpoint resume NAME" if paused else "See the option `dialect`"
            raise ConfigError(f"refuses every request ({refusal})", where=self.server.address, fix=fix) from None

    def _dialect(self) -> Dialect:
        with self._making:
            if self._found is None:
                options = self._options
                self._found = find_dialect(options.dialect, self.server, self._spec, options.served_model)
            return self._found


class EndpointModel(Model[EndpointOptions]):
    """Asks a server: an Inference Endpoint, `filterkit serve`, or one for plain text classification."""

    Options: ClassVar[type[Options]] = EndpointOptions
    remote: ClassVar[bool] = True

    def load(
        self,
        ref: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        shared: MutableMapping[str, Any] | None = None,
    ) -> EndpointScorer:
        """A scorer for the server at the address `ref`. ConfigError: it is none, or a token must not go there."""
        address = checked_address(ref)
        options = self.options
        patience = Patience(options.timeout_s, options.retries, options.cold_start_s)
        return EndpointScorer(Server(address, self._token(address), patience), self.spec, options)

    def student_hash(self, ref: str) -> str | None:
        """Whose verdicts a shipped student's endpoint, or `filterkit serve`, says that it gives; others do not say."""
        scorer = self.load(ref)
        try:
            found = scorer.verdicts([{"title": "", "content": _PROBE}])
        finally:
            scorer.close()
        said = found[0].get("student_hash") if found else None
        return said if isinstance(said, str) else None

    def usd_per_hour(self, ref: str) -> float | None:
        """The price of one copy of the Inference Endpoint at that address, by today's list; None where HF_TOKEN sees no
        such endpoint, or there is no token."""
        address = checked_address(ref)
        if not (is_hugging_face(address) or is_loopback(self.options.endpoints_api)):
            return None
        access = Access(self.ctx, patience_s=_PRICE_S, timeout_s=_PRICE_S)
        try:
            me = access.call("the Hub", access.api.whoami)
            for namespace in [me["name"], *(one["name"] for one in me.get("orgs", []))]:
                endpoints = Endpoints(access, namespace, self.options.endpoints_api)
                found = endpoints.at(address)
                if found is not None:
                    return endpoints.price_per_hour(found)
        except FilterkitError:
            return None
        return None

    def _token(self, address: str) -> str | None:
        wanted = self.options.authenticate
        own = is_hugging_face(address) or origin(address) == origin(hub_address())
        variable = self.options.token_env or ("HF_TOKEN" if own else SERVE_TOKEN)
        if wanted is False:
            return None
        if wanted is True:
            if not is_private(address):
                raise ConfigError(
                    "a token would go there over plain http, for everybody on the way to read",
                    where=address,
                    fix="Use https, or -O remote.authenticate=false",
                )
            return token_of(self.ctx, variable)
        if not (is_loopback(address) or (is_private(address) and is_hugging_face(address))):
            return None
        return token_if_set(self.ctx, variable)


def _groups(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Texts in groups of at most `most`, and not too many characters."""
    group: list[str] = []
    size = 0
    for text in texts:
        if group and (len(group) == most or size + len(text) > _MOST_CHARS):
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    if group:
        yield group


def _sendable(text: str) -> str:
    """The text as UTF-8 can carry it: a lone surrogate becomes U+FFFD, as everywhere else."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _are_verdicts(answer: Any, n: int) -> bool:
    return (
        isinstance(answer, list)
        and len(answer) == n
        and all(isinstance(one, dict) and isinstance(one.get("scores"), dict) for one in answer)
    )
