"""Oracle `openai` keeps the contracts of oracles and batches, over the real SDK and a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from filterkit_openai.oracle import OpenAIOracle

from filterkit.testing import BatchContract, OracleContract
from filterkit.testing.fake_llm import FakeLLM


@pytest.fixture(scope="module")
def server() -> Iterator[FakeLLM]:
    with FakeLLM(latency_s=0.02) as fake:
        yield fake


class TestOpenAI(BatchContract):
    @pytest.fixture
    def backend(self) -> type[OpenAIOracle]:
        return OpenAIOracle

    @pytest.fixture
    def options(self, server: FakeLLM) -> dict[str, Any]:
        return {"model": "contract-model", "base_url": server.openai_url, "api_key_env": "MY_KEY", "batches": True}


@pytest.fixture(scope="module")
def other() -> Iterator[FakeLLM]:
    with FakeLLM(latency_s=0.02, structured=["none"]) as fake:
        yield fake


class TestSeveralServersOneWithoutSchema(OracleContract):
    @pytest.fixture
    def backend(self) -> type[OpenAIOracle]:
        return OpenAIOracle

    @pytest.fixture
    def options(self, server: FakeLLM, other: FakeLLM) -> dict[str, Any]:
        servers = [server.openai_url, {"base_url": other.openai_url, "structured": "none"}]
        return {"model": "contract-model", "base_url": servers}
