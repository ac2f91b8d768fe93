"""`tiers` keeps the contract of every postfilter."""

from __future__ import annotations

from typing import Any

import pytest
from filterkit_postfilter.tiers import TiersPostfilter

from filterkit.testing import PostfilterContract


class TestTiers(PostfilterContract):
    @pytest.fixture
    def backend(self) -> type[TiersPostfilter]:
        return TiersPostfilter

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {
            "gatekeepers": [
                {"dimension": "help", "below": 5, "cap": 3, "unless": [{"dimension": "novelty", "at_least": 7}]}
            ],
            "caps": [{"name": "adverts", "cap": 2, "when": [{"dimension": "is_advert", "at_least": 5}]}],
            "tiers": [{"name": "high", "at_least": 7}, {"name": "middle", "at_least": 4}, {"name": "rest"}],
        }
