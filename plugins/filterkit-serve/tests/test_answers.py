"""What is answered, and by whom."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from running import ARTICLE, Place, Running, write_student

from filterkit.api import load_student

TOKEN = "a-long-and-secret-token"


def test_an_article_gets_the_verdict_that_the_student_gives_it(server: Running, shared_place: Place) -> None:
    found = server.score({**ARTICLE, "filter": "tiny"})
    assert found.status == 200
    envelope = found.json
    (verdict,) = envelope.pop("verdicts")
    assert envelope == {"filter": "tiny", "version": "1", "student_hash": shared_place.hashes["tiny"]}
    (expected,) = load_student(shared_place.root / "tiny-student").judge([ARTICLE])
    assert verdict["id"] == "a1"
    assert {name: verdict[name] for name in expected.to_dict()} == expected.to_dict()
    assert set(verdict["raw"]) == {"help", "novelty", "is_advert"}


def test_several_articles_are_answered_in_order_and_fail_one_by_one(server: Running) -> None:
    articles = [
        {"id": "one", "content": "volunteers shared food"},
        {"id": "two", "content": ""},
        {"id": "three"},
        {"id": "four", "content": "notanumber"},
        {"id": "five", "title": 5, "content": "x"},
        {"id": "six", "content": "a sensor was invented"},
    ]
    verdicts = server.score({"articles": articles, "filter": "tiny"}).json["verdicts"]
    assert [v["id"] for v in verdicts] == [a["id"] for a in articles]
    assert [bool(v["scores"]) for v in verdicts] == [True, False, False, False, False, True]
    assert [v.get("error", "")[:16] for v in verdicts[1:5]] == [
        "content is empty",
        "content is missi",
        "the model gave n",
        "title must be te",
    ]


def test_no_articles_get_no_verdicts(server: Running) -> None:
    assert server.score({"articles": [], "filter": "tiny"}).json["verdicts"] == []


@pytest.mark.parametrize(
    ("path", "body", "filter"),
    [
        ("/v1/score", {"articles": [ARTICLE], "filter": "other"}, "other"),
        ("/v1/score?filter=other", {"articles": [ARTICLE]}, "other"),
        ("/v1/score?filter=tiny%401", ARTICLE, "tiny"),
        ("/v1/score", {**ARTICLE, "filter": "tiny@1"}, "tiny"),
    ],
)
def test_the_filter_is_chosen_by_name(server: Running, path: str, body: Any, filter: str) -> None:
    assert server.score(body, path).json["filter"] == filter


@pytest.mark.parametrize("path", ["/?filter=tiny", "/filters/tiny", "/filters/tiny@1"])
def test_the_wire_of_hugging_face(server: Running, path: str) -> None:
    one = server.score({"inputs": "volunteers shared food"}, path).json
    assert set(one["scores"]) == {"help", "novelty", "is_advert"}
    assert server.score({"inputs": ["volunteers shared food", ARTICLE]}, path).json[0] == one
    labels = server.score(
        {"inputs": "volunteers shared food", "parameters": {"top_k": 2, "function_to_apply": "none"}}, path
    ).json
    best = sorted(one["raw"].items(), key=lambda item: -item[1])[:2]
    assert labels == [[{"label": name, "score": score} for name, score in best]]


def test_one_filter_needs_no_name(shared_place: Place) -> None:
    with shared_place.serve() as running:
        assert running.score(ARTICLE).json["filter"] == "tiny"
        assert running.score({"inputs": "volunteers"}, "/").status == 200
        assert running.score({"inputs": "volunteers"}, "/filters/other").status == 404


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"content": NaN}', "NaN"),
        (b'{"articles": [{"content": "a", "x": -Infinity}]}', "Infinity"),
        (b"[" * 100_000, "nested"),
        (b"[]", "JSON object"),
        (b'"text"', "JSON object"),
        (b"{}", "content"),
        (b'{"articles": {}}', "list"),
        (b'{"articles": [5]}', "int"),
        (b'{"articles": [], "article": 1}', "'article'"),
        (b'{"articles": [], "\\ud800": 1}', "unknown key"),
        (b'{"content": "a", "filter": 3}', "name"),
        (b'{"content": "a"}', "tiny@1, other@1"),
    ],
)
def test_a_body_that_is_none_is_refused(server: Running, body: bytes, says: str) -> None:
    found = server.score(body)
    assert found.status == 400
    assert found.code in ("bad_request", "filter_needed")
    assert says in found.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/v1/score?filter=tyni", 404, "no_such_filter"),
        ("POST", "/filters/../tiny", 404, "not_found"),
        ("GET", "/v1/score", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
    ],
)
def test_an_address_that_is_none_is_refused(server: Running, method: str, path: str, status: int, code: str) -> None:
    found = server.ask(method, path, ARTICLE)
    assert (found.status, found.code) == (status, code)


def test_a_compressed_body_is_refused(server: Running) -> None:
    assert server.score(b"\x1f\x8b", content_encoding="gzip").code == "compressed"


def test_a_request_keeps_its_id(server: Running) -> None:
    assert server.score(ARTICLE, x_request_id="abc-1.2:3").headers["x-request-id"] == "abc-1.2:3"
    ids = {server.score(ARTICLE, x_request_id=given).headers["x-request-id"] for given in ("a b", "x" * 101, "")}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{24}", one) for one in ids)
    server.until(lambda: any(line["id"] == "abc-1.2:3" for line in server.log("request")))


def test_a_token_is_asked_for_wherever_something_could_be_learnt(shared_place: Place) -> None:
    with shared_place.serve(FILTERKIT_SERVE_TOKEN=TOKEN) as running:
        wrong = [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"authorization": f"Basic {TOKEN}"}]
        for headers in wrong:
            found = running.score(ARTICLE, **headers)
            assert (found.status, found.code) == (401, "unauthorized")
            assert found.headers["www-authenticate"] == "Bearer"
        for path in ("/v1/filters", "/metrics", "/nothing"):
            assert running.ask("GET", path).status == 401
        for path in ("/", "/page.js", "/page.css", "/icon.svg", "/health", "/ready", "/openapi.json"):
            assert running.ask("GET", path).status == 200
        right = {"authorization": f"bearer {TOKEN}"}
        assert running.score(ARTICLE, **right).status == 200
        assert running.metric('filterkit_errors_total{code="unauthorized"}', **right) == 7
        running.until(lambda: len(running.log("request")) > 10)
        assert TOKEN not in running.said()


def test_metrics_count_what_happened(shared_place: Place) -> None:
    with shared_place.serve() as running:
        running.score({"articles": [ARTICLE, {"content": ""}, {"content": "notanumber"}]})
        running.score(b"{")
        assert running.metric('filterkit_requests_total{route="/v1/score",status="200"}') == 1
        assert running.metric('filterkit_requests_total{route="/v1/score",status="400"}') == 1
        assert running.metric('filterkit_request_seconds_count{route="/v1/score"}') == 2
        assert running.metric('filterkit_articles_total{filter="tiny",outcome="scored"}') == 1
        assert running.metric('filterkit_articles_total{filter="tiny",outcome="failed"}') == 2
        assert running.metric('filterkit_batch_articles_sum{filter="tiny"}') == 3
        assert running.metric('filterkit_errors_total{code="bad_request"}') == 1
        assert running.metric('filterkit_queue_articles{filter="tiny"}') == 0
        assert running.metric("filterkit_held_bytes") == 0
        assert running.metric("filterkit_ready") == 1
        hash = shared_place.hashes["tiny"]
        assert running.metric(f'filterkit_student_info{{filter="tiny",student_hash="{hash}",version="1"}}') == 1


def test_versions_of_a_filter_share_its_queue_in_the_metrics(place: Place) -> None:
    shutil.copytree(place.root / "tiny", place.root / "newer")
    text = place.root / "newer" / "filter.yaml"
    text.write_text(text.read_text().replace('version: "1"', 'version: "2"'))
    write_student(place.root / "newer-student", place.root / "newer")
    with place.serve(filters=("tiny", "newer")) as running, ThreadPoolExecutor() as pool:
        slow = {"articles": [{"content": "sleep:0.5"}] * 3}
        asked = [pool.submit(running.score, slow, f"/v1/score?filter=tiny@{version}") for version in (1, 2)]
        running.until(lambda: running.metric('filterkit_queue_articles{filter="tiny"}') == 6)
        assert [one.result().json["version"] for one in asked] == ["1", "2"]
        assert running.metric('filterkit_queue_articles{filter="tiny"}') == 0


def test_what_is_served_is_described(server: Running, shared_place: Place) -> None:
    tiny, other = server.ask("GET", "/v1/filters").json["filters"]
    assert (tiny["filter"], other["filter"]) == ("tiny", "other")
    assert tiny["student_hash"] == shared_place.hashes["tiny"]
    assert tiny["scale"] == {"min": 0, "max": 10}
    assert [(d["name"], d["role"]) for d in tiny["dimensions"]] == [
        ("help", "score"),
        ("novelty", "score"),
        ("is_advert", "flag"),
    ]


def test_the_description_names_every_address_and_only_schemas_that_there_are(server: Running) -> None:
    found = server.ask("GET", "/openapi.json").json
    assert found["openapi"].startswith("3.1")
    for path, methods in found["paths"].items():
        for method in methods:
            answer = server.ask(method.upper(), path.replace("{name}", "tiny"), ARTICLE if method == "post" else None)
            assert answer.status in (200, 400), (path, method)
    paths = found["paths"]
    assert all("401" in paths[path]["get"]["responses"] for path in ("/v1/filters", "/metrics"))
    assert "503" in paths["/ready"]["get"]["responses"]
    (verdict,) = server.score({**ARTICLE, "filter": "tiny"}).json["verdicts"]
    assert set(verdict) <= set(found["components"]["schemas"]["Verdict"]["properties"])
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(found)))
    assert named == set(found["components"]["schemas"])


def test_the_log_says_what_happened_and_nothing_of_the_articles(server: Running) -> None:
    server.score({"content": "a very private sentence", "filter": "tiny"}, x_request_id="private-1")
    server.ask("GET", "/another/private/sentence?token=private", x_request_id="private-2")
    server.until(lambda: any(line["id"] == "private-2" for line in server.log("request")))
    line = next(line for line in server.log("request") if line["id"] == "private-1")
    assert line.pop("ms") > 0
    assert line.pop("at")
    assert line == {
        "event": "request",
        "id": "private-1",
        "method": "POST",
        "route": "/v1/score",
        "status": 200,
        "client": "127.0.0.1",
        "filter": "tiny",
        "articles": 1,
    }
    assert "private sentence" not in server.said()
    assert "token=private" not in server.said()
