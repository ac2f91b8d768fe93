"""How many single articles a second `filterkit serve` judges, beside the endpoint that one would write instead.

    python benchmarks/serving.py [--student DIR] [--connections 32] [--seconds 10] [--words 100]

Both run in the same call, one after the other, each as a process of its own with the same student (`lite`, trained
here on the bundled sample unless --student names one). The rival is a Starlette application under uvicorn whose
endpoint calls `student.judge` on its one article and answers with the verdict. Articles are pieces of the sample's
English ones, 512 different bodies, one article a request. The load comes from wrk (one thread) where it is installed,
else from a Python process with a thread per connection, which takes far more CPU and says so. CPU seconds are user and
system time during the measurement; server and load share the machine's cores.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import random
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "filters" / "uplifting" / "sample" / "articles.jsonl"
FILTER = SAMPLE.parents[1] / "v1"
BODIES, WARM_UP_S = 512, 2
LUA = """\
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local at = 0
request = function() at = at % #bodies + 1; return wrk.format(nil, nil, nil, bodies[at]) end
"""
RIVAL = """\
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import filterkit

student = filterkit.load_student(sys.argv[1])


async def score(request):
    (verdict,) = student.judge([await request.json()])
    return JSONResponse(verdict.to_dict())


async def ready(request):
    return JSONResponse({})


routes = [Route("/v1/score", score, methods=["POST"]), Route("/ready", ready)]
uvicorn.run(Starlette(routes=routes), port=int(sys.argv[2]), log_level="error")
"""


@dataclass(frozen=True)
class Found:
    """A measurement. failed: answers that were not 200, and connections that broke; load_cpu, cpu: seconds."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int
    load_cpu: float
    cpu: float = 0.0


def bodies(words: int) -> list[str]:
    """JSON articles of so many words."""
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    text = " ".join(row["content"] for row in rows if row["language"] == "en").split()
    draw = random.Random(0)  # noqa: S311 - which words does not matter
    starts = [draw.randrange(len(text) - words) for _ in range(BODIES)]
    return [json.dumps({"title": "", "content": " ".join(text[at : at + words])}) for at in starts]


def train(folder: Path) -> Path:
    """The lite student of the bundled sample."""
    run = [sys.executable, "-m", "filterkit", "demo", str(folder)]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    return folder / "students" / "uplifting" / "v1"


@contextmanager
def server(command: list[str], port: int) -> Iterator[int]:
    """A server process that answers; its process id."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"it does not start: {' '.join(command)}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _ready(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk(port: int, connections: int, seconds: int, folder: Path) -> Found:
    """Load from wrk."""
    script = folder / "load.lua"
    script.write_text(LUA)
    how = ["-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["wrk", *how, f"http://127.0.0.1:{port}/v1/score"],
        env={**os.environ, "BODIES": str(folder / "bodies")},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = done.stdout
    broken = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Found(
        rate=float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]),
        p50_ms=_milliseconds(re.findall(r"50%\s+([\d.]+)(us|ms|s)", said)[0]),
        p99_ms=_milliseconds(re.findall(r"99%\s+([\d.]+)(us|ms|s)", said)[0]),
        failed=broken + int(refused[1] if refused else 0),
        load_cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def _milliseconds(found: tuple[str, str]) -> float:
    return float(found[0]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[1]]


def threads(port: int, connections: int, seconds: int, folder: Path) -> Found:
    """Load from this process: a thread for each connection."""
    texts = (folder / "bodies").read_text().splitlines()
    taken: list[float] = []
    failed: list[int] = []
    started, used = time.monotonic(), time.process_time()

    def ask(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        at = first
        while time.monotonic() - started < seconds:
            at = (at + 1) % len(texts)
            begun = time.perf_counter()
            connection.request("POST", "/v1/score", texts[at])
            answer = connection.getresponse()
            answer.read()
            taken.append(1000 * (time.perf_counter() - begun))
            if answer.status != 200:
                failed.append(answer.status)

    clients = [threading.Thread(target=ask, args=(7 * i,)) for i in range(connections)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    cuts = statistics.quantiles(taken, n=100)
    return Found(len(taken) / seconds, cuts[49], cuts[98], len(failed), time.process_time() - used)


def measure(command: list[str], wanted: argparse.Namespace, folder: Path) -> Found:
    """A server, started with `command` and a port as its last word, under load."""
    load = wrk if shutil.which("wrk") else threads
    port = free_port()
    with server([*command, str(port)], port) as pid:
        load(port, wanted.connections, WARM_UP_S, folder)
        before = cpu_seconds(pid)
        found = load(port, wanted.connections, wanted.seconds, folder)
        return Found(**{**vars(found), "cpu": cpu_seconds(pid) - before})


def main(wanted: argparse.Namespace, folder: Path) -> None:
    student = wanted.student or train(folder / "demo")
    (folder / "bodies").write_text("\n".join(bodies(wanted.words)))
    (folder / "rival.py").write_text(RIVAL)
    serve = [sys.executable, "-m", "filterkit", "serve", str(FILTER), "--student", str(student), "--port"]
    rows = {
        "**filterkit serve**": serve,
        "Starlette, student.judge per request": [sys.executable, str(folder / "rival.py"), str(student)],
    }
    load = "wrk, one thread" if shutil.which("wrk") else "Python threads"
    print(
        f"{wanted.connections} connections, one article of {wanted.words} words a request, {wanted.seconds} s, "
        f"load from {load}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n"
    )
    print("| | requests/s | p50, ms | p99, ms | failed | server's CPU, s | load's CPU, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, command in rows.items():
        one = measure(command, wanted, folder)
        print(
            f"| {name} | {one.rate:,.0f} | {one.p50_ms:.1f} | {one.p99_ms:.1f} | {one.failed} | {one.cpu:.1f} "
            f"| {one.load_cpu:.1f} |",
            flush=True,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--student", type=Path, help="a student of the bundled filter; default: lite, trained here")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--words", type=int, default=100)
    return parser.parse_args()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        main(arguments(), Path(home))
