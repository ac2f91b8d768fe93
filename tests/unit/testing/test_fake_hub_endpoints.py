"""Inference Endpoints of the fake Hub, driven by the real client; their handlers really run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, InferenceClient, InferenceEndpoint, constants
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, InferenceEndpointError

from filterkit.testing.fake_hub import FakeHub, Fault

HANDLER = b"""
import os
import sys
from part import SCORE
class EndpointHandler:
    def __init__(self, path):
        self.path = path
    def __call__(self, data):
        if data["inputs"] == "environment":
            return {"names": sorted(os.environ), "path": self.path, "secret": os.environ.get("SECRET")}
        if data["inputs"] == "nan":
            return float("nan")
        return [[{"label": "quality", "score": SCORE}] for _ in [data["inputs"]][: data["parameters"].get("top_k", 1)]]
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with FakeHub(cold_requests=2) as fake:
        monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", fake.endpoints_url)
        yield fake


@pytest.fixture
def api(hub: FakeHub) -> HfApi:
    api = HfApi(endpoint=hub.url, token=hub.token)
    api.create_repo("me/x", private=True)
    commit(api, {"handler.py": HANDLER, "part.py": b"SCORE = 1.5\n"})
    return api


def commit(api: HfApi, files: dict[str, bytes]) -> str:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit("me/x", operations, commit_message="Upload").oid


def create(api: HfApi, **others: Any) -> InferenceEndpoint:
    chosen = {"accelerator": "cpu", "instance_type": "intel-spr", "instance_size": "x1", "type": "authenticated"}
    place = {"vendor": "aws", "region": "us-east-1", "namespace": "me", "token": api.token}
    return api.create_inference_endpoint("ep", repository="me/x", framework="custom", **{**chosen, **place, **others})


def score(endpoint: InferenceEndpoint) -> float:
    return float(endpoint.client.text_classification("text", top_k=2, function_to_apply="none")[0].score)


def wait(endpoint: InferenceEndpoint) -> InferenceEndpoint:
    return endpoint.wait(timeout=60, refresh_every=0.2)


def test_hardware_has_prices(hub: FakeHub, api: HfApi) -> None:
    listed = api.list_inference_endpoints_hardware()
    assert {h.accelerator for h in listed} == {"cpu", "gpu"}
    assert all(h.price_per_hour > 0 for h in listed)


def test_an_endpoint_from_its_creation_to_its_end(hub: FakeHub, api: HfApi) -> None:
    endpoint = create(api)
    assert (endpoint.status, endpoint.url) == ("pending", None)
    assert endpoint.fetch().status == "initializing"
    wait(endpoint)
    assert endpoint.revision == hub.repo("me/x").head()
    assert score(endpoint) == 1.5
    with pytest.raises(HfHubHTTPError, match="409"):
        create(api)

    sha = commit(api, {"part.py": b"SCORE = 2.5\n"})
    endpoint.update(revision=sha)
    assert endpoint.status == "updating"
    assert score(endpoint) == 1.5  # the old one serves until the new one does
    wait(endpoint)
    assert score(endpoint) == 2.5
    assert endpoint.revision == sha

    endpoint.pause()
    assert (endpoint.status, endpoint.url) == ("paused", None)
    wait(endpoint.resume())
    assert score(endpoint) == 2.5
    assert endpoint.resume().status == "running"
    assert [e.name for e in api.list_inference_endpoints("me")] == ["ep"]
    assert list(hub.endpoints) == ["ep"]
    endpoint.delete()
    assert hub.endpoints == {}
    with pytest.raises(HfHubHTTPError, match="404"):
        endpoint.fetch()


def test_a_cold_start_refuses_the_first_requests(hub: FakeHub, api: HfApi) -> None:
    endpoint = wait(create(api))
    endpoint.scale_to_zero()
    assert endpoint.status == "scaledToZero"
    client = InferenceClient(model=endpoint.url, token=hub.token)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError, match="503"):
            client.text_classification("text")
    assert client.text_classification("text")[0].score == 1.5
    assert endpoint.fetch().status == "running"


def test_only_the_token_is_let_in(hub: FakeHub, api: HfApi) -> None:
    url = wait(create(api)).url
    assert url is not None
    assert httpx2.post(url, json={"inputs": "text"}).status_code == 401
    assert httpx2.get(f"{url}/health", headers={"Authorization": "Bearer hf_wrong"}).status_code == 401
    assert httpx2.get(f"{url}/health", headers={"Authorization": f"Bearer {hub.read_token}"}).status_code == 200


def test_the_handler_sees_its_repository_and_no_token(
    hub: FakeHub, api: HfApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    endpoint = wait(create(api, secrets={"SECRET": "hidden"}, env={"NAME": "value"}))
    headers = {"Authorization": f"Bearer {hub.token}"}
    seen = httpx2.post(endpoint.url or "", json={"inputs": "environment"}, headers=headers).json()
    assert not {"HF_TOKEN", "PYTHONPATH"} & set(seen["names"])
    assert "NAME" in seen["names"]
    assert seen["secret"] == "hidden"
    assert "hidden" not in str(hub.endpoints)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"inputs": "text"}', "'parameters'"),  # the handler's own KeyError
        (b'{"text": 1}', "inputs"),
        (b"{", "Expecting"),
        (b'{"inputs": "nan"}', "not JSON compliant"),
    ],
)
def test_what_goes_wrong_in_a_handler_is_a_400(hub: FakeHub, api: HfApi, body: bytes, why: str) -> None:
    endpoint = wait(create(api, type="public"))
    answer = httpx2.post(endpoint.url or "", content=body)
    assert answer.status_code == 400
    assert why in answer.json()["error"]


def test_a_handler_that_cannot_be_loaded_fails(hub: FakeHub, api: HfApi) -> None:
    commit(api, {"handler.py": b"import a_module_that_is_not_there\n"})
    endpoint = create(api)
    with pytest.raises(InferenceEndpointError, match="failed to deploy"):
        wait(endpoint)
    assert "a_module_that_is_not_there" in endpoint.raw["status"]["message"]
    commit(api, {"handler.py": HANDLER})
    wait(endpoint.update(revision=hub.repo("me/x").head()))
    commit(api, {"part.py": b"raise SystemExit(1)\n"})
    with pytest.raises(InferenceEndpointError, match="failed to update"):
        wait(endpoint.update(revision=hub.repo("me/x").head()))
    assert endpoint.status == "updateFailed"
    assert score(endpoint) == 1.5  # the one before it still serves


@pytest.mark.parametrize(
    "wrong",
    [{"instance_type": "abacus"}, {"region": "moon"}, {"type": "private"}, {"custom_image": {"url": "x/y"}}],
)
def test_what_cannot_run_is_refused(api: HfApi, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        create(api, **wrong)


def test_a_read_token_makes_no_endpoint(hub: FakeHub, api: HfApi) -> None:
    with pytest.raises(HfHubHTTPError, match="403"):
        create(api, token=hub.read_token)
    hub.faults.add(Fault("^POST /v2/", status=500))
    with pytest.raises(HfHubHTTPError, match="500"):
        create(api)
    assert hub.endpoints == {}
