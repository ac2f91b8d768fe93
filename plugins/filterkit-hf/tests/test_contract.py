"""The contract of every deployer, against the fake Hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from filterkit_hf.deployer import HubDeployer

from filterkit.records import Deployment
from filterkit.testing import DeployerContract
from filterkit.testing.fake_hub import FakeHub


class TestHub(DeployerContract):
    @pytest.fixture
    def backend(self, hub: FakeHub) -> type[HubDeployer]:
        return HubDeployer

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"repo_id": "me/tiny"}

    @pytest.fixture
    def damage(self, hub: FakeHub) -> Callable[[Deployment, str], None]:
        return lambda deployment, path: hub.repo("me/tiny").flip_bit(path, f"filterkit-{deployment.id}", byte=5)
