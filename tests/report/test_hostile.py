"""Whoever wrote the articles, the labels or a manifest cannot run, send or break anything in a report."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import hostile
import made
import pytest
from opened import Open

from filterkit.manifest import Forced
from filterkit.records import Article
from filterkit.report import Contents, render

ALL = hostile.ALL


def poisoned() -> Contents:
    """Contents of which every text is hostile that can be."""
    whole = made.contents(40, notes=[ALL, *hostile.PAYLOADS])
    judged = dataclasses.replace(
        whole.judged,
        articles=[
            Article(
                id=ALL,
                title=p + ALL,
                content=hostile.HUGE if i == 0 else p,
                url=p,
                source=p,
                language=p,
                published_date=p,
            )
            for i, p in enumerate((hostile.PAYLOADS * 3)[:40])
        ],
        evidence=[dict.fromkeys(whole.spec.names, ALL)] * 40,
        tiers=(ALL, "'\"<b>", "\x00"),
    )
    metrics = whole.metrics
    assert metrics.tiers is not None
    tiers = metrics.tiers.model_copy(
        update={
            "names": judged.tiers,
            "undefined": {f"recall:{ALL}": ALL},
            "recall": {ALL: None},
            "precision": {},
        }
    )
    record = whole.manifest.gates
    assert record is not None
    gates = tuple(one.model_copy(update={"name": ALL, "why": ALL, "passed": False}) for one in record.gates)
    manifest = whole.manifest.model_copy(
        update={
            "gates": record.model_copy(update={"gates": gates, "method": ALL, "left_out": {ALL: ALL}}),
            "forced": Forced(reason=ALL, gates=ALL, at=datetime(2026, 1, 1, tzinfo=UTC)),
            "trainer_options": {ALL: {ALL: [ALL]}},
            "packages": {ALL: ALL},
            "base_model": ALL,
            "run_id": ALL,
            "history": [{"loss": 1.0, ALL: 2.0}, {"loss": 0.5, ALL: 1e308}],
            "data": whole.manifest.data.model_copy(update={"oracles": (ALL,)}),
        }
    )
    found = whole.comparison
    assert found is not None
    return dataclasses.replace(
        whole,
        judged=judged,
        manifest=manifest,
        metrics=metrics.model_copy(update={"tiers": tiers, "small": ALL}),
        slices=[one.model_copy(update={"name": ALL}) for one in whole.slices],
        references=[one.model_copy(update={"who": ALL, "undefined": {"spearman": ALL}}) for one in whole.references],
        comparison=found.model_copy(update={"other": ALL, "note": ALL}),
        prevalence={ALL: {ALL: 1}},
    )


@pytest.fixture(scope="module")
def html() -> bytes:
    return render(poisoned())


def test_nothing_runs_nothing_leaves(html: bytes, show: Open) -> None:
    seen = show(html)
    seen.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for _ in range(30):
        seen.page.keyboard.press("Tab")
    seen.page.mouse.move(300, 300)
    assert seen.troubles() == {}
    assert seen.page.evaluate("document.querySelectorAll('script, img, iframe, form, base, link, object').length") == 0
    assert seen.page.locator("h1").all_inner_texts() == ["Must not ship"]
    foreign = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert seen.page.evaluate(foreign) == []
    assert all(
        href.startswith("#") for href in seen.page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    )


def test_the_watch_itself_notices(show: Open) -> None:
    """The same text pasted into a page does run, and is seen to."""
    naive = b"<!DOCTYPE html><meta charset=utf-8><p>" + "\n".join(hostile.PAYLOADS[:5]).encode() + b"</p>"
    seen = show(naive)
    seen.page.wait_for_timeout(200)
    assert {"dialogs", "requests", "canary"} <= set(seen.troubles())


def test_the_policy_holds_where_escaping_would_not(show: Open) -> None:
    """The second lock: pasted into our page, the same text still neither runs nor sends."""
    whole = render(made.contents(20))
    seen = show(whole.replace(b"<footer>", "\n".join(hostile.PAYLOADS[:5]).encode() + b"<footer>"))
    seen.page.wait_for_timeout(200)
    found = seen.troubles()
    assert "Content Security Policy" in str(found.pop("console"))
    found.pop("requests", None)  # asked for, and refused before it left
    assert found == {}


def test_the_text_is_shown_as_it_was_written(html: bytes, show: Open) -> None:
    page = show(html).page
    text = page.evaluate("document.querySelector('.miss .title').textContent")
    assert any(text.startswith(p[:15]) for p in hostile.PAYLOADS)
    whole = page.evaluate("document.body.textContent")
    assert "<script>window.canary = 1; alert('canary')</script>" in whole
    assert "&lt;script&gt; &#x3c;script&#x3e;" in whole


def test_no_character_that_turns_or_breaks_text_is_left(html: bytes) -> None:
    text = html.decode("utf-8")  # strict: no surrogate came through
    assert not [c for c in text if c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
    assert not [c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]


def test_long_text_is_bounded_and_fits_a_phone(html: bytes, show: Open) -> None:
    assert len(html) < 1_500_000
    seen = show(html, width=360, height=780)
    seen.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
