"""What is no article: found where it is one, and never where an article is about it."""

from __future__ import annotations

import random

import pytest
from planted import left_out, screened, texts, vocabulary

from filterkit.pipeline.screen.boilerplate import boilerplate
from filterkit.pipeline.screen.phrases import CONSENT, ERROR, PAYWALL
from filterkit.records import Article


def kind(content: str, title: str = "Village opens library") -> str:
    return boilerplate([Article("x", title, content)])[0]


CONSENT_WALLS = [
    "We and our 842 partners store and/or access information on a device, such as cookies. You can accept all or "
    "manage preferences at any time. Accept all. Reject all.",
    "Wir verwenden Cookies, um Ihnen das beste Erlebnis zu bieten.\nCookie-Einstellungen\nAlle akzeptieren",
    "Nous utilisons des cookies. Tout accepter. Tout refuser. Gérer mes choix.",
    "Мы используем файлы cookie для улучшения работы сайта. Принять все. Отклонить все.",
    "本网站使用 Cookie 来改善您的体验。全部接受。全部拒绝。",
    "เราใช้คุกกี้\nยอมรับทั้งหมด\nปฏิเสธทั้งหมด",
    "<div>We use cookies.</div> <b>Accept all</b>\n<b>Reject all</b>",
]
ERROR_PAGES = [
    "404 Not Found\nnginx",
    "Please enable JavaScript and cookies to continue",
    'Access Denied\nYou don\'t have permission to access "http://x.example/a" on this server.\nReference #18.2f',
    "Checking your browser before accessing news.example. This process is automatic. Ray ID: 8123",
    "Sorry, the page you are looking for might have been removed.",
    "Seite nicht gefunden. Die gesuchte Seite existiert leider nicht mehr. Zurück zur Startseite",
    "页面不存在。您访问的页面可能已被删除。",
    "お探しのページは見つかりませんでした。",
    "Страница не найдена. Возможно, она была удалена.",
]
PAYWALLS = [
    "Subscribe to continue reading. Already a subscriber? Log in",
    "Cet article est réservé aux abonnés. Il vous reste 80% de cet article à lire.",
    "Dit artikel is alleen voor abonnees. Al abonnee? Log in",
]
ABOUT_THEM = [
    "The EU court ruled that cookie banners with pre-ticked boxes break the law. Sites may not say 'we use cookies' "
    'and take silence as consent, judges said. "Accept all" must be as easy to find as "reject all", they added.',
    "Visitors of the ministry's website saw only the words 'page not found' on Tuesday. It was back an hour later.",
    "Journalists were denied access to the court. Access denied to reporters is a bad sign, the union said.",
    "Error 404 is the best known of all status codes. It was born at CERN, or so the story goes.",
    "Firefox can now block scripts. Users who enable JavaScript only for trusted sites are safer, researchers found.",
    "Accept all refugees, the mayor says. Reject all proposals of the far right, she adds.",
    "A new start-up lets people subscribe to read single articles. It costs 20 cents each.",
    "Bakers raise prices of cookies. Accept all kinds of flour, they say.",
    "La page demandée par les historiens a été retrouvée dans un grenier, après cinquante ans de recherches à Lyon.",
]
SHORT_BUT_NO_BOILERPLATE = ["Body 1", "x", "42", "Rain.", "雨", "Body of article 17", "OK"]


@pytest.mark.parametrize(
    ("said", "content"),
    [
        *(("consent wall", text) for text in CONSENT_WALLS),
        *(("error page", text) for text in ERROR_PAGES),
        *(("paywall", text) for text in PAYWALLS),
        *(("empty", text) for text in ("…", "---", "Loading...", "<div></div>", "null", "广告")),
    ],
)
def test_boilerplate_is_told_by_its_kind(said: str, content: str) -> None:
    assert kind(content) == said


@pytest.mark.parametrize("content", [*ABOUT_THEM, *SHORT_BUT_NO_BOILERPLATE])
def test_an_article_about_it_is_an_article(content: str) -> None:
    assert kind(content) == ""


def test_what_stands_below_an_article_makes_no_boilerplate_of_it() -> None:
    story = (
        "The village opened a library in its old mill on Sunday. Two hundred people carried the books there by hand. "
    )
    for below in (CONSENT_WALLS[0], ERROR_PAGES[0], PAYWALLS[0]):
        assert kind(f"{story * 2}\n{below}") == ""


def test_every_phrase_is_found_whatever_stands_beside_it() -> None:
    """The lookup that saves looking for each phrase in each text loses none."""
    for phrases, other in ((CONSENT, "sütiket használunk. "), (ERROR, ""), (PAYWALL, "")):
        articles = [
            Article("x", "", f"{other}{phrase.replace('0', '17')}.") for phrase in phrases if phrase not in other
        ]
        plain = [Article("x", "", "The mill was opened on Sunday.")] * 3
        found = boilerplate([*plain, *articles, *plain])
        assert found[:3] == found[-3:] == [""] * 3
        assert "" not in found[3:-3], articles[found[3:-3].index("")]


def wall_articles(many: int, title: str = "{}", source: str | None = "Daily") -> list[Article]:
    """The same words under titles of their own; no list of phrases knows the language."""
    draw = random.Random(2)
    known = vocabulary("latin")
    wall = ". ".join(" ".join(draw.choices(known, k=9)) for _ in range(4))
    titles = [title.format(" ".join(draw.choices(known, k=12))) for _ in range(many)]
    return [
        Article(f"w{i}", titles[i], f"{wall}. {' '.join(draw.choices(known, k=3))}", source=source) for i in range(many)
    ]


def reasons(articles: list[Article]) -> set[str]:
    return {one.reason for one in screened(articles).left_out()}


def test_a_passage_that_fills_many_articles_of_a_source_is_none_of_theirs() -> None:
    decision = screened(wall_articles(20))
    assert decision.report.boilerplate_by == {"repeated passages": 20}
    assert decision.report.kept == 0


@pytest.mark.parametrize(
    "articles",
    [wall_articles(9), wall_articles(20, source=None), wall_articles(20, title="Part")],
    ids=["too few", "of no source", "under one title"],
)
def test_without_that_evidence_it_is_at_most_a_near_duplicate(articles: list[Article]) -> None:
    assert reasons(articles) <= {"near-duplicate"}


def test_a_template_with_numbered_titles_is_no_passage_of_many() -> None:
    same = "The volunteers of the village repaired the bridge together. Everybody was glad about that on Sunday."
    articles = [Article(f"n{i}", f"Title {i}", f"{same} {i}", source="Daily") for i in range(50)]
    assert left_out(screened(articles)) == {}


def test_boilerplate_that_is_labelled_already_stays() -> None:
    wall = texts(CONSENT_WALLS[0])
    assert len(left_out(screened(wall))) == 1
    assert left_out(screened(wall, labelled=["t0"])) == {}
    assert left_out(screened(wall, boilerplate=False)) == {}


@pytest.mark.parametrize("piece", ["<", "a.", "\n", "。", "<a", "0", "we use cookies ", "'"])
def test_hostile_texts_take_no_time(piece: str) -> None:
    assert kind(piece * 200_000) == ""
