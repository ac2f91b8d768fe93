"""A remote model that asks the server of tests/wire.py, at toy://host:port."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import numpy as np

from filterkit.api import Model, Options, Prediction, Scorer, Unreachable


class RemoteOptions(Options):
    """How it asks."""

    timeout_s: float = 10.0


class RemoteToy(Model[RemoteOptions]):
    """What a server says: scores, verdicts, and where it tells of them, files."""

    Options: ClassVar[type[Options]] = RemoteOptions
    remote: ClassVar[bool] = True

    def load(
        self,
        ref: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        shared: MutableMapping[str, Any] | None = None,
    ) -> Scorer:
        return RemoteScorer(self, ref)

    def hashes(self, ref: str) -> dict[str, str] | None:
        answer = self.ask(ref, "files")
        return None if answer is None else json.loads(answer)

    def stored(self, ref: str, name: str) -> bytes | None:
        return self.ask(ref, f"file/{name}")

    def usd_per_hour(self, ref: str) -> float | None:
        answer = self.ask(ref, "price")
        return None if answer is None else float(answer)

    def ask(self, ref: str, path: str, body: Any = None) -> bytes | None:
        """The server's answer; None where it has none (404)."""
        data = None if body is None else json.dumps(body).encode()
        address = ref.replace("toy://", "http://", 1)
        try:
            with urllib.request.urlopen(f"{address}/{path}", data, timeout=self.options.timeout_s) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise Unreachable(f"the server answers {error.code}", where=ref) from error
        except OSError as error:
            raise Unreachable(f"no answer ({error})", where=ref) from error


class RemoteScorer(Scorer):
    max_batch = 16

    def __init__(self, model: RemoteToy, ref: str) -> None:
        self._model, self._ref = model, ref
        self._names = model.spec.names

    def predict(self, encoded: Sequence[str]) -> Prediction:
        parameters = {"top_k": len(self._names), "function_to_apply": "none"}
        rows = json.loads(self._model.ask(self._ref, "", {"inputs": list(encoded), "parameters": parameters}))
        scores = np.full((len(rows), len(self._names)), np.nan, dtype=np.float32)
        for number, row in enumerate(rows):
            found = {one["label"]: one["score"] for one in row}
            scores[number] = [found.get(name, np.nan) for name in self._names]
        return Prediction(scores)

    def verdicts(self, articles: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
        answer = self._model.ask(self._ref, "", {"inputs": list(articles)})
        return None if answer is None else json.loads(answer)
