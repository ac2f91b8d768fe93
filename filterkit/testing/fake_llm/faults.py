"""What goes wrong, and when: by chance, by a script, always for some articles, or because a limit is reached."""

from __future__ import annotations

import difflib
import random
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from filterkit.errors import FilterkitError

FAULTS = {
    "rate_limit": "429, too many requests a minute, with the wait that is asked for",
    "quota_day": "429, the day's quota is used up (OpenAI: a limit of requests per day)",
    "no_credit": "429, the prepaid credit is used up (OpenAI: insufficient_quota; Anthropic: 400)",
    "server_error": "503 (Anthropic: 529)",
    "bad_gateway": "502 with an HTML page",
    "hang": "no answer until the client goes away",
    "drop": "the connection is closed midway through a 200",
    "reset": "the connection is closed before any answer",
    "malformed": "prose instead of JSON",
    "sloppy": "JSON with single quotes and a trailing comma",
    "fenced": "right JSON within ```json fences",
    "truncated": "cut off, and the finish reason says so",
    "cut_silently": "cut off within the last number, finish reason stop",
    "out_of_range": "one score off the scale",
    "missing": "one dimension missing",
    "wrong_type": "one score as text",
    "extra": "a key that nobody asked for",
    "duplicate": "a key twice, with two values",
    "nan": "one score is NaN",
    "empty": "no text at all",
    "blocked": "the prompt is blocked (OpenAI: finish reason content_filter, Anthropic: a refusal without text)",
    "refused": "the answer is blocked for safety (OpenAI: a refusal)",
    "wrong_model": "another model replies, and says so",
    "invalid_key": "the key is not valid (Gemini: 400 API_KEY_INVALID, others: 401)",
    "unauthorized": "401",
    "no_balance": "402",
    "forbidden": "403",
    "unknown_model": "404",
}
"""Every fault by name."""

INSTEAD_OF_ONE = frozenset(
    {
        "server_error",
        "bad_gateway",
        "invalid_key",
        "unauthorized",
        "no_balance",
        "no_credit",
        "forbidden",
        "unknown_model",
    }
)
"""Faults that come instead of an answer, as an error with a status, after the full latency."""

BATCH_FAULTS = {
    "upload_error": "upload: 503",
    "upload_limit": "upload: 429",
    "upload_cut": "upload: the connection is closed midway, and nothing is kept",
    "submit_error": "submit: 503, and there is no job",
    "submit_limit": "submit: 429, and there is no job",
    "submit_lost": "submit: the job is accepted, and the connection is closed before the answer",
    "poll_error": "poll: 503",
    "fails": "job: it fails as a whole, none of its requests is answered",
    "expires": "job: it expires with half of its requests answered",
    "stopped": "job: somebody else cancels it half way",
    "shuffled": "job: its results come in another order",
    "repeated": "job: every fifth result comes twice",
    "unanswered": "job: every seventh request is neither answered nor spoken of",
    "garbled": "job: one line of its results is no JSON",
    "results_error": "results: 503",
    "results_cut": "results: the connection is closed midway",
}
"""What goes wrong with a batch, each at the stage that its text begins with. Its requests meet FAULTS, as live ones."""


@dataclass(frozen=True)
class Settings:
    """How the fake behaves; the arguments of FakeLLM, where each is explained."""

    latency_s: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    script: tuple[str, ...] = ()
    always: Mapping[str, str] = field(default_factory=dict)
    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    window_s: float = 60.0
    retry_after_s: float | None = 1.0
    model_version: str | None = None
    models: tuple[str, ...] | None = None
    api_key: str | None = None
    openai_own: bool = True
    structured: tuple[str, ...] = ("json_schema", "json_object", "none")
    thinking_tokens: int = 0
    min_cached_tokens: int = 1024
    seed: int = 0
    bias: Mapping[str, float] = field(default_factory=dict)
    wobble: float = 0.0
    record: bool = True
    batch_lag_s: float = 0.1
    batch_faults: Mapping[str, float] = field(default_factory=dict)
    batch_script: tuple[str, ...] = ()
    batch_listed_after_s: float = 0.0
    batch_file_bytes: int = 256_000_000

    def __post_init__(self) -> None:
        for name in (*self.faults, *(s for s in self.script if s != "ok"), *self.always.values()):
            _check(name, FAULTS)
        for name in (*self.batch_faults, *(s for s in self.batch_script if s != "ok")):
            _check(name, BATCH_FAULTS)
        for name, share in (*self.faults.items(), *self.batch_faults.items()):
            if not 0 <= share <= 1:
                raise FilterkitError(
                    f"fault {name!r} has the probability {share!r}", where="fake_llm", fix="Say one from 0 to 1"
                )
        unknown = sorted(set(self.structured) - {"json_schema", "json_object", "none"})
        if unknown:
            raise FilterkitError(
                f"unknown kind of structured output {unknown[0]!r}",
                where="fake_llm",
                fix="Say any of json_schema, json_object, none",
            )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """From plain data. Raises FilterkitError on an unknown name."""
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise FilterkitError(
                    f"unknown setting {name!r}", where="fake_llm", fix=f"Known are {', '.join(sorted(known))}"
                )
        lists = ("script", "models", "structured", "batch_script")
        out: dict[str, Any] = {k: tuple(v) if k in lists and v is not None else v for k, v in values.items()}
        return cls(**out)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def _check(name: str, known: Mapping[str, str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, 1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    raise FilterkitError(f"unknown fault {name!r}", where="fake_llm", fix=f"{meant}Known are {', '.join(known)}")


class Plan:
    """Says of each request, and of each step of a batch, what goes wrong with it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._script = deque(settings.script)
        self._batch_script = deque(settings.batch_script)
        self._window: deque[float] = deque()
        self._today = 0

    def change(self, settings: Settings, names: Iterable[str]) -> None:
        """Go on under other settings; `names` are those that were said anew."""
        self._settings = settings
        if "script" in names:
            self._script = deque(settings.script)
        if "batch_script" in names:
            self._batch_script = deque(settings.batch_script)
        if "seed" in names:
            self._random = random.Random(settings.seed)

    def limit(self) -> tuple[str, float | None] | None:
        """The fault of a limit that this request meets, with the seconds to wait; None lets it pass, and counts it."""
        now, settings = time.monotonic(), self._settings
        if settings.requests_per_day is not None and self._today >= settings.requests_per_day:
            return "quota_day", settings.retry_after_s
        if settings.requests_per_minute is not None:
            while self._window and self._window[0] <= now - settings.window_s:
                self._window.popleft()
            if len(self._window) >= settings.requests_per_minute:
                return "rate_limit", self._window[0] + settings.window_s - now if self._window else settings.window_s
            self._window.append(now)
        self._today += 1
        return None

    def fault(self, article: str) -> str:
        """The fault that this request gets, "" for none."""
        for marker, name in self._settings.always.items():
            if marker in article:
                return name
        if self._script:
            name = self._script.popleft()
            return "" if name == "ok" else name
        if self._settings.faults:
            draw = self._random.random()
            for name, share in self._settings.faults.items():
                draw -= share
                if draw < 0:
                    return name
        return ""

    def batch_faults(self, stage: str) -> frozenset[str]:
        """The faults of this step of a batch: upload, submit, poll, job or results.

        The script's next entry counts when it is one of this stage; "ok" is one job's. Chances are drawn one by one.
        """
        found = {
            name
            for name, share in self._settings.batch_faults.items()
            if _stage(name) == stage and self._random.random() < share
        }
        if self._batch_script and _stage(self._batch_script[0]) == stage:
            found |= {self._batch_script.popleft()} - {"ok"}
        return frozenset(found)


def _stage(name: str) -> str:
    return "job" if name == "ok" else BATCH_FAULTS[name].partition(":")[0]
