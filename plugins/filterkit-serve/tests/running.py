"""A server as a process, its clients over real sockets, and a student that it can load in no time."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filterkit.calibrator import OverallInterval, Spread
from filterkit.filters import load_filter
from filterkit.manifest import describe_files, load_manifest, save_manifest, student_hash
from filterkit.testing import fake_context, make_student

FILTER = """\
schema: 1
name: {name}
version: "1"
description: For tests
dimensions:
  - {{name: help, weight: 0.75, description: people help each other}}
  - {{name: novelty, weight: 0.25, description: something new and workable}}
  - {{name: is_advert, role: flag, description: somebody pays for this text}}
prompt: prompt.md
postfilter:
  use: tiers
  caps: [{{name: adverts, cap: 2, when: [{{dimension: is_advert, at_least: 0.3}}]}}]
  tiers: [{{name: high, at_least: 5}}, {{name: low}}]
"""
ARTICLE = {"id": "a1", "title": "A bridge", "content": "neighbours helped volunteers repair the old bridge"}
SECONDS = 20


@dataclass
class Answer:
    """What was answered."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of an error, which always looks like this."""
        assert self.headers["content-type"] == "application/json"
        assert self.json["error"]["request_id"] == self.headers["x-request-id"]
        assert self.json["error"]["message"]
        assert b"Traceback" not in self.body
        code: str = self.json["error"]["code"]
        return code


class Running:
    """A server process."""

    def __init__(self, process: subprocess.Popen[str], port: int, errors: Path) -> None:
        self.process = process
        self.port = port
        self._errors = errors

    def connect(self, timeout: float = SECONDS) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def socket(self, timeout: float = SECONDS) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request over a connection of its own. A body that is neither bytes nor None is sent as JSON."""
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with closing(self.connect()) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, sent, named)
            return answer(connection)

    def score(self, body: Any, path: str = "/v1/score", **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def metric(self, line: str, **headers: str) -> float:
        """The value of a metric's line, 0 where there is none."""
        page = self.ask("GET", "/metrics", **headers).body.decode()
        found = [one for one in page.splitlines() if one.startswith(f"{line} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def wait_ready(self, **headers: str) -> None:
        self.until(lambda: self.ask("GET", "/ready", **headers).status == 200)

    def until(self, true: Any) -> None:
        """Wait for something that should happen soon."""
        deadline = time.monotonic() + SECONDS
        while not true():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def memory(self) -> int:
        """Bytes of the process in memory."""
        line = next(x for x in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if "VmRSS" in x)
        return int(line.split()[1]) * 1024

    def said(self) -> str:
        """Everything on stderr so far."""
        return self._errors.read_text(encoding="utf-8")

    def log(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log of one kind."""
        lines = [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Its exit code."""
        return self.process.wait(SECONDS)


def answer(connection: http.client.HTTPConnection) -> Answer:
    """What comes back on a connection."""
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def read_all(raw: socket.socket) -> bytes:
    """Everything until the other side closes."""
    found = b""
    while chunk := raw.recv(65536):
        found += chunk
    return found


def toy_dist(site: Path) -> Path:
    """The toy model as an installed dist in the folder `site`."""
    info = site / "fk_serve_toy-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "fk_serve_toy.py").write_bytes(Path(__file__).with_name("toy_model.py").read_bytes())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fk-serve-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[filterkit]\ntoy = fk_serve_toy\n")
    return site


def write_filter(folder: Path, name: str = "tiny") -> Path:
    folder.mkdir(parents=True)
    (folder / "filter.yaml").write_text(FILTER.format(name=name))
    (folder / "prompt.md").write_text("Score help and novelty from 0 to 10, is_advert 0 or 10.\n\n{{article}}\n")
    return folder


def write_student(folder: Path, filter_folder: Path, rows: int = 40, means: Sequence[float] | None = None) -> str:
    """A toy student of the filter, learnt from so many rows, or one that answers `means` to everything; its hash."""
    filter = load_filter(filter_folder)
    make_student(folder, filter.spec, fake_context(folder.parent), rows=rows)
    manifest = load_manifest(folder)
    if means is not None:
        (folder / "toy.json").write_text(json.dumps({"means": means, "words": {}}))
    files = describe_files(folder)
    wide, narrow = (Spread(x=(0.0,), y=(half,)) for half in (2.0, 1.0))
    calibrator = manifest.calibrator.model_copy(update={"spreads": (wide, narrow, None)})
    known = {
        "files": files,
        "calibrator": calibrator,
        "overall_interval": OverallInterval(weights=tuple(filter.spec.weights), spread=narrow),
        "student_hash": student_hash(files, manifest.target_hash, calibrator),
        "request_hash": filter.request_hash(manifest.data.variant),
    }
    save_manifest(folder, manifest.model_copy(update=known))
    return str(known["student_hash"])


@dataclass(frozen=True)
class Place:
    """A folder with two filters and their students; the same one for all tests that change nothing in it."""

    root: Path
    hashes: Mapping[str, str]

    def command(
        self, *more: object, filters: Sequence[str] = ("tiny",), students: Mapping[str, str] | None = None
    ) -> list[str]:
        """`filterkit serve` for these filters, with students that lie elsewhere than usual if so said."""
        folders = {name: f"{name}-student" for name in filters} | dict(students or {})
        own = [part for name in filters for part in (name, "--student", folders[name])]
        start = [sys.executable, "-c", "from filterkit.cli.main import main; main()", "serve"]
        return [*start, *own, "--port", "0", *map(str, more)]

    def environment(self, **more: str) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FILTERKIT_")}
        return {**clean, "PYTHONPATH": str(self.root / "site"), "OMP_NUM_THREADS": "1", **more}

    @contextmanager
    def serve(
        self,
        *more: object,
        filters: Sequence[str] = ("tiny",),
        students: Mapping[str, str] | None = None,
        ready: bool = True,
        **environment: str,
    ) -> Iterator[Running]:
        """A server, killed at the end if it has not ended by itself. Nothing it says may be a traceback."""
        errors = self.root / f"stderr-{time.monotonic_ns()}"
        with errors.open("w") as file:
            process = subprocess.Popen(
                self.command(*more, filters=filters, students=students),
                cwd=self.root,
                env=self.environment(**environment),
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("Listening on http://127.0.0.1:"), errors.read_text()
            running = Running(process, int(line.rpartition(":")[2]), errors)
            if ready:
                running.wait_ready()
            yield running
        finally:
            process.kill()
            process.communicate()
        assert "Traceback" not in errors.read_text()


def make_place(root: Path) -> Place:
    toy_dist(root / "site")
    hashes = {}
    for name in ("tiny", "other"):
        filter_folder = write_filter(root / name, name)
        hashes[name] = write_student(root / f"{name}-student", filter_folder)
    return Place(root, hashes)
