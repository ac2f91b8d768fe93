"""The policy of the uplifting filter, as its filter.yaml has it, and the plugin as an installed dist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filterkit.api import Context, Postfilter, Verdicts
from filterkit.filters import load_filter
from filterkit.plugins import plugins

FILTER = Path(__file__).parents[3] / "filters" / "uplifting" / "v1"


@pytest.fixture
def uplifting(tmp_path: Path) -> Postfilter[Any]:
    """Found by name, as a run finds it."""
    spec = load_filter(FILTER).spec
    backend = plugins().load("postfilter", spec.postfilter.use)
    made = backend(backend.Options.model_validate(spec.postfilter.options), spec, Context(workdir=tmp_path))
    assert isinstance(made, Postfilter)
    return made


def judge(postfilter: Postfilter[Any], **scores: float) -> tuple[float, str, bool, list[str]]:
    """Overall, tier, passed, reasons of one article with 8 in all dimensions but those given."""
    spec = postfilter.spec
    row = np.array([[scores.get(name, 8) for name in spec.names]], np.float32)
    overall = row @ np.array(spec.weights, np.float32)
    v: Verdicts = postfilter.judge(None, row, overall, None)
    reasons = [name for bit, name in enumerate(postfilter.rules) if int(v.reasons[0]) >> bit & 1]
    return round(float(v.overall[0]), 3), postfilter.tiers[v.tier[0]], bool(v.passed[0]), reasons


def test_a_good_article_is_impact(uplifting: Postfilter[Any]) -> None:
    assert judge(uplifting) == (8.0, "impact", True, [])


def test_little_collective_benefit_caps_at_three(uplifting: Postfilter[Any]) -> None:
    assert judge(uplifting, collective_benefit=4.5, wonder=6) == (
        3.0,
        "not_uplifting",
        False,
        ["collective_benefit_floor"],
    )


def test_wonder_excepts_some_collective_benefit(uplifting: Postfilter[Any]) -> None:
    assert judge(uplifting, collective_benefit=3, wonder=7) == (6.05, "connection", True, [])


def test_wonder_does_not_except_too_little_collective_benefit(uplifting: Postfilter[Any]) -> None:
    assert judge(uplifting, collective_benefit=2.5, wonder=10)[1:] == (
        "not_uplifting",
        False,
        ["collective_benefit_floor"],
    )


def test_an_article_of_sevens_is_impact(uplifting: Postfilter[Any]) -> None:
    sevens = dict.fromkeys(uplifting.spec.names, 7.0)
    assert judge(uplifting, **sevens)[1:] == ("impact", True, [])


def test_listing_the_plugin_does_not_import_the_arithmetic() -> None:
    code = (
        "import sys, filterkit_postfilter.plugin\n"
        "assert not {'numpy', 'pydantic', 'filterkit_postfilter.tiers'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
