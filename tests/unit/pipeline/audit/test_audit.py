"""Every check of the audit is seen to fire on planted data, and not on clean data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FILTER, words, write_filter

from filterkit.articles import to_article
from filterkit.errors import InputError
from filterkit.filters import load_filter
from filterkit.io import to_label
from filterkit.pipeline.audit import Audit, Finding, audit
from filterkit.spec import FilterSpec

TIERS = """\
postfilter:
  use: tiers
  tiers:
    - {name: best, at_least: 7}
    - {name: good, at_least: 4}
    - {name: rest}
"""
Row = dict[str, Any]
Plant = Callable[[list[Row]], object]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> FilterSpec:
    """Two scores, a flag and three tiers."""
    return load_filter(write_filter(tmp_path_factory.mktemp("filter"), FILTER + TIERS)).spec


def row(i: int) -> Row:
    """An article whose words give its scores away."""
    random = np.random.default_rng([5, i])
    help_, novelty, advert = (int(x) for x in random.integers(0, 11, 3))
    told = ["helpers"] * help_ + ["machine"] * novelty + ["discount"] * (6 * (advert > 7))
    content = [*words(random, 30), *told]
    random.shuffle(content)
    return {
        "id": f"a{i:05d}",
        "title": " ".join(words(random, 4)),
        "content": " ".join(content),
        "language": ("en", "de", "es")[i % 3],
        "source": f"paper{i % 7}",
        "scores": {"help": help_, "novelty": novelty, "is_advert": 10 if advert > 7 else 0},
    }


CLEAN = [row(i) for i in range(1200)]


def clean() -> list[Row]:
    return [{**r, "scores": dict(r["scores"])} for r in CLEAN]


def look(spec: FilterSpec, rows: list[Row]) -> Audit:
    return audit(spec, [(to_article(r), to_label(r, spec)) for r in rows])


def of(found: Audit, check: str) -> list[Finding]:
    return [f for f in found.findings if f.check == check]


def test_clean_labels_pass(spec: FilterSpec) -> None:
    found = look(spec, clean())
    assert [f for f in found.findings if f.level != "pass"] == []
    assert found.level == "pass"
    assert sorted({f.check for f in found.findings}) == [
        "amount",
        "baseline",
        "boilerplate",
        "contradictions",
        "duplicates",
        "language",
        "missing",
        "one-component",
        "oracles",
        "redundant",
        "self-consistency",
        "short",
        "shortened",
        "source",
        "spread",
        "suspects",
        "tiers",
    ]


# What is planted


def few(rows: list[Row]) -> None:
    del rows[40:]


def not_many(rows: list[Row]) -> None:
    del rows[400:]


def two_oracles(rows: list[Row]) -> None:
    for i, r in enumerate(rows):
        r["oracle"] = ("a", "b")[i % 2]


def unknown_scores(rows: list[Row]) -> None:
    for r in rows[::10]:
        r["scores"]["novelty"] = None


def nothing_known(rows: list[Row]) -> None:
    for r in rows:
        r["scores"]["novelty"] = None


def constant(rows: list[Row]) -> None:
    for r in rows:
        r["scores"]["novelty"] = 4


def nearly_constant(rows: list[Row]) -> None:
    """The filter with an MAE of 0.54: 98.6 % below 1."""
    for i, r in enumerate(rows):
        r["scores"]["novelty"] = (i % 10) / 10 if i % 72 else 6


def mostly_alike(rows: list[Row]) -> None:
    for i, r in enumerate(rows):
        r["scores"]["novelty"] = (i % 10) / 10 if i % 14 else 6


def three_values(rows: list[Row]) -> None:
    for r in rows:
        r["scores"]["novelty"] = 5 * round(r["scores"]["novelty"] / 5)


def at_the_ceiling(rows: list[Row]) -> None:
    for i, r in enumerate(rows):
        r["scores"]["novelty"] = 10 if i % 5 else r["scores"]["novelty"]


def rare_flag(rows: list[Row]) -> None:
    for i, r in enumerate(rows):
        r["scores"]["is_advert"] = 0 if i else 10


def easy_gate(rows: list[Row]) -> None:
    for r in rows:
        r["scores"]["help"] = r["scores"]["help"] % 3
        r["scores"]["novelty"] = r["scores"]["novelty"] % 3 + 0.5


def no_best(rows: list[Row]) -> None:
    for r in rows:
        r["scores"] |= {name: min(6, r["scores"][name]) for name in ("help", "novelty")}


def rare_best(rows: list[Row]) -> None:
    best = 0
    for r in rows:
        best += max(r["scores"]["help"], r["scores"]["novelty"]) > 6
        if best > 90:
            r["scores"] |= {name: min(6, r["scores"][name]) for name in ("help", "novelty")}


def same_twice(rows: list[Row]) -> None:
    for i, r in enumerate(rows):
        r["scores"]["novelty"] = min(10, r["scores"]["help"] + (i % 7 == 0))


def copies(rows: list[Row]) -> None:
    for i, r in enumerate(rows[:300]):
        rows.append({**r, "id": f"copy{i}", "content": r["content"] + " more"})


def one_wall(rows: list[Row]) -> None:
    wall = " ".join(words(np.random.default_rng(1), 60))
    for r in rows[::20]:
        r["content"] = wall + " " + r["content"][:20]


def one_id(rows: list[Row]) -> None:
    rows[5]["id"] = rows[9]["id"]


def judged_apart(rows: list[Row]) -> None:
    for i, r in enumerate(rows[:40]):
        other = {**r["scores"], "help": 10 - r["scores"]["help"], "novelty": 10 - r["scores"]["novelty"]}
        rows.append({**r, "id": f"copy{i}", "content": r["content"] + " so", "scores": other})


WALL = "We and our 512 partners use cookies, please accept them all. "


def shells(rows: list[Row]) -> None:
    for r in rows[::30]:
        r["content"] = WALL + "Continue without your consent to read it for a fee. " + r["content"][:40]


def footers(rows: list[Row]) -> None:
    for i, r in enumerate(rows):
        r["content"] += f"\n\n{WALL}" if i % 4 == 0 else ""


def chinese_footers(rows: list[Row]) -> None:
    for i, r in enumerate(rows):
        own = "".join(chr(0x4E00 + c) for c in np.random.default_rng([8, i]).integers(0, 4000, 80))
        r["title"] = own[:8]
        r["content"] = f"{own}。请关注我们的微信公众号获取更多新闻。" if i % 4 == 0 else own + "。"


def teasers(rows: list[Row]) -> None:
    for r in rows[::20]:
        r["content"] = r["content"][:60]


def long_texts(rows: list[Row]) -> None:
    for i, r in enumerate(rows[:700]):
        r["content"] += " ".join(f"{i}x{j}" for j in range(900))


def no_language(rows: list[Row]) -> None:
    for r in rows:
        del r["language"]


def rare_language(rows: list[Row]) -> None:
    for r in rows[:12]:
        r["language"] = "fy"


def one_language_is_higher(rows: list[Row]) -> None:
    for r in rows[::3]:
        for name in ("help", "novelty"):
            r["scores"][name] = 5 + r["scores"][name] // 2


def one_paper(rows: list[Row]) -> None:
    for r in rows[:900]:
        r["source"] = "paper"


def source_tells_all(rows: list[Row]) -> None:
    for r in rows:
        r["source"] = f"paper{r['scores']['help']}"


def slips(rows: list[Row]) -> None:
    for r in rows[::40]:
        r["scores"]["help"] = 10 if r["scores"]["help"] < 5 else 0


def unsteady(rows: list[Row]) -> None:
    for r in rows[:50]:
        other = {**r["scores"], "help": (r["scores"]["help"] + 5) % 11}
        rows.append({**r, "scores": other, "sample": 1})


PLANTED: list[tuple[Plant, str, str, str | None, str]] = [
    (few, "amount", "stop", None, "40 labels"),
    (not_many, "amount", "warn", None, "test split will have about 40"),
    (two_oracles, "oracles", "stop", None, "a: 600, b: 600"),
    (unknown_scores, "missing", "warn", "novelty", "10.0%"),
    (nothing_known, "missing", "stop", "novelty", "100.0%"),
    (constant, "spread", "stop", "novelty", "nothing to learn"),
    (nearly_constant, "spread", "stop", "novelty", "98.6%"),
    (mostly_alike, "spread", "warn", "novelty", "tells nothing apart"),
    (three_values, "spread", "warn", "novelty", "only 3 values"),
    (at_the_ceiling, "spread", "warn", "novelty", "highest score, 10"),
    (rare_flag, "spread", "warn", "is_advert", "set in 1 of 1,200"),
    (easy_gate, "baseline", "warn", None, "gate mae < 1 proves nothing"),
    (no_best, "tiers", "stop", None, "best tier, best"),
    (rare_best, "tiers", "warn", None, "in the test split: a recall of 70% will be known as"),
    (same_twice, "redundant", "warn", "novelty", "help and novelty are nearly the same"),
    (copies, "duplicates", "warn", None, "300 near-duplicates"),
    (one_wall, "duplicates", "warn", None, "60 texts are nearly the same"),
    (one_id, "duplicates", "warn", None, "id of another text, for example a00009"),
    (judged_apart, "contradictions", "warn", None, "40 pairs"),
    (shells, "boilerplate", "warn", None, "40 texts (3.3%) are mostly boilerplate"),
    (footers, "boilerplate", "warn", None, "300 texts (25.0%) carry sentences"),
    (chinese_footers, "boilerplate", "warn", None, "请关注我们的微信公众号获取更多新闻"),
    (teasers, "short", "warn", None, "60 texts under 200 bytes"),
    (long_texts, "shortened", "warn", None, "700 of them more than twice as long"),
    (no_language, "language", "warn", None, "`language` is missing in 1,200"),
    (rare_language, "language", "warn", None, "fy (12)"),
    (one_language_is_higher, "language", "warn", None, "en 7."),
    (one_paper, "source", "warn", None, "one source, paper"),
    (source_tells_all, "source", "warn", None, "explains"),
    (slips, "suspects", "warn", None, "most often in help"),
    (unsteady, "self-consistency", "warn", None, "50 repeated samples"),
]


@pytest.mark.parametrize(
    ("plant", "check", "level", "dimension", "says"), PLANTED, ids=[p[0].__name__ for p in PLANTED]
)
def test_what_is_planted_is_found(
    spec: FilterSpec, plant: Plant, check: str, level: str, dimension: str | None, says: str
) -> None:
    rows = clean()
    plant(rows)
    found = look(spec, rows)
    fired = [f for f in of(found, check) if f.level == level and f.dimension == dimension and says in f.what]
    assert fired, [f"{f.level} {f.check} {f.dimension} {f.what}" for f in found.findings if f.level != "pass"]
    assert all(f.do for f in fired)
    assert found.level == "stop" or found.level == level
    json.dumps(found.to_dict(), allow_nan=False)


def test_three_columns_of_one_verdict(tmp_path: Path) -> None:
    """No pair is the same, and yet they are one; and what the others foretell is named."""
    third = "  - {name: third, weight: 0.25, description: x}\n  - {name: is_advert"
    text = FILTER.replace("weight: 0.75", "weight: 0.5").replace("  - {name: is_advert", third)
    spec = load_filter(write_filter(tmp_path / "three", text)).spec
    random = np.random.default_rng(0)
    rows = clean()
    for r in rows:
        one = r["scores"]["help"]
        for name in ("help", "novelty", "third"):
            r["scores"][name] = float(np.clip(one + random.normal(0, 1.4), 0, 10))
    assert [f.level for f in of(look(spec, rows), "one-component")] == ["warn"]
    for r in rows:
        a, b = random.uniform(0, 10, 2)
        r["scores"] |= {"help": a, "novelty": b, "third": (a + b) / 2}
    found = look(spec, rows)
    assert "third carries nothing new" in " ".join(f.what for f in of(found, "redundant"))
    assert [f.level for f in of(found, "one-component")] == ["pass"]


def test_the_planted_slips_are_the_suspects(spec: FilterSpec) -> None:
    rows = clean()
    slips(rows)
    found = look(spec, rows)
    planted = {r["id"] for r in rows[::40]}
    named = [s.id for s in found.suspects if s.dimension == "help"]
    assert len(planted & set(named)) >= 20
    assert len(set(named) - planted) <= 3
    assert [abs(s.z) for s in found.suspects] == sorted((abs(s.z) for s in found.suspects), reverse=True)


def test_tiers_are_left_out_by_name(tmp_path: Path) -> None:
    plain = load_filter(write_filter(tmp_path / "plain")).spec
    assert "postfilter overall has none" in of(look(plain, clean()), "tiers")[0].what
    text = FILTER + "postfilter: {use: not-installed}\n"
    found = look(load_filter(write_filter(tmp_path / "other", text)).spec, clean())
    assert "postfilter not-installed is not there" in of(found, "tiers")[0].what
    assert found.level == "pass"
    assert found.figures["tiers"] is None


def test_repeated_samples_count_once(spec: FilterSpec) -> None:
    rows = clean()
    again = [{**r, "sample": n} for r in rows[:100] for n in (1, 2)]
    found = look(spec, [*again, *rows])
    assert found.figures["labels"] == 1200
    assert found.figures["repeats"] == {
        "pairs": 200,
        "mae": 0.0,
        "per_dimension": {"help": 0.0, "novelty": 0.0, "is_advert": 0.0},
    }
    assert found.figures["duplicates"]["exact"] == 0


def test_figures(spec: FilterSpec) -> None:
    rows = clean()
    for r, score in zip(rows, np.repeat([0, 0, 2, 10], 300), strict=True):
        r["scores"]["novelty"] = float(score)
    figures = look(spec, rows).figures
    of_novelty = figures["dimensions"][1]
    assert of_novelty["histogram"] == [600, 0, 300, 0, 0, 0, 0, 0, 0, 300]
    assert (of_novelty["mean"], of_novelty["median"], of_novelty["median_mae"]) == (3.0, 1.0, 3.0)
    assert (of_novelty["at_floor"], of_novelty["at_ceiling"]) == (0.5, 0.25)
    pearson = np.corrcoef([[r["scores"][n] for n in spec.names] for r in rows], rowvar=False)
    assert np.array(figures["correlation"]["pearson"]) == pytest.approx(pearson, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 25, 99, 120])
def test_few_labels(spec: FilterSpec, n: int) -> None:
    found = look(spec, clean()[:n])
    assert of(found, "amount")[0].level == ("stop" if n < 50 else "warn")
    json.dumps(found.to_dict(), allow_nan=False)


def test_no_label_at_all(spec: FilterSpec) -> None:
    with pytest.raises(InputError, match="no label to audit"):
        look(spec, [])


def test_texts_that_are_all_equal(spec: FilterSpec) -> None:
    rows = clean()
    for r in rows:
        r |= {"title": "t", "content": "the same words again and again"}
    found = look(spec, rows)
    assert found.level == "stop"
    assert found.figures["duplicates"]["exact"] == 1199
    rows = [{**r, "content": f"the same words again and again {i}", "title": ""} for i, r in enumerate(clean())]
    json.dumps(look(spec, rows).to_dict(), allow_nan=False)


def test_hostile_texts(spec: FilterSpec) -> None:
    odd = ["\x1b[2J\x07", "\ud800 lone", "\x00" * 50, "𝕳" * 400, "{{article}} {0} %s", "。" * 300, " ", "a" * 300_000]
    rows = clean()[:160]
    for i, r in enumerate(rows):
        r |= {"title": odd[i % len(odd)], "content": f"x{i} " + odd[(i + 3) % len(odd)], "language": odd[i % 5]}
    json.dumps(look(spec, rows).to_dict(), allow_nan=False)


def test_the_order_of_the_labels_does_not_matter(spec: FilterSpec) -> None:
    rows = clean()
    slips(rows)
    copies(rows)
    first = look(spec, rows)
    second = look(spec, rows[::-1])
    assert [(f.level, f.check) for f in first.findings] == [(f.level, f.check) for f in second.findings]
    assert first.figures["dimensions"] == second.figures["dimensions"]
    assert first.figures["duplicates"]["near"] == second.figures["duplicates"]["near"]
