"""What the report says, read from its markup: the verdict in words, missing figures with reasons, size, structure."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element

import made
import numpy as np
import pytest

from filterkit.calibrator import Calibrator, DimensionMap
from filterkit.manifest import Forced, Gate, GateRecord
from filterkit.metrics.records import Interval, MixUp
from filterkit.report import Contents, render
from filterkit.report.elements import clip, el
from filterkit.report.figures import apart, number, share, signed

_VOID = {"meta", "br", "wbr", "link", "img", "hr", "input"}


class Tree(HTMLParser):
    """The markup as elements; what is not closed or closed twice fails."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.root = Element("root")
        self._open = [self.root]
        self.feed(html.decode("utf-8"))
        assert self._open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = Element(tag, {k: v or "" for k, v in attrs})
        self._open[-1].append(one)
        if tag not in _VOID:
            self._open.append(one)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        here = self._open[-1]
        if len(here):
            here[-1].tail = (here[-1].tail or "") + data
        else:
            here.text = (here.text or "") + data


def read(contents: Contents) -> Element:
    return Tree(render(contents)).root


def text(element: Element | None) -> str:
    assert element is not None
    return re.sub(r"\s+", " ", "".join(element.itertext())).strip()


def spaced(element: Element | None) -> str:
    """Text with a space between cells."""
    assert element is not None
    return " ".join(t.strip() for t in element.itertext() if t.strip())


def part(root: Element, class_: str) -> Element:
    return next(one for one in root.iter() if class_ in one.get("class", "").split())


def section(root: Element, id_: str) -> Element | None:
    return next((one for one in root.iter("section") if one.get("id") == id_), None)


def with_gates(contents: Contents, *gates: Gate, **more: Any) -> Contents:
    record = contents.manifest.gates
    assert record is not None
    new: GateRecord | None = record.model_copy(update={"gates": gates, **more})
    return dataclasses.replace(contents, manifest=contents.manifest.model_copy(update={"gates": new}))


WELL = Gate(name="spearman", value=0.8, bound=0.7, limit=0.3, passed=True, why="rank correlation")


def test_a_student_that_passed() -> None:
    root = read(made.contents(400))
    assert text(next(root.iter("h1"))) == "May ship"
    assert text(part(root, "reason")).startswith("All 4 gates were passed: even the worse end")
    assert text(next(root.iter("title"))) == "May ship: tiny 1"
    assert "400 articles" in text(part(root, "against"))
    assert "replay/model-1" in text(part(root, "against"))


def test_the_reason_tells_a_bad_figure_from_too_few_articles() -> None:
    bad = Gate(name="mae", value=1.31, bound=1.42, limit=1.0, passed=False, why="mean absolute error")
    close = Gate(name="top_recall", value=0.45, bound=0.2996, limit=0.3, passed=False, why="best tier")
    root = read(with_gates(made.contents(60), bad, close, WELL))
    assert text(next(root.iter("h1"))) == "Must not ship"
    assert text(part(root, "reason")) == (
        "2 of 3 gates failed: its error is too large (1.31, at worst 1.42; below 1); and it may miss too many of the "
        "best articles (0.45, at worst 0.2996; at least 0.3)."
    )
    table = text(section(root, "gates"))
    assert "✕ failed" in table
    assert "✓ passed" in table
    assert "0.2996" in table  # never shown as 0.30, which would be enough


def test_a_gate_without_a_figure_says_why() -> None:
    none = Gate(name="coverage", value=None, bound=None, limit=0.8, passed=False, why="the student gives no intervals")
    root = read(with_gates(made.contents(60), none))
    assert "interval coverage could not be measured (the student gives no intervals)" in text(part(root, "reason"))


def test_gates_of_what_is_counted() -> None:
    why = "articles that the student could not score"
    counts = Gate(name="all_scored", value=2.0, bound=None, limit=0.0, passed=False, why=why)
    labels = Gate(name="unknown_labels", value=0.125, bound=None, limit=0.05, passed=False, why="3 of 24 are missing")
    few = Gate(name="mae", value=0.5, bound=None, limit=1.0, passed=False, why="1 article is too few to be sure of it")
    root = read(with_gates(made.contents(60), counts, labels, few))
    assert text(part(root, "reason")) == (
        f"3 of 3 gates failed: the student could not score every article ({why}); too many labels are missing (3 of 24 "
        "are missing); and mean absolute error is 0.50, which proves nothing (1 article is too few to be sure of it)."
    )
    assert f"Articles not scored ✕ failed 2 – none {why}" in re.sub(" +", " ", spaced(section(root, "gates")))


def test_a_gate_that_the_report_does_not_know_is_still_told() -> None:
    new = Gate(name="brand_new", value=0.1, bound=0.05, limit=0.5, passed=False, why="something new")
    assert "brand new is not good enough (0.10, at worst 0.05; at least 0.5)" in text(
        part(read(with_gates(made.contents(60), new)), "reason")
    )


def test_no_gates_is_no_leave_to_ship() -> None:
    whole = made.contents(60)
    unjudged = dataclasses.replace(whole, manifest=whole.manifest.model_copy(update={"gates": None}))
    assert text(next(read(unjudged).iter("h1"))) == "Not judged"
    assert section(read(unjudged), "gates") is None
    assert text(next(read(with_gates(whole)).iter("h1"))) == "Must not ship"


def test_what_must_be_known_stands_at_the_top() -> None:
    whole = made.contents(30, notes=["The gate mae was loosened from 1 to 1.5."])
    forced = Forced(reason="the old one is worse", gates="mae failed", at=datetime(2026, 5, 6, tzinfo=UTC))
    mixed = MixUp(dimension="agency", other="justice", gain=0.8, z=9.0)
    root = read(
        dataclasses.replace(
            whole,
            manifest=whole.manifest.model_copy(update={"forced": forced}),
            metrics=whole.metrics.model_copy(update={"failed": 2, "unknown": 3, "mixed_up": (mixed,)}),
        )
    )
    told = text(part(root, "warnings"))
    for words in (
        "Shipped by force on 2026-05-06, “the old one is worse”. The gates said: mae failed",
        "loosened from 1 to 1.5",
        "40 articles prove little",
        "agency and justice",
        "No answer for 2 of 30 articles",
        "3 scores that the oracle did not give",
    ):
        assert words in told


def test_an_undefined_figure_is_a_dash_with_its_reason() -> None:
    whole = made.contents(50)
    labels = whole.judged.labels.copy()
    labels[:, 0] = 3
    judged = dataclasses.replace(whole.judged, labels=labels)
    root = read(dataclasses.replace(whole, judged=judged, metrics=made.measured(whole.spec, judged)))
    told = text(section(root, "scores"))
    assert "–1" in told
    assert "1 –: the oracle's scores are constant" in told
    assert "nan" not in text(root).lower().split()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_articles(n: int) -> None:
    root = read(made.contents(n))
    assert f"{n} article{'' if n == 1 else 's'} labelled" in text(part(root, "against"))
    assert not re.search(r"\b(nan|inf|None)\b", text(root))


def test_a_student_that_never_answered() -> None:
    whole = made.contents(20)
    nothing = np.full_like(whole.judged.scores, np.nan)
    judged = dataclasses.replace(
        whole.judged, scores=nothing, raw=nothing, overall=nothing[:, 0], intervals=None, tier=np.full(20, -1, np.int16)
    )
    metrics = made.measured(whole.spec, judged).model_copy(update={"failed": 20, "coverage": None, "tiers": None})
    root = read(dataclasses.replace(whole, judged=judged, metrics=metrics))
    assert section(root, "misses") is None
    assert "no article has both scores" in text(root)
    assert "The student gives no prediction intervals" in text(section(root, "uncertainty"))
    assert not re.search(r"\b(nan|inf|None)\b", text(root))


def test_what_is_not_there_is_left_out_or_says_why() -> None:
    whole = made.contents(40)
    metrics = whole.metrics.model_copy(
        update={"tiers": None, "tiers_left_out": "filterkit-postfilter is not installed", "cuts": (), "flags": {},
                "at_threshold": None, "coverage": None}
    )  # fmt: skip
    calibrator = Calibrator(maps=(DimensionMap(),) * 9, reasons=("only 12 validation articles",) * 9)
    bare = Contents(
        spec=whole.spec,
        manifest=whole.manifest.model_copy(update={"history": [{"loss": 1.0}], "calibrator": calibrator}),
        metrics=metrics,
        judged=dataclasses.replace(whole.judged, raw=None, intervals=None, tiers=(), sure=None, evidence=()),
    )
    root = read(bare)
    for id_ in ("flags", "learning", "prevalence", "slices", "references", "comparison", "cost"):
        assert section(root, id_) is None, id_
    assert "filterkit-postfilter is not installed" in text(section(root, "tiers"))
    assert "only 12 validation articles" in text(section(root, "uncertainty"))
    assert "before calibration is not known" in text(section(root, "calibration"))
    links = {one.get("href", "")[1:] for one in root.iter("a")}
    assert links <= {one.get("id") for one in root.iter("section")}


def test_the_worst_slice_is_named_only_when_it_is_surely_worse() -> None:
    whole = made.contents(60)
    assert "Worst is the language “fr” (20 articles)" in text(section(read(whole), "slices"))
    unsure = [one.model_copy(update={"intervals": {"worse": Interval(low=-0.1, high=0.7)}}) for one in whole.slices]
    told = text(section(read(dataclasses.replace(whole, slices=unsure)), "slices"))
    assert "No part is surely worse than the others. The largest error is that of the language “fr”" in told


def test_misses_come_worst_first_with_both_scores_text_and_evidence() -> None:
    whole = made.contents(80)
    found = section(read(whole), "misses")
    assert found is not None
    shown = list(found.iter("details"))
    assert len(shown) == 12
    gaps = [
        abs(float(re.findall(r"\(([+−][\d.]+)\)", text(part(one, "scores")))[0].replace("−", "-"))) for one in shown
    ]
    assert gaps == sorted(gaps, reverse=True)
    error = np.abs(whole.judged.overall - whole.judged.oracle_overall)
    worst = whole.judged.articles[int(error.argmax())]
    assert text(part(shown[0], "title")) == worst.title
    assert worst.content[:200] in text(part(shown[0], "text"))
    assert "quoted for agency" in text(shown[0])
    assert "courier" in text(found)


def test_which_student_is_better_is_said_in_words() -> None:
    told = text(section(read(made.contents(60)), "comparison"))
    assert "This student is better than students/older" in told
    assert "cannot tell" in told


def test_training_and_validation_share_a_chart() -> None:
    found = section(read(made.contents(60)), "learning")
    assert found is not None
    names = [text(one) for one in found.iter("b")]
    assert names == ["loss", "mae"]
    curves = [one for one in found.iter("path") if "curve" in one.get("class", "")]
    assert len(curves) == 3


def test_odd_histories_are_drawn_as_far_as_they_can_be() -> None:
    whole = made.contents(30)
    for history in (
        [{"step": 1.0, "loss": 1.0}, {"step": 1.0, "loss": 1.0}],
        [{"loss": 1e308}, {"loss": -1e308}, {"loss": 0.5}, {"loss": 0.25}],
        [{f"mae_{i}": float(k) for i in range(40)} for k in range(3)],
        [{"loss": 1 / k} for k in range(1, 20_000)],
    ):
        manifest = whole.manifest.model_copy(update={"history": history})
        html = render(dataclasses.replace(whole, manifest=manifest))
        assert len(html) < 600_000
        found = section(Tree(html).root, "learning")
        assert found is not None
        assert 1 <= len(list(found.iter("figure"))) <= 12


def test_the_file_is_small() -> None:
    """Under 3 MB for 1,000 articles and 8 dimensions, with room; more articles do not make it larger."""
    assert len(render(made.contents(1_000))) < 600_000
    assert len(render(made.contents(5_000))) < 600_000
    assert len(render(made.contents(1_000, [f"dimension_{i}" for i in range(63)]))) < 3_000_000


def test_nothing_is_loaded_and_nothing_can_run() -> None:
    html = render(made.contents(60))
    root = Tree(html).root
    policy = next(one for one in root.iter("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.get("content", "").startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert {one.tag for one in root.iter()} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "form",
        "use",
        "image",
    } == set()
    style = text(next(root.iter("style")))
    assert "url(" not in style
    assert "@import" not in style
    assert [
        name for one in root.iter() for name in one.attrib if name.startswith("on") or name in ("src", "xlink:href")
    ] == []


def test_structure_that_a_screen_reader_needs() -> None:
    root = read(made.contents(60))
    assert next(root.iter("html")).get("lang") == "en"
    assert len(list(root.iter("main"))) == len(list(root.iter("h1"))) == 1
    levels = [int(one.tag[1]) for one in root.iter() if re.fullmatch("h[1-6]", one.tag)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    assert {one.get("aria-labelledby") for one in root.iter("section")} <= set(ids)
    for svg in root.iter("svg"):
        if svg.get("aria-hidden") != "true":
            assert svg.get("role") == "img"
            assert text(svg.find("title"))
    for chart in (one for one in root.iter("svg") if one.get("class") == "chart"):
        assert text(chart.find("desc"))
    for table in root.iter("table"):
        assert text(table.find("caption"))
        assert all(one.get("scope") for one in table.iter("th"))
    drawn = [one for one in root.iter("section") if any(svg.get("class") == "chart" for svg in one.iter("svg"))]
    assert len(drawn) == 4
    assert all(any(d.get("class") == "data" and list(d.iter("table")) for d in one.iter("details")) for one in drawn)


def test_figures_in_words() -> None:
    assert [number(v) for v in (None, float("nan"), -0.001, -1.5, 12345.678)] == [
        "–",
        "–",
        "0.00",
        "−1.50",
        "12,345.68",
    ]
    assert [signed(v) for v in (0.0, 0.001, 0.5, -0.5)] == ["0.00", "0.00", "+0.50", "−0.50"]
    assert share(0.305).replace("\N{NO-BREAK SPACE}", " ") == "30 %"
    assert (apart(0.2996, 0.3), apart(0.3, 0.3), apart(None, 0.3), apart(0.31, 0.3)) == (4, 2, 2, 2)


def test_text_is_cut_where_it_is_read_not_inside_of_what_is_taken_out() -> None:
    assert clip("\u202eabc\x00def", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert clip("\x00" * 10_000 + "abc", 6) == "…"
    mixed = el(
        "p", "a ", el("b", "b"), " c", [" d", None, el("i", "e")], " f", class_="x", aria_label="<\x00>", id=None
    )
    assert text(mixed) == "a b c de f"
    assert mixed.attrib == {"class": "x", "aria-label": "<>"}
