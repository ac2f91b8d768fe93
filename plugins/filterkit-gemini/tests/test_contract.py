"""The contracts of every oracle and of its batches, with either SDK talking to the fake provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from filterkit_gemini.oracle import GeminiOracle

from filterkit.spec import FilterSpec
from filterkit.testing import BatchContract, OracleContract, tiny_spec
from filterkit.testing.fake_llm import FakeLLM


@pytest.fixture(params=["none", "short"])
def spec(request: pytest.FixtureRequest) -> FilterSpec:
    return tiny_spec(evidence=request.param)


@pytest.fixture
def url() -> Iterator[str]:
    with FakeLLM(latency_s=0.01, batch_lag_s=0.05) as server:
        yield server.url


class TestGemini(BatchContract):
    @pytest.fixture
    def spec(self, spec: FilterSpec) -> FilterSpec:
        return spec

    @pytest.fixture
    def backend(self) -> type[GeminiOracle]:
        return GeminiOracle

    @pytest.fixture
    def options(self, url: str) -> dict[str, Any]:
        return {"base_url": url}


class TestTheOlderSDK(OracleContract):
    @pytest.fixture
    def spec(self, spec: FilterSpec) -> FilterSpec:
        return spec

    @pytest.fixture
    def backend(self) -> type[GeminiOracle]:
        return GeminiOracle

    @pytest.fixture
    def options(self, url: str) -> dict[str, Any]:
        pytest.importorskip("google.generativeai", reason="google-generativeai is not installed")
        return {"base_url": url, "sdk": "generativeai"}
