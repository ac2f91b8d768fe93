"""The options of oracle `gemini`, and what `thinking` means for each model."""

from __future__ import annotations

import re
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from filterkit.api import OracleOptions

Thinking = Literal["auto", "off", "minimal", "low", "medium", "high"]
Safety = Literal["off", "none", "high", "medium", "low", "default"]

GOOGLE = "https://generativelanguage.googleapis.com"
"""Where requests go without `base_url`. Said to both SDKs, which would else ask the environment."""

FLEX_TIMEOUT_S = 900.0
"""How long a flex request may take where nothing else is said: it waits for spare capacity, for minutes at times."""

_NAME = re.compile(r"[A-Za-z0-9][\w.:-]*(/[A-Za-z0-9][\w.:-]*)*", re.ASCII)  # it becomes part of the address

_BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
_LEAST_BUDGET_OF_25_PRO = 128


class GeminiOptions(OracleOptions):
    """How to ask Gemini."""

    model: str = Field("gemini-3.5-flash-lite", min_length=1, description="the model asked for, as Google names it")
    timeout_s: float = Field(
        60.0, gt=0, description="seconds a request may take; 900 by default with service_tier flex, which waits longer"
    )
    base_url: str | None = Field(
        None, description="address of a proxy or a server that speaks the same protocol; left out: Google's own"
    )
    api_key_env: str = Field(
        "GEMINI_API_KEY",
        min_length=1,
        description="environment variable that holds the key; where GEMINI_API_KEY is not set, GOOGLE_API_KEY counts",
    )
    thinking: Thinking = Field(
        "auto",
        description="how much the model thinks before it answers, at the price of output tokens: off, minimal, low, "
        "medium, high; auto: not at all, or as little as the model can",
    )
    service_tier: Literal["standard", "flex"] = Field(
        "standard", description="flex: half the price, but slow at times and refused (503) when there is no room"
    )
    safety: Safety = Field(
        "off",
        description="from which probability of harm on the provider blocks an answer: off and none block nothing that "
        "can be switched off, so that news about violence is judged too; high, medium, low; default: the provider's",
    )
    sdk: Literal["genai", "generativeai"] = Field(
        "genai",
        description="genai: google-genai; generativeai: the older google-generativeai, for workspaces that pin it "
        "(slower: a thread per request; neither seed nor thinking nor flex)",
    )

    @field_validator("model")
    @classmethod
    def _a_name(cls, model: str) -> str:
        if model and not _NAME.fullmatch(model):
            raise ValueError("a model's name is made of letters, digits and . _ - : /, such as gemini-3.5-flash-lite")
        return model

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address starts with http:// or https://")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("name the key's environment variable in api_key_env, put none into the address")
        return url.rstrip("/")

    @property
    def url(self) -> str:
        """Where requests go: `base_url`, or Google's own address."""
        return self.base_url or GOOGLE

    @model_validator(mode="before")
    @classmethod
    def _flex_waits(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("service_tier") == "flex":
            return {"timeout_s": FLEX_TIMEOUT_S, **given}
        return given

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.sdk == "generativeai" and (self.thinking != "auto" or self.service_tier != "standard"):
            which = "thinking" if self.thinking != "auto" else "service_tier"
            raise ValueError(f"the older SDK cannot send {which}: leave it out, or use sdk genai")
        thinking_config(self.model, self.thinking)
        return self


def thinking_config(model: str, thinking: Thinking) -> dict[str, Any] | None:
    """`generationConfig.thinkingConfig` for a model; None to say nothing. ValueError when the model cannot do that.

    2.5 models take a budget of tokens, later ones a level, and both at once are refused. Every model from 3 on has
    the level LOW; the flash-lite models and the flash models up to 3.5 have MINIMAL as well.
    """
    name = model.rpartition("/")[2].lower()
    version = re.match(r"gemini-(\d+)(?:\.(\d+))?-?", name)
    if not name.startswith("gemini-") or (version and int(version[1]) < 2) or name.startswith("gemini-2.0"):
        if thinking in ("auto", "off"):  # it does not think, or is not known
            return None
        raise ValueError(f"thinking={thinking}: {model} is not known to think; leave thinking at auto")
    if name.startswith("gemini-2.5"):
        return {"thinkingBudget": _budget(name, thinking)}
    level = thinking
    if level == "off":
        raise ValueError(f"{model} cannot switch thinking off: thinking=auto asks for as little as it can")
    if level == "auto":
        level = "minimal" if _has_minimal(name) else "low"
    if level == "minimal" and not _has_minimal(name):
        raise ValueError(f"{model} does not have thinking=minimal, low is the least it can")
    return {"thinkingLevel": level.upper()}


def _budget(name: str, thinking: Thinking) -> int:
    always = name.startswith("gemini-2.5-pro")
    if thinking == "off" and always:
        raise ValueError("gemini-2.5-pro cannot switch thinking off: thinking=auto asks for as little as it can")
    if thinking in ("auto", "off"):
        return _LEAST_BUDGET_OF_25_PRO if always else 0
    return _BUDGETS[thinking]


def _has_minimal(name: str) -> bool:
    return "flash-lite" in name or re.match(r"gemini-3(\.[0-5])?-flash", name) is not None
