"""What strangers can send, and what it can do to a server: nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from filterkit_serve.wire import MOST_EXTRA, rows_of
from running import ARTICLE, Answer, Place, Running, answer, read_all

from filterkit.api import read_request

BODY = 1_000_000
GROWTH = 150_000_000
"""Bytes by which the process may have grown after all that was done to it here."""


@pytest.fixture(scope="module")
def guarded(shared_place: Place) -> Iterator[Running]:
    bounds = ("--max-body", BODY, "--max-inputs", 50, "--max-queue", 100, "--max-held", 4 * BODY, "--read-timeout", 1)
    with shared_place.serve(*bounds, "--max-connections", 40, "--batch-wait-ms", 0) as running:
        memory = running.memory()
        yield running
        assert running.memory() - memory < GROWTH
        assert running.score(ARTICLE).status == 200


def test_a_body_of_64_mb_is_refused(guarded: Running) -> None:
    found = guarded.score(b" " * 64_000_000)
    assert (found.status, found.code) == (413, "body_too_large")


def test_a_body_of_64_mb_without_its_length_is_refused_and_not_kept(guarded: Running) -> None:
    before = guarded.memory()
    with closing(guarded.connect()) as connection:
        connection.request("POST", "/v1/score", (b" " * 64_000 for _ in range(1000)))
        found = answer(connection)
        assert (found.status, found.code) == (413, "body_too_large")
        assert guarded.memory() - before < 20_000_000
        connection.request("POST", "/v1/score", json.dumps(ARTICLE))  # the same connection goes on
        assert answer(connection).status == 200


def test_a_declared_length_is_refused_before_anything_is_sent(guarded: Running) -> None:
    with closing(guarded.socket()) as raw:
        raw.sendall(b"POST /v1/score HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 64000000\r\n\r\n")
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "body",
    [
        b'{"articles": [' + b",".join([b"{}"] * 300_000) + b"]}",
        b'{"inputs": [' + b",".join([b'"a"'] * 240_000) + b"]}",
        b'{"articles": [' + b",".join([b'{"content":"a"}'] * 51) + b"]}",
    ],
    ids=["objects", "texts", "one too many"],
)
def test_too_many_inputs_are_refused(guarded: Running, body: bytes) -> None:
    assert len(body) <= BODY
    found = guarded.score(body, "/" if b"inputs" in body else "/v1/score")
    assert (found.status, found.code) == (413, "inputs_too_large")


def test_a_million_tiny_inputs_are_refused(shared_place: Place) -> None:
    with shared_place.serve() as running:
        before = running.memory()
        for path, body in (("/v1/score", {"articles": [{}] * 1_000_000}), ("/", {"inputs": ["a"] * 1_000_000})):
            assert running.score(body, path).code == "inputs_too_large"
        assert running.memory() - before < 300_000_000
        assert running.score(ARTICLE).status == 200


def test_what_an_article_carries_along_does_not_wait_with_it() -> None:
    article = {"content": "a", "feed": "x", "deep": [[]] * 1000, "more": {"a": 1}} | {f"n{i}": i for i in range(1000)}
    (row,) = rows_of(read_request({"inputs": article}))
    assert row.article.extra["feed"] == "x"
    assert len(row.article.extra) == MOST_EXTRA
    assert "deep" not in row.article.extra


def test_headers_that_do_not_come_are_not_waited_for(guarded: Running) -> None:
    with closing(guarded.socket()) as raw, closing(guarded.socket()) as silent:
        raw.sendall(b"POST /v1/score HTTP/1.1\r\nhost: ")
        assert read_all(raw).startswith(b"HTTP/1.1 408 ")
        assert read_all(silent) == b""


@pytest.mark.heavy
def test_headers_that_drip_are_not_waited_for(guarded: Running) -> None:
    with closing(guarded.socket()) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\n")
        assert drip(raw, b"a: b\r\n").startswith(b"HTTP/1.1 408 ")


def test_a_body_that_drips_is_not_waited_for(guarded: Running) -> None:
    with closing(guarded.socket()) as raw:
        raw.sendall(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n")
        found = drip(raw, b" ")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b'"too_slow"' in found


def drip(raw: socket.socket, drop: bytes) -> bytes:
    """Send a little now and then until the other side has had enough; what it said."""
    raw.settimeout(0.05)
    found = b""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            raw.sendall(drop)
        except OSError:
            break
        try:
            chunk = raw.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        if not chunk:
            break
        found += chunk
    return found


@pytest.mark.heavy
def test_a_client_that_takes_no_answer_is_let_go(guarded: Running) -> None:
    def answered() -> int:
        return int(guarded.metric('filterkit_requests_total{route="/openapi.json",status="200"}'))

    before = answered()
    with closing(socket.socket()) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", guarded.port))
        sent = 0
        while answered() - before == sent:  # until the system takes no more of them for this client
            raw.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 25)
            sent += 25
            time.sleep(0.05)
        assert guarded.metric("filterkit_connections") == 2
        guarded.until(lambda: guarded.metric("filterkit_connections") == 1)


def test_too_many_requests_at_once_end_the_connection(guarded: Running) -> None:
    with closing(guarded.socket()) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)
        found = drip(raw, b"")
    assert found.count(b"HTTP/1.1 200 ") <= 33


def test_endless_headers_are_refused(guarded: Running) -> None:
    with closing(guarded.socket()) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\n" + b"x: yyyyyyyyyyyyyyyy\r\n" * 50_000)
        found = read_all(raw)
    assert found.startswith(b"HTTP/1.1 431 ")
    assert b'"headers_too_large"' in found


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01\x00\xfc", b"GET / HTTP/9.9\r\n\r\n", b"G@T / x\r\n\r\n"])
def test_what_is_no_http_is_told_so(guarded: Running, sent: bytes) -> None:
    with closing(guarded.socket()) as raw:
        raw.sendall(sent + b"\r\n\r\n")
        head, _, body = read_all(raw).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "bad_http"
    guarded.until(lambda: any(line.get("code") == "bad_http" for line in guarded.log("request")))
    assert not guarded.log("library")  # one line says enough


def test_a_body_behind_an_upgrade_is_refused_and_not_taken_for_a_request(guarded: Running) -> None:
    """As some clients send the first request of a connection; the parser ends where another protocol may begin."""
    hidden = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n"
    with closing(guarded.socket()) as raw:
        raw.sendall(head % len(hidden))
        time.sleep(0.1)
        raw.sendall(hidden)
        found = read_all(raw)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b'"no_upgrade"' in found
    assert found.count(b"x-request-id: ") == 1
    with closing(guarded.socket()) as raw:
        raw.sendall(hidden.replace(b"\r\n\r\n", b"\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"))
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_connection_that_is_cut_is_no_fault_of_ours(guarded: Running) -> None:
    body = json.dumps(ARTICLE).encode()
    good = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    for _ in range(5):
        with closing(guarded.socket()) as raw:
            raw.sendall(good * 3 + b"G@T\r\n\r\n")
            read_all(raw)
    guarded.until(lambda: guarded.metric("filterkit_held_bytes") == 0)
    assert guarded.metric('filterkit_errors_total{code="internal"}') == 0


def test_more_connections_than_allowed_are_refused(guarded: Running) -> None:
    opened = [guarded.socket() for _ in range(40)]
    with closing(guarded.socket()) as one_more:
        one_more.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        found = read_all(one_more)
    for one in opened:
        one.close()
    assert found.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in found
    guarded.until(lambda: guarded.score(ARTICLE).status == 200)


def test_a_full_queue_asks_to_come_again(guarded: Running) -> None:
    def slowly(count: int) -> Answer:
        return guarded.score({"articles": [{"content": "sleep:0.1"}] * count})

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(slowly, [10] * 20))
    statuses = [one.status for one in answers]
    assert set(statuses) == {200, 429}
    for one in answers:
        if one.status == 429:
            assert one.code == "queue_full"
            assert 1 <= int(one.headers["retry-after"]) <= 60
        else:
            assert len(one.json["verdicts"]) == 10
    assert guarded.score(ARTICLE).status == 200


def test_all_bodies_together_are_bounded(guarded: Running) -> None:
    """Each stays below its own bound; together they do not."""
    held = []
    for _ in range(6):
        raw = guarded.socket()
        raw.sendall(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % BODY)
        raw.sendall(b" " * (BODY - 1))
        held.append(raw)
    answers = [one.recv(65536) for one in held]
    for one in held:
        one.close()
    kinds = {found.split(b" ", 2)[1] for found in answers}
    assert kinds == {b"408", b"429"}
    guarded.until(lambda: guarded.metric("filterkit_held_bytes") == 0)


def together(*work: Callable[[], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result() for future in [pool.submit(one) for one in work]]


def test_one_request_on_which_the_model_fails_takes_no_other_with_it(guarded: Running) -> None:
    def slow() -> Answer:
        return guarded.score({"content": "sleep:0.3"})

    def ask(text: str) -> Callable[[], Answer]:
        def one() -> Answer:
            time.sleep(0.1)  # they gather in one batch while the slow one is scored
            return guarded.score({"content": text})

        return one

    _, good, bad, fine = together(slow, ask("volunteers helped"), ask("poison my secret"), ask("a sensor"))
    assert (good.status, fine.status) == (200, 200)
    assert good.json["verdicts"][0]["scores"]
    assert (bad.status, bad.code) == (500, "scoring_failed")
    guarded.until(lambda: any(line.get("code") == "scoring_failed" for line in guarded.log("request")))
    assert "ValueError in fk_serve_toy" in guarded.said()
    assert "my secret" not in guarded.said()


@pytest.mark.heavy
def test_nobody_has_to_read_the_log(place: Place) -> None:
    """A pipe of 64 kB that nobody empties is full after 400 requests."""
    process = subprocess.Popen(
        place.command(),
        cwd=place.root,
        env=place.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        running = Running(process, int(process.stdout.readline().rpartition(":")[2]), place.root / "none")
        running.until(lambda: running.ask("GET", "/ready").status == 200)
        with closing(running.connect()) as connection:
            for _ in range(2000):
                connection.request("GET", "/health")
                assert answer(connection).status == 200
        running.terminate()
        assert running.ended() == 0
    finally:
        process.kill()
        process.communicate()


def test_clients_that_go_away_do_no_harm(guarded: Running) -> None:
    body = json.dumps({"content": "sleep:0.1"}).encode()
    head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)

    def leave(sent: bytes) -> None:
        with closing(guarded.socket()) as raw:
            raw.sendall(sent)

    threads = [threading.Thread(target=leave, args=((head + body)[: 20 * i],)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    guarded.until(lambda: guarded.metric('filterkit_queue_articles{filter="tiny"}') == 0)
    assert guarded.score(ARTICLE).status == 200
