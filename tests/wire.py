"""A scoring server for tests: http.server, a student, the wire of filterkit.inference, and ways to go wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from filterkit import load_student
from filterkit.files import sha256_file
from filterkit.inference import answer_rows, parse_json, read_request, write_answer


def _as_it_is(answer: Any) -> Any:
    return answer


@dataclass
class Wire:
    """What a test can turn. folder: the student that answers; stored: the folder whose files it tells of, if any;
    change: what becomes of every answer; status: another than 200 for all that is posted."""

    folder: Path
    stored: Path | None = None
    price: float | None = None
    pause_s: float = 0.0
    status: int = 200
    change: Callable[[Any], Any] = _as_it_is
    address: str = ""
    asked: list[int] = field(default_factory=list)


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Wire]:
    """The student of a folder, served at `.address` (toy://…) until the block ends."""
    wire = Wire(folder, **settings)
    student, lock = load_student(folder), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            request = read_request(parse_json(self.rfile.read(int(self.headers["Content-Length"]))))
            wire.asked.append(len(request.rows))
            time.sleep(wire.pause_s)
            with lock:
                answer = write_answer(request, answer_rows(student, request.rows))
            self._send(wire.status, json.dumps(wire.change(answer)).encode())

        def do_GET(self) -> None:
            found: bytes | None = None
            if self.path == "/price" and wire.price is not None:
                found = str(wire.price).encode()
            elif self.path == "/files" and wire.stored:
                names = [p for p in wire.stored.rglob("*") if p.is_file()]
                hashes = {p.relative_to(wire.stored).as_posix(): sha256_file(p) for p in names}
                found = json.dumps(hashes).encode()
            elif self.path.startswith("/file/") and wire.stored and (wire.stored / self.path[6:]).is_file():
                found = (wire.stored / self.path[6:]).read_bytes()
            self._send(404 if found is None else 200, found or b"")

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    wire.address = f"toy://127.0.0.1:{server.server_address[1]}"
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        student.close()
