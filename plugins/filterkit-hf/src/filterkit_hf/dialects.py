"""How servers are asked for scores of texts, and how their answers are read.

labels  our own servers, and the text-classification pipelines of Hugging Face's inference toolkit
tei     text-embeddings-inference: POST /predict (its openapi.json, 1.7)
vllm    vLLM's classification API: POST /classify (docs.vllm.ai, 0.16)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from filterkit.api import ArtifactError, BackendError, ConfigError, FilterSpec
from filterkit_hf.server import Server

_LARGEST = float(np.finfo(np.float32).max)
Scores = list[float] | None
"""A text's scores in the order of the filter's dimensions; None: the server has none for it."""


class Dialect(ABC):
    """One way of asking. `path`: below the server's address."""

    name: str
    path = ""
    most = 1024
    """Texts that the server takes at once."""

    def __init__(self, spec: FilterSpec, where: str) -> None:
        self.spec = spec
        self.names = spec.names
        self.where = where

    @abstractmethod
    def payload(self, texts: Sequence[str]) -> dict[str, Any]:
        """What is sent."""

    @abstractmethod
    def read(self, answer: Any, n: int) -> list[Scores]:
        """The scores of n texts, in order. BackendError or ArtifactError when the answer is not that."""

    def wrong(self, what: str) -> BackendError:
        return BackendError(what, where=self.where, fix="Is this the server of this student? See the option `dialect`")

    def by_label(self, row: Any) -> Scores:
        """A list of {"label", "score"} in the order of the dimensions; an empty list is no scores."""
        if not isinstance(row, list) or not all(isinstance(one, dict) for one in row):
            raise self.wrong("answers with something else than labels and scores")
        if not row:
            return None
        found = {str(one.get("label")): one.get("score") for one in row}
        if set(found) != set(self.names) or len(row) != len(self.names):
            self.refuse_labels(list(found))
        return [self.number(found[name]) for name in self.names]

    def refuse_labels(self, labels: Sequence[str]) -> None:
        raise ArtifactError(
            f"has the labels {_listed(labels)}, and the dimensions are {_listed(self.names)}",
            where=self.where,
            fix="Name the server of this filter's student",
        )

    def number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
            raise self.wrong(f"answers with the score {str(value)[:40]}, which is no number")
        return float(value)

    def rows(self, answer: Any, n: int) -> list[Any]:
        """The answer, if it is a list of n."""
        if not isinstance(answer, list):
            raise self.wrong(f"answers with {_shape(answer)} instead of a list")
        if len(answer) != n:
            raise self.wrong(f"answers {len(answer)} texts of {n}")
        return answer


class Labels(Dialect):
    """{"inputs", "parameters"} to [[{"label", "score"}, …], …], without any function applied to the scores."""

    name = "labels"

    def payload(self, texts: Sequence[str]) -> dict[str, Any]:
        parameters = {"top_k": len(self.names), "function_to_apply": "none", "truncation": True}
        return {"inputs": list(texts), "parameters": parameters}

    def read(self, answer: Any, n: int) -> list[Scores]:
        if n == 1 and isinstance(answer, list) and answer and isinstance(answer[0], dict):
            answer = [answer]  # some servers leave the outer list out where there is one text
        return [self.by_label(row) for row in self.rows(answer, n)]


class Tei(Dialect):
    """text-embeddings-inference. A list of two plain texts would be a pair to it, so each text has its own list."""

    name = "tei"
    path = "/predict"

    def __init__(self, spec: FilterSpec, where: str, most: int = 32) -> None:
        super().__init__(spec, where)
        self.most = most

    def payload(self, texts: Sequence[str]) -> dict[str, Any]:
        return {
            "inputs": [[text] for text in texts],
            "raw_scores": True,
            "truncate": True,
            "truncation_direction": "Right",
        }

    def read(self, answer: Any, n: int) -> list[Scores]:
        return [self.by_label(row) for row in self.rows(answer, n)]


class Vllm(Dialect):
    """vLLM: numbers in the order of the model's labels. model: as the server calls it; tokens: that it reads."""

    name = "vllm"
    path = "/classify"

    def __init__(self, spec: FilterSpec, where: str, model: str, tokens: int) -> None:
        super().__init__(spec, where)
        self._model = model
        self._tokens = tokens

    def payload(self, texts: Sequence[str]) -> dict[str, Any]:
        return {
            "model": self._model,
            "input": list(texts),
            "truncate_prompt_tokens": self._tokens,
            "truncation_side": "right",
            "use_activation": False,
        }

    def read(self, answer: Any, n: int) -> list[Scores]:
        data = answer.get("data") if isinstance(answer, dict) else None
        rows = {str(one.get("index")): one for one in self.rows(data, n) if isinstance(one, dict)}
        if set(rows) != {str(at) for at in range(n)}:
            raise self.wrong("answers with other texts than were sent")
        return [self._numbers(rows[str(at)]) for at in range(n)]

    def _numbers(self, row: Mapping[str, Any]) -> list[float]:
        given = row.get("probs")
        if not isinstance(given, list) or len(given) != len(self.names):
            raise self.wrong(f"answers with {_shape(given)} instead of {len(self.names)} numbers a text")
        numbers = [self.number(value) for value in given]
        highest, label = max(range(len(numbers)), key=numbers.__getitem__), row.get("label")
        if label is not None and label not in [
            n for n, x in zip(self.names, numbers, strict=True) if x == numbers[highest]
        ]:
            self.refuse_labels([str(label), "…"])  # the order is another, or the model
        return numbers


def find_dialect(wanted: str, server: Server, spec: FilterSpec, served_model: str | None) -> Dialect:
    """The dialect `wanted`; for "auto", the one that the server's own description speaks of, else `labels`."""
    base, where = server, server.address
    if wanted in ("auto", "tei"):
        info = base.look("/info")
        if isinstance(info, dict) and "model_type" in info:
            return _tei(info, spec, where)
        if wanted == "tei":
            return Tei(spec, where)
    if wanted in ("auto", "vllm"):
        models = _models(base.look("/v1/models"))
        if models:
            return _vllm(models, spec, where, served_model)
        if wanted == "vllm":
            if served_model is None:
                raise ConfigError("does not say which models it has", where=where, fix="Set the option served_model")
            return Vllm(spec, where, served_model, spec.input.student.max_tokens)
    return Labels(spec, where)


def _tei(info: Mapping[str, Any], spec: FilterSpec, where: str) -> Tei:
    kind = info["model_type"]
    if not isinstance(kind, dict) or "classifier" not in kind:
        raise ConfigError(f"serves a model for another task ({str(kind)[:60]})", where=where)
    most = info.get("max_client_batch_size")
    return Tei(spec, where, most if isinstance(most, int) and most > 0 else 32)


def _models(answer: Any) -> dict[str, int | None]:
    """Name -> longest input in tokens, of an OpenAI-like list of models."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        return {}
    listed = [one for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)]
    lengths = {one["id"]: one.get("max_model_len") for one in listed}
    return {name: n if isinstance(n, int) and n > 0 else None for name, n in lengths.items()}


def _vllm(models: Mapping[str, int | None], spec: FilterSpec, where: str, served_model: str | None) -> Vllm:
    if served_model is None and len(models) > 1:
        raise ConfigError(f"has the models {_listed(list(models))}", where=where, fix="Set the option served_model")
    name = served_model or next(iter(models))
    if name not in models:
        raise ConfigError(f"has no model {name!r}, but {_listed(list(models))}", where=where)
    tokens = spec.input.student.max_tokens
    return Vllm(spec, where, name, min(tokens, models[name] or tokens))


def _listed(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 40 else name[:39] + "…" for name in names[:8]]
    printable = ("".join(c if c.isprintable() else " " for c in name) for name in shown)
    return ", ".join([*printable, *(["…"] if len(names) > 8 else [])])


def _shape(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        error = value.get("error") or value.get("message")
        return f"an object ({str(error)[:100]})" if error else "an object"
    return "nothing" if value is None else type(value).__name__
