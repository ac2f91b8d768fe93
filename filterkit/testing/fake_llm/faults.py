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
    record: bool = True

    def __post_init__(self) -> None:
        for name in (*self.faults, *(s for s in self.script if s != "ok"), *self.always.values()):
            _check(name)
        for name, share in self.faults.items():
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
        lists = ("script", "models", "structured")
        out: dict[str, Any] = {k: tuple(v) if k in lists and v is not None else v for k, v in values.items()}
        return cls(**out)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def _check(name: str) -> None:
    if name in FAULTS:
        return
    near = difflib.get_close_matches(name, FAULTS, 1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    raise FilterkitError(f"unknown fault {name!r}", where="fake_llm", fix=f"{meant}Known are {', '.join(FAULTS)}")


class Plan:
    """Says of each request what goes wrong with it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed)
        self._script = deque(settings.script)
        self._window: deque[float] = deque()
        self._today = 0

    def change(self, settings: Settings, names: Iterable[str]) -> None:
        """Go on under other settings; `names` are those that were said anew."""
        self._settings = settings
        if "script" in names:
            self._script = deque(settings.script)
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
