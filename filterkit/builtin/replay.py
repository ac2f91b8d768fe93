"""Oracle `replay`: answers from labels that were recorded before. No network, no money; the demo's oracle."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from filterkit.api import (
    Article,
    Context,
    FilterSpec,
    InputError,
    Label,
    Options,
    Oracle,
    OracleOptions,
    OracleRequest,
    Refused,
    Reply,
    Usage,
    fence,
    read_labelled,
    sent_text,
)


def _one_or_many(value: Any) -> Any:
    """A single path may be given without brackets."""
    return [value] if isinstance(value, str) else value


class ReplayOptions(OracleOptions):
    """Where the recordings lie."""

    labels: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(
        min_length=1, description="files or globs of labelled articles, from the workspace on: what it remembers"
    )
    model: str = Field("recorded", description="name under which the answers are stored")
    latency_s: float = Field(0.0, ge=0, le=60, description="seconds every answer takes, to rehearse a slow provider")


class ReplayOracle(Oracle[ReplayOptions]):
    """Knows an article by the exact text that would be sent of it; one it has not seen is Refused."""

    Options: ClassVar[type[Options]] = ReplayOptions
    reports_cost: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True

    def __init__(self, options: ReplayOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        self._known: dict[bytes, tuple[str, Label]] = {}

    async def open(self) -> None:
        """Read the recordings. InputError: a file is missing, or one text was recorded with two different scores."""
        self._known = await asyncio.to_thread(self._read)

    def _read(self) -> dict[bytes, tuple[str, Label]]:
        known: dict[bytes, tuple[str, Label]] = {}
        for article, label in read_labelled([self.ctx.root / name for name in self.options.labels], self.spec):
            key = _key(fence(sent_text(self.spec, article)))
            first_id, first = known.setdefault(key, (article.id, label))
            if dict(first.scores) != dict(label.scores):
                raise self._disagree(first_id, article)
        if not known:
            raise InputError("no line holds scores of this filter's dimensions", where=", ".join(self.options.labels))
        return known

    def _disagree(self, first_id: str, second: Article) -> InputError:
        return InputError(
            f"{first_id!r} and {second.id!r} are the same text with different scores",
            where=", ".join(self.options.labels),
            fix="Keep one of the two recordings",
        )

    async def complete(self, request: OracleRequest) -> Reply:
        await asyncio.sleep(self.options.latency_s)
        found = self._known.get(_key(request.article))
        if found is None:
            raise Refused("there is no recording of this article")
        article_id, label = found
        missing = [name for name in self.spec.names if name not in label.scores]
        if missing:
            raise Refused(f"the recording of {article_id!r} has no score for {', '.join(missing)}")
        return Reply(
            text=json.dumps({name: self._answer(name, label) for name in self.spec.names}),
            usage=Usage(input=0, cached_input=0, output=0, thinking=0, cost_usd=0.0),
            model_version=request.model,
        )

    def _answer(self, name: str, label: Label) -> Any:
        score = label.scores[name]
        number = int(score) if float(score).is_integer() else score
        if self.spec.evidence == "none":
            return number
        return {"evidence": label.evidence.get(name, ""), "score": number}

    def count_tokens(self, request: OracleRequest) -> int | None:
        """0: nothing is sent to anyone."""
        return 0


def _key(fenced: str) -> bytes:
    return hashlib.sha256(fenced.encode("utf-8", "surrogatepass")).digest()
