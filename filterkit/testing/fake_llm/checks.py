"""What the real providers refuse in a request's body, in their own words.

Each function raises Unreadable for the first thing that the provider would answer with 400.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from filterkit.testing.fake_llm.wire import Unreadable


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHAT = _names("""
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    messages metadata modalities model moderation n parallel_tool_calls prediction presence_penalty
    prompt_cache_key prompt_cache_options prompt_cache_retention reasoning_effort response_format
    safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools
    top_logprobs top_p user verbosity web_search_options
""")
_CHAT_VALUES = {
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "service_tier": ("auto", "default", "flex", "scale", "priority", "fast"),
}
_CHAT_INTEGERS = ("max_completion_tokens", "max_tokens", "n", "seed")
_CHAT_BOUNDS = {"temperature": (0, 2), "top_p": (0, 1), "frequency_penalty": (-2, 2), "presence_penalty": (-2, 2)}
_KINDS = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
}

_GEMINI = _names("""
    cachedContent contents generationConfig labels model safetySettings serviceTier store systemInstruction
    toolConfig tools
""")
_GENERATION = _names("""
    audioTranscriptionConfig candidateCount enableAffectiveDialog enableEnhancedCivicAnswers frequencyPenalty
    imageConfig logprobs maxOutputTokens mediaResolution presencePenalty responseJsonSchema responseLogprobs
    responseMimeType responseModalities responseSchema seed speechConfig stopSequences temperature
    thinkingConfig topK topP translationConfig
""")
_THINKING = frozenset({"includeThoughts", "thinkingBudget", "thinkingLevel"})
_GEMINI_INTEGERS = ("candidateCount", "logprobs", "maxOutputTokens", "seed", "topK")
_LEVELS = ("THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
_TIERS = ("UNSPECIFIED", "FLEX", "STANDARD", "PRIORITY")
_PROTO = "type.googleapis.com/google.ai.generativelanguage.v1beta."
_KNOWS_NO_LEVEL = re.compile(r"\bgemini-[12]\b")
_ALWAYS_THINKS = re.compile(r"\bgemini-(?:2\.5-pro|3(?:\.\d+)?-pro|3\.[78]-flash(?!-lite))")


def check_chat(body: Mapping[str, Any], *, own: bool) -> None:
    """A request to OpenAI. own=False: to a local server, which takes what it does not know, as vLLM and Ollama do.

    It then still refuses values of a wrong type.
    """
    for name in (*_CHAT_INTEGERS, *_CHAT_BOUNDS):
        _is_number(body, name, whole=name in _CHAT_INTEGERS)
    if not own:
        return
    if not body.get("model"):
        raise Unreadable("you must provide a model parameter")
    unknown = [name for name in body if name not in _CHAT]
    if unknown:
        raise Unreadable(
            f"Unrecognized request argument{'s' * (len(unknown) > 1)} supplied: {', '.join(sorted(unknown))}"
        )
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        both = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise Unreadable(both, "max_tokens", "invalid_parameter_combination")
    for name in ("max_completion_tokens", "max_tokens", "n"):
        _is_within(body, name, "integer", 1, None)
    for name, (low, high) in _CHAT_BOUNDS.items():
        _is_within(body, name, "decimal", low, high)
    for name, known in _CHAT_VALUES.items():
        if body.get(name) is not None and body[name] not in known:
            said = ", ".join(map(repr, known[:-1])) + f", and {known[-1]!r}"
            raise Unreadable(f"Invalid value: {body[name]!r}. Supported values are: {said}.", name, "invalid_value")
    _check_format(body.get("response_format"))


def _is_number(body: Mapping[str, Any], name: str, *, whole: bool) -> None:
    value = body.get(name)
    if value is None or (type(value) is int) or (type(value) is float and not whole):
        return
    expected, got = "an integer" if whole else "a decimal", _KINDS[type(value)]
    what = f"Invalid type for '{name}': expected {expected}, but got {got} instead."
    raise Unreadable(what, name, "invalid_type")


def _is_within(body: Mapping[str, Any], name: str, kind: str, low: float, high: float | None) -> None:
    value = body.get(name)
    if value is None:
        return
    if value < low:
        what = f"Invalid '{name}': {kind} below minimum value. Expected a value >= {low}, but got {value} instead."
        raise Unreadable(what, name, f"{kind}_below_min_value")
    if high is not None and value > high:
        what = f"Invalid '{name}': {kind} above maximum value. Expected a value <= {high}, but got {value} instead."
        raise Unreadable(what, name, f"{kind}_above_max_value")


def _check_format(asked: Mapping[str, Any] | None) -> None:
    if not asked or asked.get("type") != "json_schema":
        return
    form = asked.get("json_schema") or {}
    name = form.get("name")
    if not name:
        where = "response_format.json_schema.name"
        raise Unreadable(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
    if form.get("strict"):
        for problem in _strict_problems(form.get("schema") or {}, ()):
            raise Unreadable(f"Invalid schema for response_format '{name}': {problem}", "response_format")


def _strict_problems(schema: Any, context: tuple[str, ...]) -> Iterator[str]:
    """What `strict: true` finds missing in a schema: every object closed, every property required."""
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    properties = schema.get("properties") or {}
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or properties:
        if schema.get("additionalProperties") is not False:
            yield f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        missing = [name for name in properties if name not in (schema.get("required") or ())]
        if missing:
            yield (
                f"In context={context}, 'required' is required to be supplied and to be an array including every key "
                f"in properties. Missing '{missing[0]}'."
            )
    for group in ("properties", "$defs", "definitions"):
        for name, part in (schema.get(group) or {}).items():
            yield from _strict_problems(part, (*context, group, name))
    yield from _strict_problems(schema.get("items"), (*context, "items"))
    for number, part in enumerate(schema.get("anyOf") or ()):
        yield from _strict_problems(part, (*context, "anyOf", str(number)))


def check_gemini(model: str, body: Mapping[str, Any]) -> None:
    """A request to Gemini, with its names in camel case or with underscores."""
    top = _known(body, _GEMINI, "")
    config = _known(top.get("generationConfig") or {}, _GENERATION, "generation_config")
    thinking = _known(config.get("thinkingConfig") or {}, _THINKING, "generation_config.thinking_config")
    _is_one_of(top, "serviceTier", _TIERS, "", "GenerateContentRequest.ServiceTier")
    for name in _GEMINI_INTEGERS:
        _is_int32(config, name, "generation_config")
    temperature = config.get("temperature")
    if isinstance(temperature, str):
        raise _invalid("generation_config.temperature", "TYPE_FLOAT", temperature)
    if temperature is not None and not 0 <= temperature <= 2:
        raise Unreadable("* GenerateContentRequest.generation_config.temperature: must be in the range [0.0, 2.0].")
    where = "generation_config.thinking_config"
    _is_one_of(thinking, "thinkingLevel", _LEVELS, where, "GenerationConfig.ThinkingConfig.ThinkingLevel")
    _is_int32(thinking, "thinkingBudget", where)
    _check_thinking(model, thinking.get("thinkingLevel"), thinking.get("thinkingBudget"))


def _check_thinking(model: str, level: Any, budget: Any) -> None:
    """Levels and budgets by model. Models that are not Gemini's are a test's own, and take them all."""
    if level is not None and budget is not None:
        raise Unreadable("You can only set only one of thinking budget and thinking level.")
    if level is not None and _KNOWS_NO_LEVEL.search(model):
        raise Unreadable("Thinking level is not supported for this model.")
    if not _ALWAYS_THINKS.search(model):
        return
    level = str(level or "").upper()
    if level in ("MINIMAL", "XHIGH"):
        raise Unreadable(f"Thinking level {level} is not supported for this model.")
    if budget is not None and int(budget) == 0:
        raise Unreadable("Budget 0 is invalid. This model only works in thinking mode.")


def camel(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with its keys in camel case: the provider takes thinking_budget for thinkingBudget, and SDKs send it."""
    return {re.sub(r"_([a-z])", lambda m: m.group(1).upper(), key): value for key, value in values.items()}


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda m: f"_{m.group().lower()}", name)


def _known(values: Mapping[str, Any], known: frozenset[str], where: str) -> dict[str, Any]:
    """The values that are said, in camel case: null is as good as nothing."""
    for name in values:
        if not camel({name: None}).keys() <= known:
            place = f" at '{where}'" if where else ""
            what = f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.'
            raise Unreadable(what, where)
    return {name: value for name, value in camel(values).items() if value is not None}


def _is_one_of(values: Mapping[str, Any], name: str, known: tuple[str, ...], where: str, kind: str) -> None:
    value = values.get(name)
    numbered = type(value) is int and 0 <= value < len(known)  # as older SDKs send it
    if value is not None and not numbered and str(value).upper() not in known:
        raise _invalid(f"{where}.{_snake(name)}".lstrip("."), _PROTO + kind, value)


def _is_int32(values: Mapping[str, Any], name: str, where: str) -> None:
    value = values.get(name)
    text = str(value) if type(value) in (int, float, str) else ""
    if value is not None and not re.fullmatch(r"-?\d+(\.0+)?", text):
        raise _invalid(f"{where}.{_snake(name)}", "TYPE_INT32", value)


def _invalid(where: str, kind: str, value: Any) -> Unreadable:
    said = f'"{value}"' if isinstance(value, str) else str(value)
    return Unreadable(f"Invalid value at '{where}' ({kind}), {said}", where)
