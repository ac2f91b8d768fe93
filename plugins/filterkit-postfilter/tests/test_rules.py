"""What a filter author and an operator see of the prefilter `rules`."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filterkit_postfilter import rules_patterns
from filterkit_postfilter.rules import RulesPrefilter
from filterkit_postfilter.rules_find import Term
from filterkit_postfilter.rules_options import RulesOptions
from filterkit_postfilter.rules_patterns import MOST_INSTRUCTIONS, compiled, folded, literal, utf8
from pydantic import ValidationError

from filterkit.api import Article, Block, Context, Pass, SpecError
from filterkit.check import check
from filterkit.plugins import plugins
from filterkit.testing.samples import tiny_spec
from filterkit.yamlfile import loads

Make = Callable[..., RulesPrefilter]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(*block: dict[str, Any], **options: Any) -> RulesPrefilter:
        checked = RulesOptions.model_validate({"block": block, **options})
        return RulesPrefilter(checked, tiny_spec(), Context(workdir=tmp_path))

    return build


def article(content: str = "", title: str = "", **more: Any) -> Article:
    return Article("a", title, content, **more)


def name(prefilter: RulesPrefilter, one: Article) -> str | None:
    """The rule that blocks, with a ~ in shadow mode."""
    [answer] = prefilter.judge([one])
    if isinstance(answer, Pass):
        return None
    assert answer.reason
    return f"~{answer.rule}" if answer.shadow else answer.rule


def blocks(prefilter: RulesPrefilter, content: str) -> bool:
    return name(prefilter, article(content)) is not None


def rule(**condition: Any) -> dict[str, Any]:
    return {"name": "r", **condition}


# Terms


@pytest.mark.parametrize(
    ("term", "found", "not_found"),
    [
        ("cat", ["a cat.", "CAT", "cat's", "(cat)", "cat-like", "猫cat猫"], ["concatenate", "cats", "cat_1", "cat5"]),
        ("share price", ["the share\n price", "Share\u00a0Price!", "share\u3000price"], ["shareprice", "share prices"]),
        ("subscri*", ["Subscribe now", "subscri"], ["unsubscribe"]),
        ("*versicherung", ["Lebensversicherung"], ["Versicherungen"]),
        ("*price*", ["enterprices"], ["prise"]),
        ("café", ["CAFÉ", "cafe\u0301 noir", "café"], ["cafés", "cafe", "cafés-bar"]),
        ("straße", ["STRASSE", "Strasse", "straße", "STRAẞE"], ["straßen"]),
        ("STRASSE", ["straße"], []),
        ("ΟΔΟΣ", ["οδος", "Οδοσ"], ["οδοστρωμα"]),
        ("москва", ["МОСКВА.", "в Москва"], ["москвам"]),
        ("don't", ["I don’t", "DON'T"], ["dont"]),
        ("C++", ["c++", "C++14"], ["c+"]),
        ("سلام", ["سلام۔", "(سلام)"], ["سلامت"]),
        ("москва", ["москва", "ⴰ москва"], ["ⴰмосква", "xмосква"]),
        ("AI", ["生成AIが", "ai"], ["said", "rain"]),
        ("人民日报", ["今天人民日报报道", "人民日报"], ["人民的日报"]),
        ("コーヒー", ["おいしいコーヒーを飲む"], ["コーヒ"]),
        ("แมว", ["ฉันมีแมวสองตัว"], ["หมา"]),
        ("서울*", ["서울은 크다"], ["남서울"]),
        ("re:Q[1-4] 20\\d\\d", ["in q3 2026"], ["Q5 2026"]),
        ("re:\\w+ß", ["gross", "groß"], ["ss"]),
        ("re:(?:^|\\W)été(?:\\W|$)", ["L'ÉTÉ.", "e\u0301te\u0301"], ["étés"]),
        ("re:\\d+\\s€", ["٣٤\u00a0€", "20 €"], ["20€"]),
        ("re:[^\\w\\s]{3}", ["wow!!!"], ["a 中 é"]),
        ("re:[]x[]y", ["]y", "[Y"], ["ay"]),
        ("re:\\x{4E2D}\\p{Han}[[:digit:]]", ["中文7"], ["中x7"]),
    ],
)
def test_terms_are_found_in_unicodes_sense(make: Make, term: str, found: list[str], not_found: list[str]) -> None:
    prefilter = make(rule(content=term))
    assert [text for text in found if not blocks(prefilter, text)] == []
    assert [text for text in not_found if blocks(prefilter, text)] == []


def test_capitals_count_where_asked(make: Make) -> None:
    prefilter = make(rule(content={"of": ["US", "re:É[a-z]"], "case": True}))
    assert blocks(prefilter, "the US economy")
    assert blocks(prefilter, "E\u0301t")
    assert not blocks(prefilter, "tell us about éa")


def test_a_pattern_finds_every_character_that_folds_to_its_own(make: Make) -> None:
    """Over all of Unicode: an author's ß or Σ finds ss or ς, however the text writes it."""
    wrong = []
    for code in range(0x80, 0x1_0000):
        char = chr(code)
        if unicodedata.category(char) in ("Cn", "Cs", "Co") or folded(char) == char or char == "\u0345":
            continue
        pattern = compiled(rules_patterns.patterns(f"re:{char}", False).exact)
        if not pattern.search(utf8(folded(char))):
            wrong.append(char)
    assert wrong == []


def test_at_least_n_of_a_and_none_of_b(make: Make) -> None:
    prefilter = make(rule(text={"at_least": 2, "of": ["dividend", "bond", "re:yields?"], "none_of": ["museum"]}))
    assert name(prefilter, article("the bond and the dividend")) == "r"
    assert name(prefilter, article("yield", title="Bond")) == "r"
    assert name(prefilter, article("bond bond bond")) is None, "one term twice is one term"
    assert name(prefilter, article("the bond and the dividend of a museum")) is None


def test_a_filter_may_ask_for_a_word(make: Make) -> None:
    prefilter = make(rule(text={"none_of": ["climate", "气候"]}))
    assert name(prefilter, article("sports")) == "r"
    assert name(prefilter, article("sports", title="Climate")) is None
    assert name(prefilter, article("关于气候变化")) is None


def test_thousands_of_phrases(make: Make) -> None:
    words = [f"word{i}" for i in range(5000)]
    prefilter = make(rule(content={"at_least": 3, "of": words}))
    assert blocks(prefilter, "word17 word4999 word0")
    assert not blocks(prefilter, "word17 word4999 xword0")


def test_an_automaton_without_memory_finds_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """RE2 says of such a set that nothing matches; that must not let everything through."""
    prefilter = make(rule(content={"at_least": 2, "of": ["neighbours", "volunteers", "人民"]}))

    class Exhausted:
        def Match(self, text: bytes) -> None:
            return None

    for lexicon in prefilter.lexicons:
        monkeypatch.setattr(lexicon, "_set", Exhausted())
    assert blocks(prefilter, "the volunteers and their neighbours")
    assert not blocks(prefilter, "the volunteers")


def test_an_automaton_that_holds_nothing_says_so_and_not_that_its_memory_ran_out() -> None:
    nothing = rules_patterns.compiled_together(["cat", "dog"])
    assert list(nothing.Match(b"")) == [2]
    assert sorted(nothing.Match(b"a dog")) == [1, 2]


def test_a_phrase_is_found_beside_the_characters_that_its_pattern_allows() -> None:
    """Every script of the Basic Multilingual Plane as the neighbour of a word, and some of what is beyond."""
    looked_for = Term("cat", False)
    for code in (
        *range(0x3400),
        *range(0x3400, 0x1_0000, 64),
        *range(0xA000, 0xABFF),
        *range(0x1_0000, 0x11_0000, 512),
    ):
        for text in (f"{chr(code)}cat", f"cat{chr(code)}"):
            found = looked_for.stands_in(utf8(text))
            assert found == (looked_for.exact.search(utf8(text)) is not None), hex(code)


def test_a_phrase_is_found_behind_any_number_of_words_that_it_is_a_part_of(make: Make) -> None:
    prefilter = make(rule(content=["cat", "a a"]))
    for many in (1, 999, 1000, 1001, 5000):
        assert not blocks(prefilter, "concatenate " * many)
        assert blocks(prefilter, "concatenate " * many + "cat")
        assert blocks(prefilter, "xa" + " aé" * many + " a a")


# The other conditions


def test_lengths_are_characters(make: Make) -> None:
    prefilter = make(rule(length={"at_least": 3, "below": 5}))
    assert [blocks(prefilter, text) for text in ("中文", " 中文字 ", "中文字中", "中文字中文")] == [
        False,
        True,
        True,
        False,
    ]


def test_languages_have_parts_and_may_be_unknown(make: Make) -> None:
    prefilter = make(rule(language=["pt", "zh-Hant", "unknown"]))
    codes = ("pt", "PT_br", "zh-hant-TW", "zh", "ptx", None, "")
    held = [name(prefilter, article("x", language=code)) is not None for code in codes]
    assert held == [True, True, True, False, False, True, True]


def test_sources_may_have_stars(make: Make) -> None:
    prefilter = make(rule(source=["Wire News", "*.press", "unknown"]))
    sources = ("wire news", "a.PRESS", "Wire News Daily", "xpress", None)
    held = [name(prefilter, article("x", source=source)) is not None for source in sources]
    assert held == [True, True, False, False, True]


def test_domains_have_subdomains(make: Make) -> None:
    prefilter = make(rule(domain=["Example.org", "bücher.example"]))
    urls = (
        "https://www.example.org/a", "example.org", "http://EXAMPLE.org:8080", "https://notexample.org",
        "https://example.org.evil.test/", "https://evil.test/example.org", "https://xn--bcher-kva.example/x",
        "https://BÜCHER.example", "https://[broken", "https://" + "a." * 500_000 + "example.org", None,
    )  # fmt: skip
    held = [name(prefilter, article("x", url=url)) is not None for url in urls]
    assert held == [True, True, True, False, False, False, True, True, False, False, False]


def test_all_of_a_condition_holds_together(make: Make) -> None:
    prefilter = make(rule(language="zh", length={"below": 3}), {"name": "other", "title": "advert", "source": "shop"})
    assert name(prefilter, article("中文", language="zh")) == "r"
    assert name(prefilter, article("ab", language="en")) is None
    assert name(prefilter, article("text", title="Advert", source="shop")) == "other"
    assert name(prefilter, article("advert", title="text", source="shop")) is None


def test_exceptions_belong_to_their_rule(make: Make) -> None:
    prefilter = make(
        {"name": "finance", "text": "shares", "unless": [{"title": "credit union"}, {"domain": "good.example"}]},
        {"name": "short", "length": {"below": 10}},
    )
    assert name(prefilter, article("shares of a company")) == "finance"
    assert name(prefilter, article("shares of a company", title="A credit union")) is None
    assert name(prefilter, article("shares of a company", url="https://good.example/1")) is None
    assert name(prefilter, article("shares", title="A credit union")) == "short"


def test_what_is_allowed_is_let_through_by_all_rules(make: Make) -> None:
    prefilter = make(rule(length={"below": 100}), allow=[{"name": "ours", "source": "our paper"}])
    assert name(prefilter, article("x", source="Our Paper")) is None
    assert name(prefilter, article("x", source="theirs")) == "r"


def test_shadow_rules_only_count_and_never_hide_a_block(make: Make) -> None:
    quiet = {"name": "quiet", "text": "bond", "shadow": True}
    prefilter = make(quiet, rule(text="dividend"))
    assert name(prefilter, article("a bond")) == "~quiet"
    assert name(prefilter, article("a bond and a dividend")) == "r"
    assert name(make(rule(text="bond"), shadow=True), article("a bond")) == "~r"


def test_the_reason_says_what_was_found(make: Make) -> None:
    [answer] = make(rule(text={"at_least": 2, "of": ["bond", "yield"]}, length={"below": 99})).judge(
        [article("Bond yield")]
    )
    assert answer == Block(rule="r", reason="10 characters, text has 'bond', 'yield'")


# Hostile patterns and texts

HOSTILE = [
    "re:(a+)+$", "re:(a|aa)+$", "re:(.*a){20}", "re:(a?){500}a{500}", "re:[ab]*a[ab]{400}c", "re:(x+x+)+y",
    "re:((a{0,10}){0,10}){0,10}b", "a a a a a a a b",
]  # fmt: skip


@pytest.mark.parametrize("term", HOSTILE)
def test_no_pattern_takes_more_than_a_bounded_time_per_character(make: Make, term: str) -> None:
    """A backtracking matcher does not come back from the first of these; here all end, on texts made for them."""
    prefilter = make(rule(content=term))
    for text in ("a" * 30_000 + "!", "ab" * 15_000 + "!", "a " * 15_000 + "!"):
        prefilter.judge([article(text)])


@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0316\u0300" * 300_000,
        "\ud800" * 100_000,
        "\u1100\u1161\u11a8" * 100_000,
        "İ" * 100_000,
        "\x00" * 100_000,
    ],
    ids=["marks", "surrogates", "jamo", "folds-to-two", "nul"],
)
def test_no_text_takes_more_than_a_bounded_time_per_character(make: Make, text: str) -> None:
    """600,000 accents on one letter take Python's own normalisation half an hour."""
    prefilter = make(rule(content=["volunteers", "re:\\w+ly now"]), {"name": "marked", "content": "marker"})
    assert not blocks(prefilter, text)
    assert name(prefilter, article(f"{text} Marker")) == "marked"


@pytest.mark.timeout(60)  # it took many minutes, when the automaton held what sets words off
@pytest.mark.parametrize("beside", ["", "x", "ꙮ"])
def test_a_text_of_all_phrases_takes_a_bounded_time(make: Make, beside: str) -> None:
    phrases = [f"phrase{i:05d} word" for i in range(3000)]
    prefilter = make(rule(content={"of": phrases, "at_least": len(phrases)}))
    for text in (phrases, [phrase[:-1] for phrase in phrases]):
        whole = " ".join(f"{beside}{phrase}{beside}" for phrase in text)
        assert blocks(prefilter, whole) == (text is phrases and not beside)


def test_a_filter_has_no_more_than_so_many_patterns(make: Make) -> None:
    with pytest.raises(SpecError, match="20,001 different phrases, more than 20,000"):
        make(rule(content=[f"phrase {i}" for i in range(20_001)]))
    with pytest.raises(SpecError, match="instructions together, more than 100,000"):
        make(rule(content=[f"re:\\w{{3}}q{i}" for i in range(100)]))


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("re:(", "missing"),
        ("re:(?=a)", "invalid perl operator"),
        ("re:(a)\\1", "invalid escape sequence"),
        ("re:\\bcat\\b", "know ASCII letters only"),
        ("re:a*", "empty text"),
        ("re:", "stands behind re:"),
        ("re:[aß]", "cannot stand in a class"),
        ("re:[\\Wa]", "cannot stand in a class"),
        ("re:\\Qa\\E", "is not read"),
        ("re:a\\C", "half a character"),
        ("re:a\\", "trailing"),
        ("re:(\\w{10}){2}", "repeat less"),
        ("re:(\\w{100}){10}", "too large"),
        ("re:(((a{100}){100}){100})", "repetition size"),
        (" * ", "at least one character"),
        ("x" * 1001, "at most 1,000 characters"),
    ],
)
def test_wrong_terms_are_refused_in_words(term: str, says: str) -> None:
    with pytest.raises(ValidationError) as error:
        RulesOptions.model_validate({"block": [rule(text=term)]})
    assert says in str(error.value), error.value


def test_a_pattern_may_not_be_gigantic() -> None:
    assert compiled(rules_patterns.patterns("re:\\w+ \\w+", False).exact).programsize < MOST_INSTRUCTIONS


@pytest.mark.parametrize("text", ["", "a", "ﬃ", "Straße ΐ", "e\u0301", "가"])
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert compiled(f"^{literal(folded(text))}$").search(utf8(folded(text.upper())))


# filter.yaml

FILTER = """\
schema: 1
name: sample
version: "1"
dimensions:
  - {name: help, weight: 1}
prefilter:
  use: rules
  allow:
    - name: ours
  block:
    - name: finance
      titel: [shares]
    - name: Finance
      content: ["re:(", fine, "re:\\\\bx"]
    - name: length
      length: {below: 10, at_least: 20}
    - name: many
      text: {at_least: 3, of: [a, b]}
      language: [no]
      domain: [https://example.org/x]
"""


def test_check_says_all_of_what_is_wrong_at_once(tmp_path: Path) -> None:
    (tmp_path / "filter.yaml").write_text(FILTER)
    (tmp_path / "prompt.md").write_text("Score.\n\n{{article}}\n")
    lines = [p.split("filter.yaml:")[1] for p in check(tmp_path).problems]
    expected = {
        "9:": "there is nothing to look at",
        "12:": "did you mean 'title'?",
        "13:": "name",
        "14:": "missing ):",
        "16:": "no length is at least 20 and below 10",
        "18:": "at_least asks for 3 of 2 terms",
        "19:": "no is false in YAML",
        "20:": "without https://",
    }
    for line, what in expected.items():
        assert any(p.startswith(line) and what in p for p in lines), (line, what, lines)
    assert any(p.startswith("14:") and "ASCII letters only" in p for p in lines)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two rules are called 'r'"):
        RulesOptions.model_validate({"block": [rule(text="a"), rule(text="b")]})


ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["plugins/filterkit-postfilter/README.md", "docs/how-to/prefilter-rules.md"])
def test_what_the_pages_show_is_right(make: Make, page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    [example] = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "use: rules" in block]
    options = loads(example, page)[0]["prefilter"]
    del options["use"]
    prefilter = make(*options.pop("block"), **options)
    long = "text " * 100
    assert name(prefilter, article(f"{long} Dividends at this share price")) == "finance"
    assert name(prefilter, article(f"{long} Q3 2026 and the share price", source="our paper, Sunday")) is None
    assert name(prefilter, article(f"{long} Q3 2026, dividends", url="https://x.good-news.example/1")) is None
    assert name(prefilter, article("short")) == "too-short"
    assert name(prefilter, article(long, title="Your Horoscope")) == "~horoscopes"


def test_it_is_found_by_name() -> None:
    assert plugins().load("prefilter", "rules") is RulesPrefilter


def test_without_re2_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.startswith("filterkit_postfilter.rules")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ImportError, match=r"pip install 'filterkit-postfilter\[rules\]'"):
        __import__("filterkit_postfilter.rules")
