"""The report in a real browser: quiet, readable in both schemes, on a phone, on paper, and by keyboard."""

from __future__ import annotations

import re

import made
import pytest
from opened import Open

from filterkit.report import render

CONTRAST = """
() => {
  const parts = text => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    return [numbers[0], numbers[1], numbers[2], numbers.length > 3 ? numbers[3] : 1];
  };
  const over = (top, below) => below.map((v, i) => i < 3 ? top[i] * top[3] + v * (1 - top[3]) : 1);
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const low = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || ['TITLE', 'title', 'desc'].includes(e.tagName) || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), back = behind(e);
    const front = over(parts(e.tagName === 'text' ? style.fill : style.color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${e.tagName} ${e.textContent.slice(0, 40)}`);
  }
  return low;
}
"""
MARKS = """
() => {
  const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
  const light = c => c.map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const back = light(rgb(getComputedStyle(document.body).backgroundColor));
  const ratio = (selector, property) => {
    const c = light(rgb(getComputedStyle(document.querySelector(selector))[property]));
    return (Math.max(c, back) + .05) / (Math.min(c, back) + .05);
  };
  return [ratio('svg.strip .dot', 'fill'), ratio('svg.strip .reach', 'stroke'), ratio('svg.strip .mark', 'stroke'),
    ratio('svg.strip .hollow', 'stroke'), ratio('.identity', 'stroke'), ratio('.map', 'stroke')];
}
"""
CUT_OFF = """
() => [...document.querySelectorAll('svg.chart')].flatMap(svg => {
  const view = svg.viewBox.baseVal;
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect(), whole = svg.getBoundingClientRect();
    return box.left < whole.left - .5 || box.right > whole.right + .5 || box.bottom > whole.bottom + .5
      || box.top < whole.top - .5;
  }).map(text => text.textContent);
})
"""
OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true"
PAPER = round((210 - 28) / 25.4 * 96)
"""Width in CSS pixels of what is printed on A4 between our margins."""


@pytest.fixture(scope="module")
def html() -> bytes:
    return render(made.contents(120, passed=False, notes=["The workspace loosens the gate mae from 1.0 to 1.2."]))


def test_it_opens_without_a_word_and_asks_for_nothing(html: bytes, show: Open) -> None:
    seen = show(html)
    assert seen.requests == [seen.url]
    assert seen.troubles() == {}


def test_the_verdict_is_on_the_first_screen(html: bytes, show: Open) -> None:
    """Verdict, reason, four figures and their intervals without scrolling, on a laptop; the verdict on a phone."""
    page = show(html, width=1280, height=800).page
    for selector in ("h1", ".reason", ".warnings", ".key"):
        box = page.locator(selector).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 800, selector
    assert page.locator("h1").inner_text() == "Must not ship"
    assert page.locator(".key dt").count() == 4
    assert all(" to " in text for text in page.locator(".key .interval").all_inner_texts())
    phone = show(html, width=360, height=780).page
    box = phone.locator(".reason").bounding_box()
    assert box["y"] + box["height"] <= 780


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_has_to_be_scrolled_sideways(html: bytes, show: Open, width: int) -> None:
    page = show(html, width=width).page
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    if width == 1280:
        wide = (
            "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"
        )
        assert page.evaluate(wide) == []


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_stand_out(html: bytes, show: Open, dark: bool) -> None:
    """WCAG AA: 4.5 for text, 3 for marks."""
    page = show(html, dark=dark).page
    page.evaluate(OPEN_ALL)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark
    assert page.evaluate(CONTRAST) == []
    assert min(page.evaluate(MARKS)) >= 3


def test_the_measure_of_contrast_notices_pale_text(html: bytes, show: Open) -> None:
    page = show(html.replace(b"--quiet: #575f6b", b"--quiet: #a0a6b0")).page
    assert page.evaluate(CONTRAST)


def test_by_keyboard(html: bytes, show: Open) -> None:
    page = show(html).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#gates"
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            place = page.evaluate("[...document.querySelectorAll('summary')].indexOf(document.activeElement)")
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            page.keyboard.press("Enter")
            assert page.evaluate("document.activeElement.parentElement.open")
            page.keyboard.press("Enter")
            reached.add(place)
    assert len(reached) == page.locator("summary").count()


def test_a_table_that_is_wider_than_the_phone_scrolls_by_keyboard(html: bytes, show: Open) -> None:
    page = show(html, width=360).page
    page.evaluate(OPEN_ALL)
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.tabIndex)"
    )
    assert wide
    assert set(wide) == {0}


def test_on_paper(html: bytes, show: Open) -> None:
    """A4: charts and tables whole and within the margins, articles printed though they are folded on the screen."""
    page = show(html, width=PAPER).page
    page.emulate_media(media="print")
    rights = "[...document.querySelectorAll('svg, table')].map(e => e.getBoundingClientRect().right)"
    assert max(page.evaluate(rights)) <= PAPER + 1
    assert page.evaluate(CUT_OFF) == []
    panels = "[...document.querySelectorAll('.panel')].map(e => [e.offsetHeight, getComputedStyle(e).breakInside])"
    assert all(height < 900 and inside == "avoid" for height, inside in page.evaluate(panels))
    texts = "[...document.querySelectorAll('.miss .text')].map(e => e.getBoundingClientRect().height)"
    assert min(page.evaluate(texts)) > 9
    assert not page.locator("nav").is_visible()
    pdf = page.pdf(prefer_css_page_size=True)
    sheets = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", pdf)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 3
    assert all(abs(float(w) - 595) < 2 and abs(float(h) - 842) < 2 for w, h in sheets)


def test_a_dark_screen_prints_dark_on_white(html: bytes, show: Open) -> None:
    page = show(html, dark=True).page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("n", [0, 1, 3_000])
def test_few_and_many_articles(show: Open, n: int) -> None:
    names = ["x" * 64, *made.NAMES[:2]]
    seen = show(render(made.contents(n, names)), width=360)
    seen.page.evaluate(OPEN_ALL)
    assert seen.troubles() == {}
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert seen.page.evaluate(CUT_OFF) == []
