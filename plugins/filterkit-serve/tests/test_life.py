"""How a server begins, changes its students, and ends."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import ARTICLE, Place, Running, answer, write_student

from filterkit.api import Context
from filterkit.builtin.local import LocalDeployer, LocalOptions
from filterkit.cli.main import run
from filterkit.filters import load_filter


class Load:
    """Clients that ask one article after the other, each on its own connection, until they are told to stop or a
    connection is refused. Everything that was answered is counted; what was sent and not answered is lost.

    keep: one connection for all requests, with a pause between two, in which a server could close it.
    """

    def __init__(self, running: Running, clients: int = 8, keep: bool = True) -> None:
        self.statuses: Counter[int] = Counter()
        self.hashes: Counter[str] = Counter()
        self.lost: list[str] = []
        self._running = running
        self._keep = keep
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = self._running.connect()
        while not self._stopped.is_set():
            try:
                if connection.sock is None:
                    connection.connect()
            except ConnectionRefusedError:
                return  # it was not accepted, so it is not lost
            try:
                connection.request("POST", "/v1/score", json.dumps(ARTICLE))
                found = answer(connection)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                return
            self.statuses[found.status] += 1
            self.hashes[found.json["student_hash"]] += 1
            if self._keep:
                time.sleep(0.01)
            else:
                connection.close()


@pytest.mark.parametrize(
    "keep",
    [pytest.param(True, id="connections kept"), pytest.param(False, id="a connection each", marks=pytest.mark.heavy)],
)
def test_sigterm_under_load_loses_no_accepted_request(shared_place: Place, keep: bool) -> None:
    with shared_place.serve() as running:
        load = Load(running, clients=20, keep=keep)
        running.until(lambda: sum(load.statuses.values()) > 200)
        running.terminate()
        assert running.ended() == 0
        load.stop()
        assert not load.lost
        assert set(load.statuses) == {200}
        requests = running.log("request")
        assert len([line for line in requests if line["route"] == "/v1/score"]) == sum(load.statuses.values())


def test_an_accepted_request_is_finished_while_readiness_is_gone(shared_place: Place) -> None:
    with shared_place.serve("--drain-delay", "1") as running:
        slow = running.connect()
        slow.request("POST", "/v1/score", json.dumps({"content": "sleep:2"}))
        kept = running.connect()
        kept.request("GET", "/ready")
        assert answer(kept).status == 200
        running.terminate()
        running.until(lambda: running.ask("GET", "/ready").status == 503)  # new connections, for as long as was said
        assert running.ask("GET", "/ready").json == {"status": "draining"}
        assert running.ask("GET", "/health").status == 200
        kept.request("GET", "/ready")
        found = answer(kept)
        assert (found.status, found.headers["connection"]) == (503, "close")
        running.until(lambda: is_refused(running))
        assert answer(slow).status == 200
        assert running.ended() == 0


def test_what_is_not_finished_in_time_is_told_by_the_exit_code(shared_place: Place) -> None:
    with shared_place.serve("--drain-timeout", "0.3") as running:
        slow = running.connect()
        asked = time.monotonic()
        slow.request("POST", "/v1/score", json.dumps({"content": "sleep:5"}))
        running.until(lambda: running.metric('filterkit_queue_articles{filter="tiny"}') == 1)
        running.terminate()
        assert running.ended() == 4
        assert "Error: 1 request was not finished in time" in running.said()
        assert time.monotonic() - asked < 4


def is_refused(running: Running) -> bool:
    try:
        running.socket().close()
    except ConnectionRefusedError:
        return True
    return False


@contextmanager
def under_load(running: Running) -> Iterator[Load]:
    load = Load(running)
    yield load
    load.stop()
    assert not load.lost
    assert set(load.statuses) == {200}


def replace(folder: Path, new: Path) -> None:
    """As `filterkit train` does it: a folder for a folder."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    new.rename(folder)
    shutil.rmtree(aside)


def test_a_new_student_takes_over_under_load(place: Place) -> None:
    new = write_student(place.root / "new", place.root / "tiny", rows=30)
    with place.serve("--watch", "0.1") as running, under_load(running) as load:
        running.until(lambda: load.hashes[place.hashes["tiny"]] > 50)
        replace(place.root / "tiny-student", place.root / "new")
        running.until(lambda: load.hashes[new] > 50)
        assert running.metric('filterkit_reloads_total{filter="tiny",result="swapped"}') == 1
        assert running.metric(f'filterkit_student_info{{filter="tiny",student_hash="{new}",version="1"}}') == 1
        old = place.hashes["tiny"]
        assert running.metric(f'filterkit_student_info{{filter="tiny",student_hash="{old}",version="1"}}') == 0


def test_a_broken_student_takes_nothing_over(place: Place) -> None:
    weights = place.root / "tiny-student" / "toy.json"
    with place.serve("--watch", "0.1") as running, under_load(running) as load:
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1])
        running.until(lambda: running.log("reload_refused"))
        assert "toy.json is damaged" in running.log("reload_refused")[0]["why"]
        running.until(lambda: load.statuses[200] > 50)
        weights.unlink()
        running.until(lambda: len(running.log("reload_refused")) > 1)
        weights.write_bytes(whole)
        running.until(lambda: len(running.log("reloaded")) == 1)
        assert running.metric('filterkit_reloads_total{filter="tiny",result="refused"}') >= 2
    assert set(load.hashes) == {place.hashes["tiny"]}


def test_a_student_that_cannot_score_takes_nothing_over(place: Place) -> None:
    write_student(place.root / "new", place.root / "tiny", means=[float("nan")] * 3)
    with place.serve("--watch", "0.1") as running:
        replace(place.root / "tiny-student", place.root / "new")
        running.until(lambda: running.log("reload_refused"))
        assert "cannot score" in running.log("reload_refused")[0]["why"]
        assert running.score(ARTICLE).json["student_hash"] == place.hashes["tiny"]


def test_what_the_local_deployer_activates_is_served(place: Place) -> None:
    spec = load_filter(place.root / "tiny").spec
    deployer = LocalDeployer(LocalOptions(), spec, Context(workdir=place.root, root=place.root))
    students = [place.root / "tiny-student", place.root / "second"]
    hashes = [place.hashes["tiny"], write_student(students[1], place.root / "tiny", rows=30)]
    first, second = (deployer.publish(folder, hash) for folder, hash in zip(students, hashes, strict=True))
    deployer.activate(first)
    live = {"tiny": "deployments/tiny"}
    with place.serve("--watch", "0.1", students=live) as running, under_load(running) as load:
        running.until(lambda: load.hashes[hashes[0]] > 20)
        deployer.activate(second)
        running.until(lambda: load.hashes[hashes[1]] > 20)
        deployer.activate(first)
        seen = load.hashes[hashes[0]]
        running.until(lambda: load.hashes[hashes[0]] > seen + 20)
        current = place.root / "deployments" / "tiny" / "current.json"
        current.write_text('{"id": "../../../other"}')
        running.until(lambda: running.log("reload_refused"))
        assert "does not say which version is live" in running.log("reload_refused")[0]["why"]


def test_sighup_loads_at_once(place: Place) -> None:
    new = write_student(place.root / "new", place.root / "tiny", rows=30)
    with place.serve("--watch", "0") as running:
        replace(place.root / "tiny-student", place.root / "new")
        time.sleep(0.3)
        assert running.score(ARTICLE).json["student_hash"] == place.hashes["tiny"]
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: running.score(ARTICLE).json["student_hash"] == new)


def test_it_is_not_ready_before_its_students_are_loaded(place: Place) -> None:
    model = place.root / "site" / "fk_serve_toy.py"
    slow = "        import pathlib\n        while not pathlib.Path('go').exists(): time.sleep(0.02)\n"
    line = "        scorer = super().load"
    model.write_text(model.read_text().replace(line, slow + line))
    with place.serve(ready=False) as running:
        assert running.ask("GET", "/health").status == 200
        found = running.ask("GET", "/ready")
        assert (found.status, found.json) == (503, {"status": "loading"})
        refused = running.score(ARTICLE)
        assert (refused.status, refused.code) == (503, "not_ready")
        assert refused.headers["retry-after"]
        (place.root / "go").touch()
        running.wait_ready()
        assert running.score(ARTICLE).status == 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tiny"], "tiny/model: there is no student here"),
        (["tiny", "other", "--student", "tiny-student"], "2 filters need as many --student"),
        (["--student", "tiny-student"], "name at least one filter"),
        (["tiny", "--student", "nowhere"], "nowhere: there is no student here"),
        (["tiny", "--student", "other-student"], "trained for filter 'other'"),
        (["tiny", "tiny", "--student", "tiny-student", "--student", "tiny-student"], "tiny@1 is named twice"),
        (["tiny", "--student", "tiny-student", "--host", "0.0.0.0"], "export FILTERKIT_SERVE_TOKEN=…"),
        (["tiny", "--student", "tiny-student", "--host", "no.such.host.invalid"], "no such address"),
        (["tiny", "--student", "tiny-student", "--max-queue", "5"], "--max-queue 5 has no room"),
        (["tiny", "--student", "tiny-student", "--max-held", "5"], "--max-held 5 has no room"),
        (["tiny", "--student", "tiny-student", "--watch", "nan"], "--watch"),
        (["tiny", "--student", "tiny-student", "--read-timeout", "inf"], "--read-timeout"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line(
    shared_place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(shared_place.root)
    monkeypatch.syspath_prepend(str(shared_place.root / "site"))
    monkeypatch.setattr("filterkit.plugins._plugins", None)
    for name in [name for name in os.environ if name.startswith("FILTERKIT_")]:
        monkeypatch.delenv(name)
    port = [] if "--port" in arguments else ["--port", "0"]
    assert run(["serve", *arguments, *port]) == 2
    said = capfd.readouterr().err
    assert says in said.splitlines()[-1]
    assert "Traceback" not in said


@pytest.mark.parametrize("token", ["two words", "two\nlines", "schlüssel"])
def test_a_token_that_no_client_could_send_is_refused(
    shared_place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], token: str
) -> None:
    monkeypatch.chdir(shared_place.root)
    monkeypatch.setenv("FILTERKIT_SERVE_TOKEN", token)
    assert run(["serve", "tiny", "--student", "tiny-student", "--port", "0"]) == 2
    said = capfd.readouterr().err
    assert "FILTERKIT_SERVE_TOKEN" in said
    assert token not in said


def test_a_taken_port_is_said(
    shared_place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shared_place.root)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "tiny", "--student", "tiny-student", "--port", str(port)]) == 2
    assert "cannot listen there" in capsys.readouterr().err


def test_without_this_dist_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FILTERKIT_DISABLE_PLUGINS", "filterkit-serve")
    assert run(["serve", "tiny"]) == 2
    assert "pip install filterkit-serve" in capsys.readouterr().err
