"""`rules` keeps the contract of every prefilter."""

from __future__ import annotations

from typing import Any

import pytest
from filterkit_postfilter.rules import RulesPrefilter

from filterkit.testing import PrefilterContract


class TestRules(PrefilterContract):
    @pytest.fixture
    def backend(self) -> type[RulesPrefilter]:
        return RulesPrefilter

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {
            "allow": [
                {"name": "helpers", "text": {"at_least": 2, "of": ["neighbours", "volunteers", "re:help(ed|s)"]}}
            ],
            "block": [
                {"name": "short", "length": {"below": 20}},
                {"name": "adverts", "text": ["buy", "re:[a-z]+ now"], "unless": [{"source": "*science*"}]},
                {"name": "chinese", "content": "人民日报"},
                {"name": "markets", "text": {"of": ["price"], "none_of": ["road"], "case": True}, "shadow": True},
            ],
        }
