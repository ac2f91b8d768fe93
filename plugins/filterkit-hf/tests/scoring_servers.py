"""Small HTTP servers that speak as plain scoring servers do, by their documentation, and go wrong on demand."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

import numpy as np

CUT = "cut the connection"


def score(text: str, name: str) -> float:
    """Some number from 0 to 10 that hangs on text and dimension."""
    return int(hashlib.sha256(f"{name}\0{text}".encode()).hexdigest()[:4], 16) % 1001 / 100


def expected(texts: Sequence[str], names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([[score(text, name) for name in names] for text in texts], dtype=np.float32)


@dataclass
class Fault:
    """What is answered instead: status and body, or CUT; pause: seconds before."""

    status: int = 200
    body: bytes | str = b""
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0


@dataclass
class Asked:
    """One request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float


class Wrong(Exception):
    """A request that the documentation does not allow: status and message."""


class ScoringServer:
    """A server for `names` on 127.0.0.1 while its `with` block lasts.

    faults: answers to the next POSTs, one after the other; None stands for a right one. refuses: a text for which it
    answers 422. token: without it, 401. twist: changes right answers.
    """

    def __init__(
        self,
        kind: Literal["labels", "tei", "vllm"],
        names: Sequence[str],
        *,
        faults: Sequence[Fault | str | None] = (),
        always: Fault | str | None = None,
        refuses: str | None = None,
        token: str | None = None,
        most: int = 32,
        models: Sequence[str] = ("me/student",),
        twist: Callable[[Any], Any] = lambda answer: answer,
    ) -> None:
        self.kind, self.names, self.token, self.most, self.models = kind, list(names), token, most, models
        self.faults, self.always, self.refuses, self.twist = list(faults), always, refuses, twist
        self.asked: list[Asked] = []
        self.together = 0
        self._busy = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"scoring": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def posts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "POST"]

    def note(self, asked: Asked) -> Fault | str | None:
        """Keep it; the fault that is its turn."""
        with self._lock:
            self.asked.append(asked)
            if asked.method != "POST":
                return None
            return self.faults.pop(0) if self.faults else self.always

    def busy(self, change: int) -> None:
        with self._lock:
            self._busy += change
            self.together = max(self.together, self._busy)

    def look(self, path: str) -> Any:
        """What GET answers; None: 404."""
        if self.kind == "tei" and path == "/info":
            label = {str(i): name for i, name in enumerate(self.names)}
            return {
                "model_id": "me/student",
                "model_type": {"classifier": {"id2label": label, "label2id": {n: int(i) for i, n in label.items()}}},
                "max_client_batch_size": self.most,
            }
        if self.kind == "vllm" and path == "/v1/models":
            listed = [{"id": m, "object": "model", "owned_by": "vllm", "max_model_len": 40} for m in self.models]
            return {"object": "list", "data": listed}
        return None

    def answer(self, path: str, body: Any) -> Any:
        """What a right POST answers."""
        return self.twist({"labels": self._labels, "tei": self._tei, "vllm": self._vllm}[self.kind](path, body))

    def _labels(self, path: str, body: Any) -> Any:
        if path != "/":
            raise Wrong(404, "Not Found")
        if not isinstance(body, dict) or not isinstance(body.get("inputs"), list):
            raise Wrong(400, "Body needs to provide inputs")
        if body.get("parameters") != {
            "top_k": len(self.names),
            "function_to_apply": "none",
            "truncation": True,
        }:
            raise Wrong(400, "other parameters than a pipeline is asked with for raw scores")
        if not all(isinstance(text, str) for text in body["inputs"]):
            raise Wrong(400, "text input must be of type `str`")
        return [self._best_first(text) for text in self._allowed(body["inputs"])]

    def _tei(self, path: str, body: Any) -> Any:
        if path != "/predict":
            raise Wrong(404, "Not Found")
        inputs = body["inputs"]
        if not isinstance(inputs, list) or not all(isinstance(one, list) and len(one) == 1 for one in inputs):
            raise Wrong(422, "a pair of strings, or a batch of one-string lists")
        if len(inputs) > self.most:
            raise Wrong(413, f"batch size {len(inputs)} > maximum allowed batch size {self.most}")
        if not (body.get("raw_scores") and body.get("truncate") and body["truncation_direction"] in ("Left", "Right")):
            raise Wrong(422, "sigmoid scores, or no truncation")
        return [self._best_first(text) for (text,) in self._allowed(inputs)]

    def _vllm(self, path: str, body: Any) -> Any:
        if path != "/classify":
            raise Wrong(404, "Not Found")
        if body["model"] not in self.models:
            raise Wrong(404, f"The model `{body['model']}` does not exist.")
        if not 0 < body["truncate_prompt_tokens"] <= 40 or body["use_activation"] is not False:
            raise Wrong(400, "truncate_prompt_tokens is greater than max_model_len")
        data = []
        for index, text in enumerate(self._allowed(body["input"])):
            numbers = [score(text, name) for name in self.names]
            label = self.names[int(np.argmax(numbers))]
            data.append({"index": index, "label": label, "probs": numbers, "num_classes": len(numbers)})
        return {"id": "classify-1", "object": "list", "model": body["model"], "data": data[::-1], "usage": {}}

    def _best_first(self, text: str) -> list[dict[str, Any]]:
        found = [{"label": name, "score": score(text, name)} for name in self.names]
        return sorted(found, key=lambda one: -one["score"])

    def _allowed(self, texts: list[Any]) -> list[Any]:
        if self.refuses is not None and self.refuses in [one if isinstance(one, str) else one[0] for one in texts]:
            raise Wrong(422, "Tokenization error")
        return texts


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits for the other side's delayed acknowledgement
    scoring: ScoringServer

    def do_GET(self) -> None:
        self._note(None)
        found = self.scoring.look(self.path)
        self._send(*((404, b"Not Found") if found is None else (200, json.dumps(found).encode())))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        fault = self._note(body)
        self.scoring.busy(1)
        try:
            self._answer(fault, body)
        finally:
            self.scoring.busy(-1)

    def _note(self, body: Any) -> Fault | str | None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return self.scoring.note(Asked(self.command, self.path, headers, body, time.monotonic()))

    def _answer(self, fault: Fault | str | None, body: Any) -> None:
        if fault == CUT:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[[")
            self.close_connection = True
            return
        if isinstance(fault, Fault):
            time.sleep(fault.pause)
            data = fault.body.encode() if isinstance(fault.body, str) else fault.body
            self._send(fault.status, data, fault.headers)
            return
        if self.scoring.token and self.headers.get("authorization") != f"Bearer {self.scoring.token}":
            given = self.headers.get("authorization", "")
            self._send(401, json.dumps({"error": f"Invalid token {given}"}).encode())
            return
        try:
            self._send(200, json.dumps(self.scoring.answer(self.path, body)).encode())
        except Wrong as wrong:
            status, message = wrong.args
            self._send(status, json.dumps({"error": message}).encode())

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""
