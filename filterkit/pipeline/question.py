"""What is asked of an oracle, and under which name its answers are kept."""

from __future__ import annotations

from typing import Any

from filterkit.contracts import Oracle
from filterkit.filters import Filter
from filterkit.prompt import fence, reply_schema, system_text
from filterkit.records import OracleRequest
from filterkit.store import Question


def oracle_variant(oracle: Oracle[Any]) -> dict[str, Any]:
    """The oracle's own options that shape its answer, where they differ from their defaults."""
    kind = type(oracle.options)
    given = oracle.options.model_dump(mode="json", include=set(oracle.answer_options))
    usual = kind.model_construct().model_dump(mode="json", include=set(oracle.answer_options), warnings=False)
    return {name: value for name, value in given.items() if name not in usual or usual[name] != value}


def question_of(filter: Filter, oracle: Oracle[Any], oracle_name: str) -> Question:
    """The question that labelling `filter` with this oracle asks, as the store knows it."""
    name = f"{filter.name} {filter.spec.version}"
    return Question(filter.request_hash(oracle_variant(oracle)), oracle_name, oracle.model, name)


class Requests:
    """Makes the requests of one run, which differ in nothing but the article, the correction and their key."""

    def __init__(self, filter: Filter, oracle: Oracle[Any]) -> None:
        self.timeout_s = float(getattr(oracle.options, "timeout_s", 60.0))
        self._fixed: dict[str, Any] = {
            "system": system_text(filter.spec),
            "rubric": filter.rubric,
            "json_schema": reply_schema(filter.spec),
            "model": oracle.model,
            "timeout_s": self.timeout_s,
            **filter.spec.generation.model_dump(),
        }

    def make(self, key: str, text: str, correction: str = "") -> OracleRequest:
        """The request about `text`, as `sent_text` gave it."""
        return OracleRequest(key=key, article=fence(text), correction=correction, **self._fixed)
