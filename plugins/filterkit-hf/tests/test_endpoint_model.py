"""Model `huggingface-endpoint` against servers that speak as documented, and against servers that go wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filterkit_hf import server as server_module
from filterkit_hf.endpoint_model import EndpointModel, EndpointScorer
from filterkit_hf.server import Patience, Server
from scoring_servers import CUT, Fault, ScoringServer, expected

from filterkit.api import ArtifactError, BackendError, ConfigError, Context, StoppedEarly
from filterkit.testing.samples import SECRET, fake_context, tiny_spec

SPEC = tiny_spec()
NAMES = SPEC.names
TEXTS = [f"article {i} about neighbours" for i in range(70)]
KINDS = ("labels", "tei", "vllm")
Load = Callable[..., EndpointScorer]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Makes scorers; keywords are options. They wait briefly, where no server says how long."""
    monkeypatch.setattr(server_module, "_backoff", lambda tries: 0.05)
    made: list[EndpointScorer] = []

    def make(url: str, ctx: Context | None = None, **options: Any) -> EndpointScorer:
        given = EndpointModel.Options.model_validate({"timeout_s": 5, "retries": 1, "cold_start_s": 3, **options})
        made.append(EndpointModel(given, SPEC, ctx or fake_context(tmp_path)).load(url))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for scorer in made:
        scorer.close()
        scorer.close()


def scores(scorer: EndpointScorer, texts: list[str]) -> Any:
    prediction = scorer.predict(scorer.encode(texts))
    assert not prediction.errors
    return prediction.scores


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_many_texts_in_their_order(kind: Any, load: Load) -> None:
    with ScoringServer(kind, NAMES) as server:
        scorer = load(server.url, batch_size=8, concurrency=3)
        np.testing.assert_array_equal(scores(scorer, TEXTS), expected(TEXTS, NAMES))
        sent = [asked.body.get("inputs") or asked.body["input"] for asked in server.posts]
        assert len(sent) == 9, "nine requests for 70 texts, eight in each"
        assert max(map(len, sent)) == 8
        assert scorer.max_batch == 24
        np.testing.assert_array_equal(scores(scorer, TEXTS[:1]), expected(TEXTS[:1], NAMES))
        assert scores(scorer, []).shape == (0, len(NAMES))


def test_several_requests_are_on_their_way_but_not_more_than_allowed(load: Load) -> None:
    all_there = threading.Barrier(3)

    def when_all_are_there(answer: Any) -> Any:
        all_there.wait(timeout=60)
        return answer

    with ScoringServer("labels", NAMES, twist=when_all_are_there) as server:
        scorer = load(server.url, batch_size=2, concurrency=3, timeout_s=60)
        np.testing.assert_array_equal(scores(scorer, TEXTS[:12]), expected(TEXTS[:12], NAMES))
        assert server.together == 3


def test_two_texts_are_no_pair(load: Load) -> None:
    with ScoringServer("tei", NAMES) as server:
        scores(load(server.url), TEXTS[:2])
        assert server.posts[0].body["inputs"] == [[TEXTS[0]], [TEXTS[1]]]


def test_a_server_takes_fewer_texts_than_we_would_send(load: Load) -> None:
    with ScoringServer("tei", NAMES, most=4) as server:
        np.testing.assert_array_equal(scores(load(server.url), TEXTS[:10]), expected(TEXTS[:10], NAMES))
        assert sorted(len(asked.body["inputs"]) for asked in server.posts) == [2, 4, 4]
    with ScoringServer("tei", NAMES, most=4) as server:
        server.look = lambda path: None  # type: ignore[method-assign] # it does not say so
        found = scores(load(server.url, dialect="tei"), TEXTS[:10])
        np.testing.assert_array_equal(found, expected(TEXTS[:10], NAMES))


def test_a_served_model_by_name(load: Load) -> None:
    with ScoringServer("vllm", NAMES, models=["one", "two"]) as server:
        with pytest.raises(ConfigError, match=r"has the models one, two\. Set the option served_model"):
            load(server.url).predict(TEXTS[:1])
        with pytest.raises(ConfigError, match="has no model 'three', but one, two"):
            load(server.url, served_model="three").predict(TEXTS[:1])
        scores(load(server.url, served_model="two"), TEXTS[:1])
        assert server.posts[-1].body["model"] == "two"
        assert server.posts[-1].body["truncate_prompt_tokens"] == 40, "the model reads no more"


def test_a_server_that_wakes_up_is_waited_for(load: Load) -> None:
    with ScoringServer("labels", NAMES, faults=[Fault(503, "scaling")] * 2) as server:
        with pytest.warns(UserWarning, match="is starting or overloaded") as told:
            found = scores(load(server.url, retries=0), TEXTS[:3])
        np.testing.assert_array_equal(found, expected(TEXTS[:3], NAMES))
        assert len(told) == 1


def test_a_server_that_never_wakes_up(load: Load) -> None:
    with ScoringServer("labels", NAMES, always=Fault(503, '{"error": "no replica"}')) as server:
        scorer = load(server.url, cold_start_s=0.3)
        with pytest.warns(UserWarning, match="503"), pytest.raises(StoppedEarly, match="503: no replica") as caught:
            scorer.predict(TEXTS[:1])
        assert caught.value.exit_code == 4
        assert server.url in str(caught.value)


def test_the_pause_that_a_server_asks_for(load: Load) -> None:
    with ScoringServer("labels", NAMES, faults=[Fault(429, headers={"Retry-After": "1"})]) as server:
        scores(load(server.url), TEXTS[:1])
        first, second = server.posts
        assert second.at - first.at >= 1
    with ScoringServer("labels", NAMES, faults=[Fault(429, "slow down", {"Retry-After": "3600"})]) as server:
        began = time.monotonic()
        with pytest.raises(StoppedEarly, match=r"429: slow down.*asks for 3,600 seconds"):
            load(server.url).predict(TEXTS[:1])
        assert time.monotonic() - began < 60, "nobody waits for an hour"
        assert len(server.posts) == 1


@pytest.mark.parametrize("fault", [CUT, Fault(502), Fault(504)])
def test_what_goes_wrong_once_is_tried_again(fault: Any, load: Load) -> None:
    with ScoringServer("labels", NAMES, faults=[fault]) as server:
        np.testing.assert_array_equal(scores(load(server.url), TEXTS[:3]), expected(TEXTS[:3], NAMES))
    with ScoringServer("labels", NAMES, always=fault) as server:
        with pytest.raises(StoppedEarly, match="does not answer"):
            load(server.url).predict(TEXTS[:3])
        assert len(server.posts) == 2, "one try and one retry"


def test_a_server_that_is_not_there(load: Load) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(StoppedEarly, match="does not answer"):
        load(url, retries=0).predict(TEXTS[:1])


def test_a_server_that_hangs(load: Load) -> None:
    with (
        ScoringServer("labels", NAMES, always=Fault(pause=2)) as server,
        pytest.raises(StoppedEarly, match="ReadTimeout"),
    ):
        load(server.url, timeout_s=0.3, retries=0).predict(TEXTS[:1])


def test_an_answer_without_end(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_MOST_BYTES", 100_000)
    with (
        ScoringServer("labels", NAMES, always=Fault(body=b" " * 1_000_000)) as server,
        pytest.raises(BackendError, match="more than 100,000 bytes"),
    ):
        load(server.url).predict(TEXTS[:1])


def _first_row(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[Any], Any]:
    return lambda answer: [change(answer[0]), *answer[1:]]


@pytest.mark.parametrize(
    ("twist", "says"),
    [
        (lambda answer: answer[:-1], "answers 2 texts of 3"),
        (lambda answer: [*answer, answer[0]], "answers 4 texts of 3"),
        (lambda answer: {"error": "out of memory"}, r"an object \(out of memory\)"),
        (lambda answer: None, "answers with nothing"),
        (lambda answer: ["help", 1, None], "something else than labels and scores"),
        (_first_row(lambda row: row[:-1]), "has the labels"),
        (_first_row(lambda row: [*row, {"label": "other", "score": 1}]), "has the labels .*other"),
        (_first_row(lambda row: [row[0], row[0], *row[1:]]), "has the labels"),
        (_first_row(lambda row: [*row[:-1], {"label": "POSITIVE", "score": 1}]), "has the labels .*POSITIVE"),
        (_first_row(lambda row: [{**one, "score": None} for one in row]), "the score None"),
        (_first_row(lambda row: [{**one, "score": "7"} for one in row]), "the score 7, which is no number"),
        (_first_row(lambda row: [{**one, "score": True} for one in row]), "the score True"),
        (_first_row(lambda row: [{**one, "score": float("nan")} for one in row]), "no JSON"),
        (_first_row(lambda row: [{**one, "score": 10**400} for one in row]), "no number"),
        (_first_row(lambda row: [{**one, "score": 1e300} for one in row]), "no number"),
        (_first_row(lambda row: [{**one, "label": ["help"]} for one in row]), "has the labels"),
    ],
)
def test_answers_that_make_no_sense(twist: Any, says: str, load: Load) -> None:
    with (
        ScoringServer("labels", NAMES, twist=twist) as server,
        pytest.raises((BackendError, ArtifactError), match=says) as caught,
    ):
        load(server.url).predict(TEXTS[:3])
    assert caught.value.where == server.url


def test_a_page_instead_of_json(load: Load) -> None:
    with (
        ScoringServer("labels", NAMES, always=Fault(body="<html>hello</html>")) as server,
        pytest.raises(BackendError, match="no JSON: <html>hello"),
    ):
        load(server.url).predict(TEXTS[:1])


@pytest.mark.parametrize(
    ("twist", "says"),
    [
        (lambda answer: answer["data"], "answers with nothing instead of a list"),
        (lambda answer: {**answer, "data": answer["data"][1:]}, "answers 2 texts of 3"),
        (lambda answer: {**answer, "data": [answer["data"][0]] * 3}, "other texts than were sent"),
        (lambda answer: {**answer, "data": [{**one, "index": [0]} for one in answer["data"]]}, "other texts"),
        (
            lambda answer: {**answer, "data": [{**one, "probs": [1.0]} for one in answer["data"]]},
            "instead of 3 numbers",
        ),
        (lambda answer: {**answer, "data": [{**one, "probs": None} for one in answer["data"]]}, "answers with nothing"),
    ],
)
def test_answers_of_vllm_that_make_no_sense(twist: Any, says: str, load: Load) -> None:
    with ScoringServer("vllm", NAMES, twist=twist) as server, pytest.raises(BackendError, match=says) as caught:
        load(server.url).predict(TEXTS[:3])
    assert caught.value.where == server.url


def test_labels_in_another_order_are_noticed(load: Load) -> None:
    def turned(answer: Any) -> Any:
        return {**answer, "data": [{**one, "probs": one["probs"][::-1]} for one in answer["data"]]}

    with ScoringServer("vllm", NAMES, twist=turned) as server, pytest.raises(ArtifactError, match="has the labels"):
        load(server.url).predict(TEXTS)


def test_a_text_that_is_refused_is_a_failed_row(load: Load) -> None:
    for kind in KINDS:
        with ScoringServer(kind, NAMES, refuses=TEXTS[5]) as server:  # type: ignore[arg-type]
            prediction = load(server.url).predict(TEXTS[:20])
            assert list(prediction.errors) == [5]
            assert "422: Tokenization error" in prediction.errors[5]
            assert np.isnan(prediction.scores[5]).all()
            kept = [i for i in range(20) if i != 5]
            np.testing.assert_array_equal(prediction.scores[kept], expected([TEXTS[i] for i in kept], NAMES))


def test_a_row_without_scores_is_a_failed_row(load: Load) -> None:
    with ScoringServer("labels", NAMES, twist=_first_row(lambda row: [])) as server:
        prediction = load(server.url).predict(TEXTS[:3])
        assert list(prediction.errors) == [0]
        assert "has no scores for it" in prediction.errors[0]


def test_a_server_that_always_fails_is_an_outage(load: Load) -> None:
    with (
        ScoringServer("labels", NAMES, always=Fault(500, '{"error": "boom"}')) as server,
        pytest.raises(StoppedEarly, match=r"fails at every request \(500: boom\)"),
    ):
        load(server.url).predict(TEXTS[:3])


def test_a_server_that_refuses_everything_is_named_once(load: Load) -> None:
    with (
        ScoringServer("labels", NAMES, always=Fault(400, '{"error": "not a classifier"}')) as server,
        pytest.raises(ConfigError, match=r"refuses every request \(400: not a classifier\)"),
    ):
        load(server.url).predict(TEXTS[:4])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_texts_and_token_follow_no_redirect(status: int, load: Load) -> None:
    with ScoringServer("labels", NAMES) as other:
        away = Fault(status, headers={"Location": f"{other.url}/"})
        with (
            ScoringServer("labels", NAMES, always=away) as server,
            pytest.raises(ConfigError, match="sends us elsewhere") as caught,
        ):
            load(server.url).predict(TEXTS[:1])
        assert other.url in str(caught.value)
        assert not other.asked


def test_a_token_goes_where_it_may(load: Load, tmp_path: Path) -> None:
    with ScoringServer("labels", NAMES, token=SECRET) as server:
        scores(load(server.url), TEXTS[:1])
        with pytest.raises(ConfigError, match=r"asks for a token, and none was sent \(401"):
            load(server.url, authenticate=False).predict(TEXTS[:1])
    assert load("https://abc.us-east-1.aws.endpoints.huggingface.cloud").server.token == SECRET
    for address in (
        "https://scores.example.com",
        "http://scores.example.com",
        "https://huggingface.co.example.com",
        "https://me-x.hf.space",
    ):
        assert load(address).server.token is None, "nobody said that it may go there"
    assert load("https://scores.example.com", authenticate=True).server.token == SECRET
    with pytest.raises(ConfigError, match="over plain http"):
        load("http://scores.example.com", authenticate=True)
    nothing = Context(workdir=tmp_path)
    with ScoringServer("labels", NAMES) as server:
        scores(load(server.url, nothing, token_env="NO_SUCH_TOKEN_HERE"), TEXTS[:1])
        assert all("authorization" not in asked.headers for asked in server.asked)
        with pytest.raises(ConfigError, match="NO_SUCH_TOKEN_HERE is not set"):
            load(server.url, nothing, authenticate=True, token_env="NO_SUCH_TOKEN_HERE")


def test_a_server_that_sends_our_token_back_spreads_it_no_further(load: Load) -> None:
    with ScoringServer("labels", NAMES, token="another") as server:
        with pytest.raises(ConfigError, match="the token is not accepted") as caught:
            load(server.url).predict(TEXTS[:1])
        assert SECRET in server.posts[0].headers["authorization"]
    assert SECRET not in str(caught.value)
    assert "[secret]" in str(caught.value)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("ftp://x.example.com", "no address of a server"),
        ("https://", "no address of a server"),
        ("https://x.example.com:99999", "no address of a server"),
        (f"https://me:{SECRET}@x.example.com", "no user and no password"),
        ("https://x.example.com/?key=1", r"before \? and #"),
    ],
)
def test_addresses_that_are_none(address: str, says: str, load: Load) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load(address)
    assert SECRET not in str(caught.value)


def test_a_pause_that_is_no_number_is_none(load: Load) -> None:
    with ScoringServer("labels", NAMES, faults=[Fault(429, headers={"Retry-After": "\u00b2"})]) as server:
        np.testing.assert_array_equal(scores(load(server.url), TEXTS[:1]), expected(TEXTS[:1], NAMES))


def test_patience_begins_anew_with_each_call(load: Load) -> None:
    """A server that was given up on is waited for again, also with a single request."""
    with ScoringServer("labels", NAMES, always=Fault(429)) as server:
        scorer = load(server.url, batch_size=2)
        with pytest.raises(StoppedEarly):
            scorer.predict(TEXTS[:6])
        server.always, server.faults = None, [Fault(429)]
        np.testing.assert_array_equal(scores(scorer, TEXTS[:2]), expected(TEXTS[:2], NAMES))


def test_an_address_with_a_path(load: Load) -> None:
    with ScoringServer("labels", NAMES) as server, pytest.raises(ConfigError, match="nothing there answers"):
        load(f"{server.url}/elsewhere/").predict(TEXTS[:1])
    assert server.posts[0].path == "/elsewhere"


def test_odd_texts_arrive(load: Load) -> None:
    odd = ["", "\ud800 alone", "nul \x00", "汉字 👩‍👩‍👧", "x" * 100_000]
    with ScoringServer("labels", NAMES) as server:
        scores(load(server.url), odd)
        sent = [text for asked in server.posts for text in asked.body["inputs"]]
        assert sent == ["", "\ufffd alone", *odd[2:]]


def test_verdicts_of_a_plain_server_are_none(load: Load) -> None:
    for kind in KINDS:
        with ScoringServer(kind, NAMES) as server:  # type: ignore[arg-type]
            assert load(server.url).verdicts([{"title": "a", "content": "b"}]) is None


def test_it_is_an_inference_client_that_tells_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with ScoringServer("labels", NAMES) as server:
        server._labels = lambda path, body: [server._best_first(body["inputs"])]  # type: ignore[method-assign]
        client = Server(server.url, None, Patience(5, 0, 0))
        found = client.text_classification("a text", top_k=3, function_to_apply="none")
        client.close()
        assert {one.label for one in found} == set(NAMES)
        assert server.posts[0].body["parameters"] == {"top_k": 3, "function_to_apply": "none"}
        assert "authorization" not in server.posts[0].headers, "not even the token of this machine"


def test_a_server_may_say_whose_verdicts_it_gives(tmp_path: Path) -> None:
    options = EndpointModel.Options.model_validate({"timeout_s": 5, "retries": 0, "cold_start_s": 0})
    model = EndpointModel(options, SPEC, fake_context(tmp_path))  # type: ignore[arg-type]
    for verdict, said in (({"student_hash": "b" * 64}, "b" * 64), ({}, None), ({"student_hash": 7}, None)):
        with ScoringServer("labels", NAMES) as server:
            server._labels = lambda path, body, verdict=verdict: [  # type: ignore[misc]
                {"scores": {}, **verdict} if isinstance(one, dict) else server._best_first(one)
                for one in body["inputs"]
            ]
            assert model.student_hash(server.url) == said
    for kind in KINDS:
        with ScoringServer(kind, NAMES) as server:  # type: ignore[arg-type]
            assert model.student_hash(server.url) is None
