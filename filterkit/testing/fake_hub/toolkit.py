"""Serves a folder's handler.py as Hugging Face's inference toolkit does: `python -I toolkit.py FOLDER`.

It needs nothing but Python and what the handler itself imports. EndpointHandler is made from FOLDER, which is first on
sys.path; POST / or /predict gives the JSON body to it and answers with what it returns; GET / and /health say Ok.
A body without "inputs", and whatever the handler raises, is a 400 with {"error": …}. One request at a time is in it.
Stricter than the toolkit: an answer must be plain JSON (no NaN, no arrays of numpy's).

The port is written to FOLDER.port when the handler is ready. It ends when its standard input does.
"""

import importlib.util
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def load(folder: Path) -> Any:
    """The handler of a repository. Raises whatever its code does."""
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("handler", folder / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["handler"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(folder))


class Requests(BaseHTTPRequestHandler):
    """One connection. handler, lock: set by `serve`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits for the other side's delayed acknowledgement
    handler: Any
    lock: threading.Lock

    def do_GET(self) -> None:
        """Health."""
        known = self.path in ("/", "/health")
        self._answer(200 if known else 404, b"Ok" if known else b"Not Found", "text/plain")

    def do_POST(self) -> None:
        """A prediction."""
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path not in ("/", "/predict"):
            return self._answer(404, b"Not Found", "text/plain")
        try:
            data = json.loads(sent)
            if "inputs" not in data:
                raise ValueError("Body needs to provide a inputs key")
            with self.lock:
                answer = self.handler(data)
            status, body = 200, json.dumps(answer, allow_nan=False)
        except Exception as error:
            status, body = 400, json.dumps({"error": str(error)})
        return self._answer(status, body.encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the standard error is for what the handler says."""


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def serve(folder: Path) -> None:
    """Load, say the port, serve."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    Requests.handler, Requests.lock = load(folder), threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    draft = folder.with_suffix(".draft")
    draft.write_text(str(server.server_port))
    draft.rename(folder.with_suffix(".port"))
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
