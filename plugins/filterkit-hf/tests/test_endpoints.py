"""Inference Endpoints: what they run on, what they cost, and what they say when they fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filterkit_hf.deployer import HubDeployer
from shipping import Workspace

from filterkit.errors import ConfigError, GateRefused, StoppedEarly
from filterkit.testing.fake_hub import FakeHub

Toy = tuple[Path, str]
Make = Callable[..., HubDeployer]

pytestmark = pytest.mark.usefixtures("whole")


@pytest.mark.parametrize(
    ("name", "size", "region"),
    [
        ("intel-x4", "x4", "us-east-1"),
        ("intel-spr-x2", "x2", "us-east-1"),
        ("aws/eu-west-1/intel-spr/x1", "x1", "eu-west-1"),
        ("aws-eu-west-1-nvidia-l4-x1", "x1", "eu-west-1"),
    ],
)
def test_hardware_by_name(deployer: Make, name: str, size: str, region: str) -> None:
    found = deployer()._endpoints.choose(name)
    assert (found.instance_size, found.region) == (size, region)


@pytest.mark.parametrize("name", ["intel", "x4", "intel-x400", "aws", ""])
def test_hardware_that_is_not_there(deployer: Make, name: str) -> None:
    with pytest.raises(ConfigError, match="filterkit endpoint hardware"):
        deployer()._endpoints.choose(name)


@pytest.mark.heavy
def test_it_follows_the_live_student(hub: FakeHub, deployer: Make, student: Toy, other: Toy) -> None:
    one = deployer(endpoint="tiny", hardware="intel-x1")
    for toy in (student, other, student):
        published = one.publish(*toy)
        one.activate(published)
        scorer = one.serving(published)
        assert scorer is not None
        assert scorer.predict(["a text"]).scores.shape == (1, 3)
        scorer.close()
        assert model(hub)["revision"] == hub.repo("me/x").head()


@pytest.mark.heavy
def test_an_endpoint_that_serves_it_already_is_left_alone(hub: FakeHub, deployer: Make, student: Toy) -> None:
    one = deployer(endpoint="tiny", hardware="intel-x1")
    published = one.publish(*student)
    one.activate(published)
    one._endpoints.wait("tiny", None, 60)
    before = len(hub.requests)
    one.activate(published)
    assert {seen.method for seen in hub.requests[before:]} == {"GET", "HEAD"}
    deployer(endpoint="tiny", hardware="intel-x2", max_replica=3).activate(published)
    changed: Any = hub.endpoints["tiny"]["compute"]
    assert (changed["instanceSize"], changed["scaling"]["maxReplica"]) == ("x2", 3)


@pytest.mark.heavy
def test_a_paused_one_is_resumed(hub: FakeHub, deployer: Make, student: Toy) -> None:
    one = deployer(endpoint="tiny", hardware="intel-x1")
    published = one.publish(*student)
    one.activate(published)
    one._endpoints.pause("tiny")
    assert any("now paused" in line for line in one.plan(student[0]))
    one.activate(published)
    assert one._endpoints.wait("tiny", None, 60).raw["status"]["state"] == "running"


@pytest.mark.heavy
def test_what_failed_says_why(hub: FakeHub, deployer: Make, student: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    one = deployer(endpoint="tiny", hardware="intel-x1")
    published = one.publish(*student)
    one.activate(published)
    one._endpoints.wait("tiny", None, 60)
    hub.repo("me/x").set_file("handler.py", b"raise RuntimeError('no such thing as a free lunch')\n")
    one._endpoints.serve("tiny", "me/x", hub.repo("me/x").head(), one.options)
    with pytest.raises(GateRefused, match="no such thing as a free lunch") as failure:
        one._endpoints.wait("tiny", hub.repo("me/x").head(), 60)
    assert "\n" not in str(failure.value)


def test_waiting_has_an_end(hub: FakeHub, deployer: Make, student: Toy) -> None:
    one = deployer(endpoint="tiny", hardware="intel-x1")
    one.activate(one.publish(*student))
    with pytest.raises(StoppedEarly, match="still"):
        one._endpoints.wait("tiny", "0" * 40, 0.1)


@pytest.mark.heavy
def test_another_repositorys_endpoint_is_not_taken(hub: FakeHub, deployer: Make, student: Toy) -> None:
    one = deployer(endpoint="tiny", hardware="intel-x1")
    one.activate(one.publish(*student))
    two = deployer(repo_id="me/y", endpoint="tiny", hardware="intel-x1")
    published = two.publish(*student)
    with pytest.raises(ConfigError, match="serves me/x"):
        two.activate(published)
    with pytest.raises(ConfigError, match="does not move"):
        deployer(endpoint="tiny", hardware="aws/eu-west-1/intel-spr/x1").activate(one.publish(*student))


def test_weights_that_do_not_fit_are_told(hub: FakeHub, deployer: Make, student: Toy) -> None:
    one = deployer(endpoint="tiny", hardware="intel-x1")
    with (student[0] / "validation.json").open("wb") as file:
        file.truncate(3_000_000_000)
    one._pack(student[0]).__dict__["hashes"] = {}
    assert any("hardly fit into 2 GB" in line for line in one.plan(student[0]))


def model(hub: FakeHub) -> Any:
    return hub.endpoints["tiny"]["model"]


@pytest.mark.heavy
def test_the_command(hub: FakeHub, deployer: Make, student: Toy, workspace: Workspace) -> None:
    def run(*words: str) -> Any:
        return workspace.run("endpoint", *words, "--api", hub.endpoints_url, hub=hub)

    one = deployer(endpoint="tiny", hardware="intel-x1")
    one.activate(one.publish(*student))
    one._endpoints.wait("tiny", None, 60)
    listed = run("hardware", "--accelerator", "cpu", "--json")
    assert {h["accelerator"] for h in json.loads(listed.stdout)} == {"cpu"}
    prices = [h["price_per_hour"] for h in json.loads(listed.stdout)]
    assert prices == sorted(prices)
    shown = json.loads(run("status", "tiny", "--json").stdout)
    assert (shown["state"], shown["repository"], shown["usd_per_hour"]) == ("running", "me/x", 0.033)
    assert run("pause", "tiny").returncode == 0
    assert hub.endpoints["tiny"]["status"]["state"] == "paused"  # type: ignore[index]
    assert "state: running" in run("resume", "tiny", "--wait", "60").stdout
    unsure = run("remove", "tiny")
    assert unsure.returncode == 2, "nobody was there to be asked"
    assert "--yes" in unsure.stderr
    assert "tiny" in hub.endpoints
    assert run("remove", "tiny", "--yes").returncode == 0
    assert hub.endpoints == {}
    gone = run("status", "tiny")
    assert gone.returncode == 2
    assert "Traceback" not in gone.stderr
