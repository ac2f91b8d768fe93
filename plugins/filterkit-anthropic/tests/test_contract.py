"""Oracle `anthropic` keeps the contracts of oracles and batches, over the real SDK and a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from filterkit_anthropic.oracle import AnthropicOracle

from filterkit.testing import BatchContract, OracleContract
from filterkit.testing.fake_llm import FakeLLM


@pytest.fixture(scope="module")
def server() -> Iterator[FakeLLM]:
    with FakeLLM(latency_s=0.02) as fake:
        yield fake


class TestAnthropic(BatchContract):
    @pytest.fixture
    def backend(self) -> type[AnthropicOracle]:
        return AnthropicOracle

    @pytest.fixture
    def options(self, server: FakeLLM) -> dict[str, Any]:
        return {"model": "contract-model", "base_url": server.url, "api_key_env": "MY_KEY"}


class TestForcedTool(OracleContract):
    @pytest.fixture
    def backend(self) -> type[AnthropicOracle]:
        return AnthropicOracle

    @pytest.fixture
    def options(self, server: FakeLLM) -> dict[str, Any]:
        return {"model": "contract-model", "base_url": server.url, "structured": "tool", "cache": "off"}
