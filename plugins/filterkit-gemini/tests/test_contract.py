"""The contract of every oracle, with either SDK talking to the fake provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from filterkit_gemini.oracle import GeminiOracle

from filterkit.spec import FilterSpec
from filterkit.testing import OracleContract, tiny_spec
from filterkit.testing.fake_llm import FakeLLM


class TestGemini(OracleContract):
    @pytest.fixture(params=["none", "short"])
    def spec(self, request: pytest.FixtureRequest) -> FilterSpec:
        return tiny_spec(evidence=request.param)

    @pytest.fixture
    def backend(self) -> type[GeminiOracle]:
        return GeminiOracle

    @pytest.fixture
    def options(self, sdk: str) -> Iterator[dict[str, Any]]:
        with FakeLLM(latency_s=0.01) as server:
            yield {"base_url": server.url, "sdk": sdk}
