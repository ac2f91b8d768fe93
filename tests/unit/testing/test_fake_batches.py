"""Batches of the fake provider, over HTTP in Gemini's words: what it takes, refuses, charges, and how jobs go on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from filterkit.errors import FilterkitError
from filterkit.testing.fake_llm import BATCH_FAULTS, FakeLLM, digest

pytest.importorskip("aiohttp")
MODEL = "gemini-3.5-flash-lite"
SCHEMA = {"type": "object", "properties": {"help": {"type": "number", "minimum": 0, "maximum": 10}}}


def body(article: str, **more: Any) -> dict[str, Any]:
    config = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA, **more}
    return {"contents": [{"role": "user", "parts": [{"text": article}]}], "generationConfig": config}


def line(key: str, article: str, **more: Any) -> bytes:
    return json.dumps({"key": key, "request": body(article, **more)}).encode() + b"\n"


LINES = b"".join(line(str(number), f"Article {number}") for number in range(10))


class Asker:
    """Speaks to the fake as bare HTTP; an answer is its status, its JSON (or text) and its headers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(
        self, method: str, path: str, sent: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, Any]:
        data = sent if isinstance(sent, bytes | None) else json.dumps(sent).encode()
        address = path if path.startswith("http") else f"{self.url}{path}"
        request = urllib.request.Request(address, data, {"x-goog-api-key": "k", **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, text, got = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            status, text, got = error.code, error.read(), error.headers
        try:
            return status, json.loads(text), got
        except ValueError:
            return status, text.decode(), got

    def upload(self, data: bytes, *, mime: str = "application/jsonl", size: int | None = None, offset: int = 0) -> Any:
        start = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(len(data) if size is None else size),
            "X-Goog-Upload-Header-Content-Type": mime,
        }
        status, said, headers = self("POST", "/upload/v1beta/files", {"file": {"displayName": "f"}}, start)
        if status != 200:
            return status, said
        put = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": str(offset)}
        status, said, _ = self("POST", headers["x-goog-upload-url"], data, put)
        return status, said

    def submit(self, file: str, name: str = "token-1", model: str = MODEL) -> tuple[int, Any]:
        sent = {"batch": {"displayName": name, "inputConfig": {"fileName": file}}}
        return self("POST", f"/v1beta/models/{model}:batchGenerateContent", sent)[:2]

    def job(self, data: bytes = LINES, name: str = "token-1") -> str:
        status, said = self.upload(data)
        assert status == 200
        status, said = self.submit(said["file"]["name"], name)
        assert status == 200
        return str(said["name"])

    def look(self, name: str) -> Any:
        return self("GET", f"/v1beta/{name}")[1]

    def state(self, name: str) -> str:
        return str(self.look(name)["metadata"]["state"]).removeprefix("BATCH_STATE_")

    def results(self, name: str) -> list[Any]:
        file = self.look(name)["metadata"]["output"]["responsesFile"]
        status, text, _ = self("GET", f"/v1beta/{file}:download?alt=media")  # redirects to where it lies
        assert status == 200
        return [json.loads(one) for one in (text if isinstance(text, str) else json.dumps(text)).splitlines()]


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with FakeLLM(batch_lag_s=0.0) as server:
        yield server


@pytest.fixture
def ask(server: FakeLLM) -> Asker:
    return Asker(server.url)


def test_a_job_answers_each_article_once_at_half_price(server: FakeLLM, ask: Asker) -> None:
    job = ask.job()
    for _ in range(3):
        assert [one["key"] for one in ask.results(job)] == [str(number) for number in range(10)]
    assert ask.look(job)["metadata"]["batchStats"] == {"requestCount": "10", "successfulRequestCount": "10"}
    assert server.paid() == {"live": {}, "batch": {digest(f"Article {number}"): 1 for number in range(10)}}
    state = server.state()
    assert (state["requests"], state["batches"], state["batch_answered"]) == (0, 1, 10)
    assert state["tokens"] == {}
    assert state["batch_tokens"]["input"] > 0


def test_an_answer_is_the_one_of_a_live_request(server: FakeLLM, ask: Asker) -> None:
    batch = ask.results(ask.job(line("a", "The article")))[0]["response"]
    live = ask("POST", f"/v1beta/models/{MODEL}:generateContent", body("The article"))[1]
    assert batch | {"responseId": ""} == live | {"responseId": ""}
    first, second = server.exchanges
    assert (first.article, first.config, first.schema, first.system) == (
        second.article,
        second.config,
        second.schema,
        second.system,
    )
    assert first.batch
    assert not second.batch
    assert set(server.paid()["live"]) == set(server.paid()["batch"])


def test_a_job_takes_its_time() -> None:
    with FakeLLM(batch_lag_s=1.0) as server:
        ask = Asker(server.url)
        job = ask.job()
        seen = [ask.state(job)]
        paid = []
        while seen[-1] != "SUCCEEDED":
            time.sleep(0.02)
            paid.append(server.state()["batch_answered"])
            seen.append(ask.state(job))
    assert list(dict.fromkeys(seen)) == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert paid == sorted(paid)
    assert any(0 < count < 10 for count in paid)


def test_a_cancelled_job_keeps_what_was_answered_and_runs_no_more() -> None:
    with FakeLLM(batch_lag_s=2.0) as server:
        ask = Asker(server.url)
        job = ask.job()
        while "successfulRequestCount" not in ask.look(job)["metadata"]["batchStats"]:
            time.sleep(0.02)
        assert ask("POST", f"/v1beta/{job}:cancel")[0] == 200
        assert ask.state(job) == "CANCELLING"
        while ask.state(job) != "CANCELLED":
            time.sleep(0.02)
        answered = [one["key"] for one in ask.results(job) if "response" in one]
        stopped = [one for one in ask.results(job) if "error" in one]
        assert 0 < len(answered) < 10
        assert len(answered) + len(stopped) == 10
        assert server.state()["batch_answered"] == len(answered)
        assert ask("POST", f"/v1beta/{job}:cancel")[0] == 400  # it is over


@pytest.mark.parametrize(
    ("fault", "state", "keys"),
    [
        ("expires", "EXPIRED", "01234"),
        ("stopped", "CANCELLED", "0123456789"),
        ("unanswered", "SUCCEEDED", "012456789"),
        ("repeated", "SUCCEEDED", "012345678905"),
    ],
)
def test_faults_of_jobs(server: FakeLLM, ask: Asker, fault: str, state: str, keys: str) -> None:
    server.change(batch_script=[fault])
    job = ask.job()
    assert ask.state(job) == state
    results = ask.results(job)
    assert "".join(one["key"] for one in results) == keys
    answered = {one["key"] for one in results if "response" in one}
    assert server.state()["batch_answered"] == len(answered)  # a line that comes twice is charged once
    assert set(server.paid()["batch"].values()) == {1}


def test_results_in_another_order(server: FakeLLM, ask: Asker) -> None:
    server.change(batch_script=["shuffled"])
    keys = [one["key"] for one in ask.results(ask.job())]
    assert keys != sorted(keys)
    assert sorted(keys) == [str(number) for number in range(10)]


def test_a_job_that_fails_is_not_charged(server: FakeLLM, ask: Asker) -> None:
    server.change(batch_script=["fails"])
    said = ask.look(ask.job())
    assert said["metadata"]["state"] == "BATCH_STATE_FAILED"
    assert said["error"]["message"] == "the batch failed"
    assert "output" not in said["metadata"]
    assert server.paid()["batch"] == {}


def test_a_line_that_is_no_json(server: FakeLLM, ask: Asker) -> None:
    server.change(batch_script=["garbled"])
    with pytest.raises(json.JSONDecodeError):
        ask.results(ask.job())


def test_articles_meet_faults_as_live_ones_do(server: FakeLLM, ask: Asker) -> None:
    server.change(always={"Article 3": "malformed", "Article 4": "server_error", "Article 5": "hang"})
    results = {one["key"]: one for one in ask.results(ask.job(LINES + line("bad", "Another", temperature=9)))}
    text = results["3"]["response"]["candidates"][0]["content"]["parts"][0]["text"]
    assert text.startswith("I have read")
    for key in ("4", "5", "bad"):
        assert "response" not in results[key]
    assert results["bad"]["error"]["code"] == 3
    assert "temperature" in results["bad"]["error"]["message"]
    assert digest("Article 4") not in server.paid()["batch"]


def test_a_submit_whose_answer_is_lost_was_accepted(server: FakeLLM, ask: Asker) -> None:
    server.change(batch_script=["submit_lost"])
    _, said = ask.upload(LINES)
    with pytest.raises((HTTPException, OSError)):
        ask.submit(said["file"]["name"])
    listed = ask("GET", "/v1beta/batches")[1]["operations"]
    assert [one["metadata"]["displayName"] for one in listed] == ["token-1"]


def test_a_new_job_may_not_be_listed_at_once(server: FakeLLM, ask: Asker) -> None:
    server.change(batch_listed_after_s=1000)
    job = ask.job()
    assert "operations" not in ask("GET", "/v1beta/batches")[1]
    assert ask.state(job) == "SUCCEEDED"
    server.change(batch_listed_after_s=0)
    assert len(ask("GET", "/v1beta/batches")[1]["operations"]) == 1


def test_the_list_is_newest_first_in_pages(ask: Asker) -> None:
    for number in range(5):
        ask.job(line("a", "x"), f"token-{number}")
    seen, page = [], ""
    while True:
        said = ask("GET", f"/v1beta/batches?pageSize=2&pageToken={page or 0}")[1]
        seen += [one["metadata"]["displayName"] for one in said["operations"]]
        page = said.get("nextPageToken")
        if page is None:
            break
    assert seen == [f"token-{number}" for number in reversed(range(5))]


def test_faults_of_uploads(server: FakeLLM, ask: Asker) -> None:
    server.change(batch_script=["upload_error", "upload_limit", "upload_cut"])
    assert ask.upload(LINES)[0] == 503
    assert ask.upload(LINES)[0] == 429
    with pytest.raises((HTTPException, OSError)):
        ask.upload(LINES)
    assert server.state()["files"] == 0
    assert ask.upload(LINES)[0] == 200


def test_an_upload_has_to_be_what_it_was_said_to_be(server: FakeLLM, ask: Asker) -> None:
    server.change(batch_file_bytes=len(LINES))
    assert ask.upload(LINES, size=len(LINES) - 1)[0] == 400
    assert ask.upload(LINES, size=len(LINES) - 1, offset=3)[0] == 400
    status, said = ask.upload(LINES + b"\n")
    assert status == 400
    assert f"at most {len(LINES)} are allowed" in said["error"]["message"]
    assert ask("POST", "/upload/v1beta/files", {"file": {}}, {"X-Goog-Upload-Command": "start"})[0] == 400
    assert server.state()["files"] == 0
    assert ask.upload(LINES)[0] == 200


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        ({"inputConfig": {"fileName": "FILE"}}, "display_name is required"),
        ({"displayName": "t", "inputConfig": {"fileName": "files/none"}}, "File files/none not found"),
        ({"displayName": "t", "inputConfig": {}}, "exactly one source"),
        ({"displayName": "t", "inputConfig": {"fileName": "FILE", "requests": {}}}, "exactly one source"),
        ({"displayName": "t", "inputConfig": {"file": "FILE"}}, 'Unknown name "file"'),
        ({"display_name": "t", "inputConfig": {"fileName": "FILE"}}, "Unknown name"),
    ],
)
def test_what_is_no_batch_is_refused(ask: Asker, batch: dict[str, Any], why: str) -> None:
    name = ask.upload(LINES)[1]["file"]["name"]
    sent = json.loads(json.dumps({"batch": batch}).replace("FILE", name))
    status, said, _ = ask("POST", f"/v1beta/models/{MODEL}:batchGenerateContent", sent)
    assert status == 400
    assert why in said["error"]["message"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{}\n", "Line 1 of the input file needs a key"),
        (LINES + b"nonsense\n", "Line 11 of the input file is no JSON"),
        (b'{"key": "a", "request": {}, "model": "m"}\n', 'Unknown name "model"'),
        (b'{"key": 1, "request": {}}\n', "needs a key"),
    ],
)
def test_a_file_that_is_no_list_of_requests_fails_its_job(server: FakeLLM, ask: Asker, data: bytes, why: str) -> None:
    said = ask.look(ask.job(data))
    assert said["metadata"]["state"] == "BATCH_STATE_FAILED"
    assert why in said["error"]["message"]
    assert server.paid()["batch"] == {}


def test_who_has_no_key_or_the_wrong_one_gets_nothing(server: FakeLLM, ask: Asker) -> None:
    job = ask.job()
    file = ask.look(job)["metadata"]["output"]["responsesFile"]
    server.change(api_key="right")
    for method, path in (
        ("GET", "/v1beta/batches"),
        ("GET", f"/v1beta/{job}"),
        ("DELETE", f"/v1beta/{job}"),
        ("GET", f"/download/v1beta/{file}:download?alt=media"),
        ("POST", f"/v1beta/models/{MODEL}:batchGenerateContent"),
    ):
        assert ask(method, path)[0] == 400
    assert ask.upload(LINES)[0] == 400


def test_files_and_jobs_are_deleted(server: FakeLLM, ask: Asker) -> None:
    job = ask.job()
    file = ask.look(job)["metadata"]["inputConfig"]["fileName"]
    assert ask("GET", f"/v1beta/{file}:download?alt=media")[0] == 400  # what was uploaded does not come back
    assert ask("DELETE", f"/v1beta/{file}")[0] == 200
    assert ask("GET", f"/v1beta/{file}")[0] == 403
    assert ask("DELETE", f"/v1beta/{job}")[0] == 200
    assert ask("GET", f"/v1beta/{job}")[0] == 404
    assert server.batches() == []


def test_inline_requests(ask: Asker) -> None:
    inline = {"requests": [{"request": {"model": f"models/{MODEL}", **body("x")}, "metadata": {"key": "a"}}]}
    sent = {"batch": {"displayName": "t", "inputConfig": {"requests": inline}}}
    _, said, _ = ask("POST", f"/v1beta/models/{MODEL}:batchGenerateContent", sent)
    (one,) = ask.look(said["name"])["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]
    assert one["metadata"] == {"key": "a"}
    assert one["response"]["candidates"]


def test_a_server_in_its_own_process_outlives_ours() -> None:
    command = [sys.executable, "-m", "filterkit.testing.fake_llm", "--port", "0", "--batch-lag", "0"]
    command += ["--batch-script", "ok,expires", "--batch-fault", "repeated=1", "--always", "Article 1=blocked"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        first, second = (_submit_in_another_process(found.group()) for _ in range(2))
        ask = Asker(found.group())
        assert ask.state(first) == "SUCCEEDED"
        assert ask.state(second) == "EXPIRED"
        assert len(ask.results(first)) == 12
        assert "promptFeedback" in ask.results(first)[1]["response"]
        paid = ask("GET", "/_fake/paid")[1]["batch"]
        assert paid[digest("Article 1")] == 2
        assert [job["status"] for job in ask("GET", "/_fake/batches")[1]["batches"]] == ["succeeded", "expired"]
    finally:
        server.terminate()
        server.wait(20)


def _submit_in_another_process(url: str) -> str:
    script = "from test_fake_batches import Asker; import sys; print(Asker(sys.argv[1]).job())"
    command = [sys.executable, "-c", script, url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()


def test_counts_reach_over_a_process_and_a_reset() -> None:
    with FakeLLM(process=True, batch_lag_s=0, batch_faults={"shuffled": 1.0}) as server:
        ask = Asker(server.url)
        ask.results(ask.job())
        assert len(server.paid()["batch"]) == 10
        assert server.batches()[0]["faults"] == ["shuffled"]
        server.reset()
        assert server.batches() == []
        assert server.paid() == {"live": {}, "batch": {}}


def test_unknown_faults_are_named() -> None:
    with pytest.raises(FilterkitError, match="Did you mean 'submit_lost'"):
        FakeLLM(batch_script=["submit_last"])
    with pytest.raises(FilterkitError, match="unknown fault 'malformed'"):
        FakeLLM(batch_faults={"malformed": 1.0})
    stages = {what.partition(":")[0] for what in BATCH_FAULTS.values()}
    assert stages == {"upload", "submit", "poll", "job", "results"}
