"""What a server takes: how the answer's form is asked for, and which fields of a request it knows."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from filterkit.api import OracleRequest
from filterkit_openai.complaint import TOO_LONG
from filterkit_openai.options import OpenAIOptions, ServerOptions

_UNSUPPORTED = re.compile(
    r"unsupported|not support|unavailable|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|deprecated"
    r"|extra inputs|extra fields|extra_forbidden|invalid (parameter|value|schema|type)|only the default|must be"
    r"|should be|not implemented|failed to (parse|convert|compile)",
)
_FORMAT = re.compile(r"response.?format|json_schema|json_object|json schema|structured output|guided|grammar")


@dataclass(frozen=True)
class Dialect:
    """How one server is asked. `fixed` names what the user declared, which is kept whatever the server says."""

    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    strict: bool = True
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    seed: bool = True
    cache_breakpoint: bool = False
    fixed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, options: OpenAIOptions, server: ServerOptions) -> Dialect:
        """Where to begin with a server."""
        fixed = set()
        structured, max_tokens = server.structured or "auto", options.max_tokens_field
        if structured != "auto":
            fixed.add("structured")
        if max_tokens != "auto":
            fixed.add("max_tokens")
        return cls(
            structured="json_schema" if structured == "auto" else structured,
            strict=options.strict,
            max_tokens=("max_completion_tokens" if server.is_openai else "max_tokens")
            if max_tokens == "auto"
            else max_tokens,
            temperature=options.temperature == "send",
            cache_breakpoint=options.cache_breakpoint and server.is_openai,
            fixed=frozenset(fixed),
        )

    def as_text(self) -> str:
        """It as JSON, 200 characters at most."""
        return json.dumps(asdict(self) | {"fixed": sorted(self.fixed)})

    @classmethod
    def from_text(cls, text: Any) -> Dialect | None:
        """What `as_text` wrote; None for anything else."""
        try:
            values = json.loads(text)
            return cls(**values | {"fixed": frozenset(values["fixed"])})
        except (ValueError, TypeError, KeyError):
            return None

    def after(self, complaint: str) -> tuple[Dialect, str] | None:
        """The dialect to go on with after a 400 in these words, and what to tell the user ("": nothing).

        None when the complaint is about something else. Every step gives something up for good, so that there are
        only a few.
        """
        said = complaint.lower()
        if TOO_LONG.search(said) or not _UNSUPPORTED.search(said):  # it may well name the fields that it counted
            return None
        if self.cache_breakpoint and "prompt_cache" in said:
            return replace(self, cache_breakpoint=False), ""  # a model whose cache is free of charge
        if self.structured != "none" and _FORMAT.search(said):
            return self._plainer(said)
        if self.max_tokens in said and "max_tokens" not in self.fixed:
            other: Any = "max_completion_tokens" if self.max_tokens == "max_tokens" else "max_tokens"
            return replace(self, max_tokens=other, fixed=self.fixed | {"max_tokens"}), ""
        if self.temperature and "temperature" in said:
            return replace(self, temperature=False), "takes no temperature: it is left to the model from now on"
        if self.seed and "seed" in said:
            return replace(self, seed=False), "takes no seed: none is sent from now on"
        return None

    def _plainer(self, said: str) -> tuple[Dialect, str] | None:
        if self.structured == "json_schema" and self.strict and "invalid schema" in said:
            return replace(self, strict=False), "does not follow this schema to the letter: strict is off from now on"
        if "structured" in self.fixed:
            return None
        if self.structured == "json_schema":
            less = replace(self, structured="json_object")
            return less, "takes no json_schema: asked for a json_object, with the schema in the prompt, from now on"
        return replace(self, structured="none"), "takes no response_format: the prompt alone asks for JSON from now on"

    def body(self, request: OracleRequest, options: OpenAIOptions) -> dict[str, Any]:
        """All of a request but its user's turn, which `messages` adds."""
        body: dict[str, Any] = {"model": request.model, self.max_tokens: request.max_output_tokens}
        if self.temperature:
            body["temperature"] = request.temperature
        if self.seed and request.seed is not None:
            body["seed"] = request.seed
        if self.structured == "json_schema":
            schema = {"name": "scores", "strict": self.strict, "schema": request.json_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        if options.reasoning_effort is not None:
            body["reasoning_effort"] = options.reasoning_effort
        if options.service_tier is not None:
            body["service_tier"] = options.service_tier
        if self.cache_breakpoint:
            body["prompt_cache_options"] = {"mode": "explicit"}
        return body | options.extra_body

    def system(self, request: OracleRequest) -> str:
        """The system text: the same for a whole run, so that prefix caches stay warm."""
        if self.structured == "json_schema":
            return request.system
        schema = json.dumps(request.json_schema, ensure_ascii=False)
        return f"{request.system}\nThe JSON schema of the answer:\n{schema}"

    def user(self, request: OracleRequest) -> str | list[dict[str, Any]]:
        """The user's turn: rubric, article, correction; what is the same for all articles comes first."""
        if not self.cache_breakpoint:
            return request.user
        # From GPT-5.6 on a cached prefix ends exactly at a breakpoint, and writing one is charged: left alone, OpenAI
        # would set it after the article, where no other request can use it.
        rubric = {"type": "text", "text": request.rubric, "prompt_cache_breakpoint": {"mode": "explicit"}}
        return [rubric, {"type": "text", "text": request.article + request.correction}]
