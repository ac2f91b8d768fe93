"""The server's own description, OpenAPI 3.1."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

Schema = dict[str, Any]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _object(properties: dict[str, Schema], required: str = "", **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": required.split(), **more}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_TEXT, _NUMBER, _YES_NO = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
_PAIR = {**_list(_NUMBER), "minItems": 2, "maxItems": 2}
_BY_DIMENSION = {"type": "object", "additionalProperties": _NUMBER}

_VERDICT = {
    "scores": {**_BY_DIMENSION, "description": "dimension -> calibrated score, in units of the filter's scale"},
    "intervals": {"type": "object", "additionalProperties": _PAIR, "description": "dimension -> [low, high]"},
    "raw": {**_BY_DIMENSION, "description": "dimension -> score before calibration"},
    "overall": {**_or_null(_NUMBER), "description": "weighted mean after caps; null without scores"},
    "overall_interval": _or_null(_PAIR),
    "tier": _or_null(_TEXT),
    "sure": {**_or_null(_YES_NO), "description": "whether all of overall_interval lies in this tier"},
    "passed": _YES_NO,
    "reasons": {**_list(_TEXT), "description": "rules that applied"},
    "blocked": {**_YES_NO, "description": "a prefilter held the article back; reasons names its rule"},
    "student_hash": {**_TEXT, "description": "of the student that judged"},
    "error": {**_TEXT, "description": "why there are no scores"},
}

SCHEMAS: dict[str, Schema] = {
    "Article": _object(
        dict.fromkeys(("id", "title", "content", "url", "source", "published_date", "language"), _TEXT),
        "content",
        additionalProperties=True,
    ),
    "Articles": _object({"articles": _list(_ref("Article")), "filter": _TEXT}, "articles", additionalProperties=False),
    "Verdict": _object({"id": _TEXT, **_VERDICT}, "scores overall tier passed reasons"),
    "Scored": _object(
        {"filter": _TEXT, "version": _TEXT, "student_hash": _TEXT, "verdicts": _list(_ref("Verdict"))},
        "filter version student_hash verdicts",
    ),
    "Input": {"anyOf": [{**_TEXT, "description": "the text, as the student reads it"}, _ref("Article")]},
    "Inputs": _object(
        {
            "inputs": {"anyOf": [_ref("Input"), _list(_ref("Input"))]},
            "parameters": _object(
                {
                    "top_k": _or_null({"type": "integer", "minimum": 1}),
                    "function_to_apply": _TEXT,
                    "truncation": _YES_NO,
                },
                description="top_k or function_to_apply ask for labels: uncalibrated scores, best first",
            ),
        },
        "inputs",
    ),
    "Labels": _list(_list(_object({"label": _TEXT, "score": _NUMBER}, "label score"))),
    "Filter": _object(
        {
            **dict.fromkeys(("filter", "version", "student_hash", "description"), _TEXT),
            "scale": _object({"min": _NUMBER, "max": _NUMBER}, "min max"),
            "dimensions": _list(
                _object(
                    {"name": _TEXT, "role": {"enum": ["score", "flag"]}, "weight": _NUMBER, "description": _TEXT},
                    "name role weight",
                )
            ),
            "tiers": _list(_TEXT),
            "rules": _list(_TEXT),
        },
        "filter version student_hash scale dimensions tiers rules",
    ),
    "Error": _object(
        {"error": _object({"code": _TEXT, "message": _TEXT, "request_id": _TEXT}, "code message request_id")}, "error"
    ),
    "Status": _object({"status": _TEXT}, "status"),
}

_REFUSALS = {
    "400": "not what is asked for: no HTTP/1.1, no JSON, NaN, no article, no filter named where there are several",
    "401": "a token is needed",
    "404": "no such filter, or nothing at this address",
    "408": "the body took too long",
    "413": "body too large, or too many articles",
    "415": "a compressed body",
    "429": "no room: come again after Retry-After seconds",
    "500": "the student failed; no other request suffers from it",
    "503": "still loading, or too many connections",
}
_FILTER = {
    "in": "query",
    "name": "filter",
    "schema": _TEXT,
    "description": "NAME or NAME@VERSION, where there are several",
}
_NAME = {"in": "path", "name": "name", "required": True, "schema": _TEXT}
_GUARDED: list[dict[str, list[str]]] = [{}, {"token": []}]


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _post(what: str, asked: Schema, answered: Schema, parameter: Schema) -> Schema:
    refused = {code: {"description": why, "content": _json(_ref("Error"))} for code, why in _REFUSALS.items()}
    return {
        "post": {
            "summary": what,
            "security": _GUARDED,
            "parameters": [parameter],
            "requestBody": {"required": True, "content": _json(asked)},
            "responses": {"200": {"description": "a verdict for each article, in order", "content": _json(answered)}}
            | refused,
        }
    }


def _get(what: str, answered: Schema) -> Schema:
    return {"get": {"summary": what, "responses": {"200": {"description": what, "content": answered}}}}


def _guarded(what: str, answered: Schema) -> Schema:
    described = _get(what, answered)
    described["get"]["security"] = _GUARDED
    described["get"]["responses"]["401"] = {"description": _REFUSALS["401"], "content": _json(_ref("Error"))}
    return described


def description() -> dict[str, Any]:
    """The document that GET /openapi.json gives."""
    page, text = {"text/html": {"schema": _TEXT}}, {"text/plain": {"schema": _TEXT}}
    answers = {"anyOf": [_ref("Verdict"), _list(_ref("Verdict")), _ref("Labels")]}
    asked = {"anyOf": [_ref("Article"), _ref("Articles")]}
    ready = _get("Whether requests should be sent here", _json(_ref("Status")))
    ready["get"]["responses"]["503"] = {"description": "loading, or about to end", "content": _json(_ref("Status"))}
    inference = "As Hugging Face's inference servers: texts or articles in, verdicts or labels out"
    return {
        "openapi": "3.1.0",
        "info": {"title": "filterkit serve", "version": version("filterkit-serve")},
        "paths": {
            "/": _get("A page to try an article by hand", page) | _post(inference, _ref("Inputs"), answers, _FILTER),
            "/filters/{name}": _post(inference, _ref("Inputs"), answers, _NAME),
            "/v1/score": _post("Judge one article or several", asked, _ref("Scored"), _FILTER),
            "/v1/filters": _guarded("What is served", _json(_object({"filters": _list(_ref("Filter"))}, "filters"))),
            "/health": _get("Whether the process answers", _json(_ref("Status"))),
            "/ready": ready,
            "/metrics": _guarded("Prometheus' text format", text),
            "/openapi.json": _get("This document", _json({"type": "object"})),
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
