"""What goes wrong between here and the Hub: the right exit code, one line, and no token in it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filterkit_hf.deployer import HubDeployer
from filterkit_hf.endpoint_model import EndpointModel
from filterkit_hf.faults import translate
from filterkit_hf.hub_model import HubModel
from shipping import Workspace

from filterkit.contracts import Context
from filterkit.errors import ConfigError, FilterkitError, StoppedEarly
from filterkit.spec import FilterSpec
from filterkit.testing.fake_hub import FakeHub, Fault

Toy = tuple[Path, str]
Make = Callable[..., HubDeployer]


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, 2, "the token in HF_TOKEN"),
        (403, 2, "write access"),
        (402, 2, "a way to pay"),
        (429, 4, "429"),
        (500, 4, "500"),
        (503, 4, "503"),
        (409, 4, "again"),
        (412, 4, "again"),
        (400, 2, "refuses the request"),
    ],
)
def test_every_status_has_its_exit_code(
    hub: FakeHub, deployer: Make, student: Toy, status: int, code: int, says: str
) -> None:
    deployer().publish(*student)
    hub.faults.add(Fault(on="POST .*/commit/main", status=status, times=None))
    one = deployer()
    with pytest.raises(FilterkitError, match=says) as refusal:
        one.activate(one.publish(*student))
    assert refusal.value.exit_code == code
    assert hub.token not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "http" not in str(refusal.value).replace(hub.url, ""), "addresses of uploads are signed"


@pytest.mark.parametrize(
    "token", ["hf_twoLines\nInOneVariable", "hf_with a blank", "hf_beyondAsc\u00ef\u00ef", "hf_nul\x7f"]
)
def test_what_no_header_can_carry_is_shown_by_no_error(
    hub: FakeHub, spec: FilterSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    ctx = Context(workdir=tmp_path)
    hub_model, endpoint = HubModel(HubModel.Options(), spec, ctx), EndpointModel(EndpointModel.Options(), spec, ctx)  # type: ignore[arg-type]
    one = HubDeployer(HubDeployer.Options.model_validate({"repo_id": "me/x"}), spec, ctx)
    for ask in (one.current, lambda: hub_model.load("hf://me/x"), lambda: endpoint.load(hub.url)):
        with pytest.raises(ConfigError, match="HF_TOKEN: holds what no token does") as refusal:
            ask()
        assert token[:7] not in str(refusal.value)
    assert hub.requests == []


@pytest.mark.parametrize(
    "error", [KeyError("sha"), TypeError("string indices must be integers"), ValueError("no JSON")]
)
def test_an_answer_that_the_library_cannot_read_is_an_outage(error: Exception) -> None:
    found = translate(error, "me/x")
    assert found.exit_code == 4
    assert "an answer made no sense" in str(found)


@pytest.mark.heavy
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_a_short_outage_is_waited_out(hub: FakeHub, deployer: Make, student: Toy, method: str) -> None:
    hub.faults.add(Fault(on=f"^{method} ", status=503, times=1, skip=2))
    one = deployer(patience_s=20)
    one.activate(one.publish(*student))
    assert one.current() is not None


@pytest.mark.heavy
def test_retry_after_is_kept(hub: FakeHub, deployer: Make, student: Toy) -> None:
    hub.faults.add(Fault(on="POST .*/preupload", status=429, retry_after_s=1))
    began = time.monotonic()
    deployer(patience_s=20).publish(*student)
    assert time.monotonic() - began > 1


def test_a_long_retry_after_ends_the_run(hub: FakeHub, deployer: Make, student: Toy) -> None:
    hub.faults.add(Fault(on="POST .*/preupload", status=429, retry_after_s=86_400, times=None))
    with pytest.raises(StoppedEarly, match="86,400 seconds"):
        deployer(patience_s=20).publish(*student)


@pytest.mark.heavy
def test_a_read_only_token(hub: FakeHub, workspace: Workspace) -> None:
    done = workspace.run(*workspace.deploy_arguments(), hub=hub, HF_TOKEN=hub.read_token)
    assert done.returncode == 2
    assert "403" in done.stderr
    assert hub.read_token not in done.stdout + done.stderr


@pytest.mark.heavy
def test_no_token(hub: FakeHub, workspace: Workspace) -> None:
    done = workspace.run(*workspace.deploy_arguments(), hub=hub, HF_TOKEN="")
    assert done.returncode == 2
    assert "HF_TOKEN is not set" in done.stderr


@pytest.mark.heavy
def test_a_wrong_token(hub: FakeHub, workspace: Workspace) -> None:
    wrong = "hf_" + "w" * 34
    done = workspace.run(*workspace.deploy_arguments(), hub=hub, HF_TOKEN=wrong)
    assert done.returncode == 2
    assert "HF_TOKEN" in done.stderr
    assert wrong not in done.stdout + done.stderr
    assert hub.repos == []


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where connections are taken, and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.heavy
def test_nobody_there(workspace: Workspace, hub: FakeHub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = workspace.run(*workspace.deploy_arguments("patience_s=1"), hub=hub, HF_ENDPOINT=address)
    assert done.returncode == 4, done.stderr
    assert "no answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.heavy
def test_somebody_there_who_never_answers(workspace: Workspace, hub: FakeHub, silent: str) -> None:
    arguments = workspace.deploy_arguments("patience_s=1", "timeout_s=0.5")
    done = workspace.run(*arguments, hub=hub, HF_ENDPOINT=silent)
    assert done.returncode == 4, done.stderr


@pytest.mark.parametrize(
    "address", ["http://huggingface.co", "ftp://localhost", "http://127.0.0.1.evil.example", "https://a:b@hub.example"]
)
def test_a_token_goes_to_https_or_stays_here(
    monkeypatch: pytest.MonkeyPatch, spec: FilterSpec, context: Context, address: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        HubDeployer(HubDeployer.Options(repo_id="me/x"), spec, context)
    with pytest.raises(ValueError, match="endpoints_api"):
        HubDeployer.Options(repo_id="me/x", endpoints_api=address)


@pytest.mark.parametrize("repo_id", ["x", "me/x/y", "me/../x", "/x", "me/", "me/x y", "me/x.git", "a--b/c", "me/-x"])
def test_repository_names(repo_id: str) -> None:
    with pytest.raises(ValueError, match="owner/name"):
        HubDeployer.Options(repo_id=repo_id)


@pytest.mark.parametrize(
    "options", [{"dataset_text": False}, {"dataset_dir": "d"}, {"min_replica": 2}, {"endpoint": "Not A Name"}]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"dataset_repo_id|max_replica|lower-case"):
        HubDeployer.Options.model_validate({"repo_id": "me/x", **options})
