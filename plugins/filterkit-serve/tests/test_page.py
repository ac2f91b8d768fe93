"""The page to try an article, in a browser that reaches this server and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import chromium
from running import ARTICLE, Place, Running

TOKEN = "a-long-and-secret-token"
ARABIC = "تعاون الجيران في إصلاح الجسر القديم"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens a server's page; at the end nothing may have gone wrong in it, nor asked for anything elsewhere."""
    contexts, troubles = [], []

    def open_(server: Running, expected: tuple[str, ...] = (), **how: Any) -> Any:
        home = f"http://127.0.0.1:{server.port}/"

        def watch(route: Any) -> None:
            if route.request.url.startswith(home):
                route.continue_()
            else:
                troubles.append(route.request.url)
                route.abort()

        context = browser.new_context(**{"viewport": {"width": 1000, "height": 900}, **how})
        contexts.append(context)
        context.route("**/*", watch)
        page = context.new_page()
        page.on("console", lambda said: troubles.append(said.text) if not said.text.startswith(expected) else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        page.goto(home)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not troubles


def shoot(page: Any, name: str) -> None:
    """Keep a picture to look at, where the environment says where."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"serve-{name}.png", full_page=True)


def test_by_keyboard_alone_each_dimension_is_shown_with_its_interval(server: Running, open_page: Open) -> None:
    page = open_page(server)
    page.wait_for_selector("#filter option:nth-child(2)", state="attached")
    keys = page.keyboard
    seen = []
    for typed in (None, ARTICLE["title"], ARTICLE["content"], None):
        keys.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
        if typed:
            keys.type(typed)
    assert seen == ["filter", "title", "content", "judge"]
    keys.press("Enter")
    page.wait_for_selector("#verdict:not([hidden])")
    (expected,) = server.score({**ARTICLE, "filter": "tiny"}).json["verdicts"]
    rows = [
        [cell.inner_text() for cell in row.query_selector_all("th, td")] for row in page.query_selector_all("tbody tr")
    ]
    assert [row[0].split("\n")[0] for row in rows] == ["help", "novelty", "is_advert"]
    assert [row[1] for row in rows] == [f"{score:.2f}" for score in expected["scores"].values()]
    low, high = expected["intervals"]["help"]
    assert [row[2] for row in rows] == [f"{low:.2f} – {high:.2f}", rows[1][2], "unknown"]
    assert page.locator("tbody svg .band").count() == 2
    low, high = expected["overall_interval"]
    text = f"{expected['overall']:.2f} between {low:.2f} and {high:.2f}"
    assert page.inner_text("#overall") == text
    assert page.inner_text("#tier").startswith(expected["tier"])
    assert page.evaluate("document.activeElement.id") == "verdict-head"
    assert page.inner_text("#status").startswith("Judged. Overall")
    shoot(page, "verdict")


def test_rules_that_applied_are_named(server: Running, open_page: Open) -> None:
    page = open_page(server, color_scheme="dark")
    page.fill("#title", "Only today")
    page.fill("#content", "buy now buy now")
    page.focus("#content")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#reasons")
    assert page.inner_text("#reasons") == "adverts"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 25, 28)"
    shoot(page, "dark")


def test_text_from_right_to_left_stays_so_and_is_only_text(server: Running, open_page: Open) -> None:
    page = open_page(server, viewport={"width": 320, "height": 640})
    page.fill("#title", f"{ARABIC} <img src=x onerror=alert(1)>")
    page.fill("#content", ARABIC)
    assert page.evaluate("getComputedStyle(document.getElementById('content')).direction") == "rtl"
    page.click("#judge")
    page.wait_for_selector("#verdict:not([hidden])")
    assert page.inner_text("#of").endswith("<img src=x onerror=alert(1)>")
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shoot(page, "right-to-left")


def test_everything_has_a_name(server: Running, open_page: Open) -> None:
    page = open_page(server)
    page.fill("#content", ARTICLE["content"])
    page.click("#judge")
    page.wait_for_selector("#verdict:not([hidden])")
    for role, name in (("combobox", "Filter"), ("textbox", "Title"), ("textbox", "Text"), ("button", "Judge")):
        assert page.get_by_role(role, name=name, exact=True).count() == 1
    for role, name in (("heading", "Verdict"), ("region", "Verdict"), ("columnheader", "Picture")):
        assert page.get_by_role(role, name=name).count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_what_goes_wrong_is_said(server: Running, open_page: Open) -> None:
    page = open_page(server, expected=("Failed to load resource",))
    page.fill("#content", "poison")
    page.click("#judge")
    page.get_by_role("alert").get_by_text("The student failed on this request.").wait_for()
    page.fill("#content", "notanumber")
    page.click("#judge")
    page.wait_for_selector("#verdict:not([hidden])")
    assert "the model gave no finite score" in page.inner_text("#facts")
    assert page.locator("#scores").is_hidden()
    assert page.inner_text("#wrong") == ""


def test_a_server_with_a_token_is_asked_for_it(shared_place: Place, open_page: Open) -> None:
    with shared_place.serve(FILTERKIT_SERVE_TOKEN=TOKEN) as running:
        page = open_page(running, expected=("Failed to load resource",))
        page.wait_for_selector("#token-field:not([hidden])")
        assert page.evaluate("document.activeElement.id") == "token"
        assert page.inner_text("#wrong") == "This server asks for its token."
        page.fill("#content", ARTICLE["content"])
        page.fill("#token", "wrong ü")
        page.click("#judge")
        page.get_by_text("This is not the server's token.").wait_for()
        page.fill("#token", TOKEN)
        shoot(page, "token")
        page.keyboard.press("Enter")
        page.wait_for_selector("#verdict:not([hidden])")
        assert TOKEN not in page.url
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_the_page_may_load_nothing_from_elsewhere(server: Running, open_page: Open) -> None:
    found = server.ask("GET", "/")
    policy = found.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert b"<style" not in found.body
    assert b"style=" not in found.body
    for part in (found.body, *(server.ask("GET", path).body for path in ("/page.js", "/page.css"))):
        assert b"//" not in part.replace(b"http://www.w3.org/2000/svg", b"").replace(b"// ", b"")
    page = open_page(server, expected=("Executing inline script violates", "Refused to", "Loading the"))
    script = "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s)"
    page.evaluate(script)
    assert page.evaluate("window.ran") is None
