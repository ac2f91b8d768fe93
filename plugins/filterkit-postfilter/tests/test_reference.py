"""The columns agree, row by row, with a plain reading of the rules."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from filterkit_postfilter.tiers import BLOCK_ROWS, TiersOptions, TiersPostfilter
from hypothesis import given, settings
from hypothesis import strategies as st

from filterkit.api import Context, Dimension, FilterSpec

NAMES = ("a", "b", "c", "flag")
SPEC = FilterSpec(
    schema_version=1,
    name="sample",
    version="1",
    dimensions=(
        Dimension(name="a", weight=0.5),
        Dimension(name="b", weight=0.3),
        Dimension(name="c", weight=0.2),
        Dimension(name="flag", role="flag"),
    ),
)

halves = st.integers(0, 20).map(lambda i: i / 2)
# On a bound, a rounding error beside it, or clearly beside it.
values = st.builds(lambda half, off: half + off, halves, st.sampled_from([0.0, -1e-6, 1e-6, -1e-3, 1e-3]))
maybe_missing = st.one_of(*[values] * 12, st.just(math.nan))
conditions = st.fixed_dictionaries({"dimension": st.sampled_from(NAMES)}).flatmap(
    lambda c: st.tuples(st.sampled_from(["at_least", "below"]), halves).map(lambda b: c | {b[0]: b[1]})
)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    gatekeepers = [
        {
            "name": f"g{i}",
            "dimension": draw(st.sampled_from(NAMES)),
            "below": draw(halves),
            "cap": draw(halves),
            "unless": draw(st.lists(conditions, max_size=3)),
        }
        for i in range(draw(st.integers(0, 3)))
    ]
    caps = [
        {"name": f"c{i}", "cap": draw(halves), "when": draw(st.lists(conditions, min_size=1, max_size=3))}
        for i in range(draw(st.integers(0, 3)))
    ]
    bounds = sorted(draw(st.sets(halves, max_size=4)), reverse=True)
    tiers = [{"name": f"t{i}", "at_least": b} for i, b in enumerate(bounds)] + [{"name": "rest"}]
    policy: dict[str, Any] = {"gatekeepers": gatekeepers, "caps": caps, "tiers": tiers}
    if draw(st.booleans()):
        policy["pass"] = draw(st.sampled_from([t["name"] for t in tiers]))
    return policy


def judge(policy: dict[str, Any], rows: np.ndarray[Any, Any]) -> list[tuple[Any, ...]]:
    """Rows [n, 5]: four scores and the overall."""
    postfilter = TiersPostfilter(TiersOptions.model_validate(policy), SPEC, Context(workdir=Path()))
    table = rows.astype(np.float32)
    v = postfilter.judge(None, table[:, :4], table[:, 4], None)
    return list(zip(v.overall.tolist(), v.tier.tolist(), v.passed.tolist(), v.reasons.tolist(), strict=True))


def reaches(value: float, bound: float) -> bool:
    """Bounds are halves here, so four decimals part rounding errors from real differences."""
    return round(value, 4) >= bound


def holds(condition: dict[str, Any], row: dict[str, float]) -> bool:
    value = row[condition["dimension"]]
    if "at_least" in condition:
        return reaches(value, condition["at_least"])
    return not reaches(value, condition["below"])


def judge_one(policy: dict[str, Any], values: list[float]) -> tuple[Any, ...]:
    """One row at a time, as the README says it."""
    if any(math.isnan(v) for v in values):
        return math.nan, -1, False, 0
    row = dict(zip((*NAMES, "overall"), values, strict=True))
    overall = row["overall"]
    reasons = 0
    for bit, rule in enumerate(policy["gatekeepers"] + policy["caps"]):
        if "when" in rule:
            applies = all(holds(c, row) for c in rule["when"])
        else:
            excepted = bool(rule["unless"]) and all(holds(c, row) for c in rule["unless"])
            applies = not reaches(row[rule["dimension"]], rule["below"]) and not excepted
        if applies:
            reasons |= 1 << bit
            overall = min(overall, rule["cap"])
    names = [t["name"] for t in policy["tiers"]]
    tier = next(i for i, t in enumerate(policy["tiers"]) if "at_least" not in t or reaches(overall, t["at_least"]))
    lowest = policy.get("pass", names[-2] if len(names) > 1 else names[0])
    return overall, tier, tier <= names.index(lowest), reasons


@settings(max_examples=300, deadline=None)
@given(policies(), st.lists(st.lists(maybe_missing, min_size=5, max_size=5), max_size=12))
def test_columns_agree_with_a_row_by_row_reading(policy: dict[str, Any], rows: list[list[float]]) -> None:
    table = np.array(rows, np.float32).reshape(-1, 5)
    found = judge(policy, table)
    expected = [judge_one(policy, row) for row in table.tolist()]
    assert str(found) == str(expected)  # as text, where NaN equals NaN


@settings(max_examples=50, deadline=None)
@given(policies(), st.lists(st.lists(maybe_missing, min_size=5, max_size=5), min_size=2, max_size=8), st.randoms())
def test_rows_do_not_depend_on_one_another(policy: dict[str, Any], rows: list[list[float]], random: Any) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    table = np.array(rows)
    straight = judge(policy, table)
    shuffled = judge(policy, table[order])
    assert str(shuffled) == str([straight[i] for i in order])
    alone = judge(policy, table[:1])
    assert str(alone) == str(straight[:1])


def test_block_borders_do_not_show() -> None:
    policy = {
        "gatekeepers": [
            {"name": "g", "dimension": "a", "below": 5, "cap": 3, "unless": [{"dimension": "b", "at_least": 7}]}
        ],
        "caps": [{"name": "c", "cap": 2, "when": [{"dimension": "flag", "at_least": 5}]}],
        "tiers": [{"name": "high", "at_least": 7}, {"name": "mid", "at_least": 3}, {"name": "low"}],
    }
    n = 2 * BLOCK_ROWS + 3
    table = np.random.default_rng(1).integers(0, 21, (n, 5)) / 2
    found = judge(policy, table)
    assert len(found) == n
    for row in (0, BLOCK_ROWS - 1, BLOCK_ROWS, 2 * BLOCK_ROWS - 1, 2 * BLOCK_ROWS, n - 1):
        assert found[row] == judge_one(policy, table[row].tolist())
    shifted = [v for start in range(0, n, 50_000) for v in judge(policy, table[start : start + 50_000])]
    assert found == shifted
