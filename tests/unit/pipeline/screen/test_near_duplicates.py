"""Near-duplicates before paying: what is found, what is not, and which of them is kept."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import LETTERS, grams, jaccard, left_out, planted, screened, texts, vocabulary, word_set

PAIRS = 150


def found_share(pairs: list[tuple[str, str]]) -> float:
    out = left_out(screened(texts(*(text for pair in pairs for text in pair))))
    assert all(int(str(like)[1:]) == int(name[1:]) - 1 for name, like in out.items())
    return len(out) / len(pairs)


@pytest.mark.parametrize("script", LETTERS)
def test_pairs_that_share_nine_tenths_of_their_5_grams_are_found(script: str) -> None:
    assert found_share([planted(script, seed, 0.9) for seed in range(PAIRS)]) >= 0.98


@pytest.mark.parametrize("script", ["latin", "cyrillic"])
def test_pairs_that_share_nine_tenths_of_their_words_are_found(script: str) -> None:
    assert found_share([planted(script, seed, 0.9, word_set, 100) for seed in range(PAIRS)]) >= 0.98


@pytest.mark.parametrize("shingles", [grams, word_set])
def test_pairs_that_share_three_tenths_are_kept(shingles: object) -> None:
    assert found_share([planted("latin", seed, 0.3, shingles) for seed in range(PAIRS)]) <= 0.01  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 1.0))
def test_only_what_is_like_a_kept_one_is_left_out_and_twice_the_same(seed: int, share: float) -> None:
    """Texts that were made of one another, in chains and in stars."""
    draw = random.Random(seed)
    known = vocabulary("latin")
    found = [draw.choices(known, k=60)]
    for _ in range(14):
        text = list(draw.choice(found))
        for at in draw.sample(range(60), round((1 - share) * 20)):
            text[at] = draw.choice(known)
        found.append(text)
    articles = texts(*(" ".join(text) for text in found))
    decision = screened(articles)
    out = left_out(decision)
    by_id = {article.id: article.content for article in articles}
    for name, like in out.items():
        assert like is not None
        assert like not in out
        assert jaccard(grams(by_id[name]), grams(by_id[like])) > 0.6
    assert left_out(screened(articles)) == out
    kept = [article.id for article in articles if article.id not in out]
    again = screened(articles, labelled=draw.sample(kept, draw.randint(0, len(kept))))
    assert again.keys == decision.keys


def test_a_chain_does_not_leave_out_what_only_a_left_out_one_is_like() -> None:
    draw = random.Random(3)
    known = vocabulary("latin")
    first = draw.choices(known, k=100)
    second, third = list(first), list(first)
    for at in range(8):
        second[at] = third[at] = draw.choice(known)
    for at in range(50, 58):
        third[at] = draw.choice(known)
    chain = [" ".join(text) for text in (first, second, third)]
    assert jaccard(grams(chain[0]), grams(chain[2])) < 0.72 < jaccard(grams(chain[1]), grams(chain[2]))
    assert left_out(screened(texts(*chain))) == {"t1": "t0"}


def test_what_is_labelled_is_the_one_that_is_kept_and_is_never_left_out() -> None:
    one, other = planted("latin", 1, 0.9)
    articles = texts(one, other)
    assert left_out(screened(articles)) == {"t1": "t0"}
    assert left_out(screened(articles, labelled=["t1"])) == {"t0": "t1"}
    assert left_out(screened(articles, labelled=["t0", "t1"])) == {}


def test_what_failed_stands_in_for_nobody() -> None:
    assert left_out(screened(texts(*planted("latin", 1, 0.9)), failed=["t0"])) == {}


def test_exact_copies_are_counted_and_share_their_fate() -> None:
    one, other = planted("latin", 1, 0.9)
    decision = screened(texts(one, one, other, other, other))
    assert left_out(decision) == {"t2": "t0", "t3": "t0", "t4": "t0"}
    assert (decision.report.kept, decision.report.copies, decision.report.near_duplicates) == (2, 1, 3)


def test_case_and_white_space_make_no_other_text_however_short_it_is() -> None:
    assert left_out(screened(texts("A small step", "a  small\nstep", "A small stop"))) == {"t1": "t0"}


@pytest.mark.parametrize(
    "template",
    [
        "Weather for day {}: {} degrees and sunny spells, with a light wind from the west and rain in the evening.",
        "Team {} of the town beat the visitors 3:{} in front of a large crowd that stayed until the very last minute.",
        "Notice {} from the village: room {} of the old town hall is open for all who want to read there in peace",
        "第{}天的天气预报：白天气温{}度，多云转晴，傍晚有小雨，西风三级，请市民出行时注意携带雨具，注意交通安全，并且关注最新的天气消息。",
    ],
)
def test_a_template_that_is_filled_with_other_numbers_is_other_news(template: str) -> None:
    assert left_out(screened(texts(*(template.format(i, i + 1) for i in range(200))))) == {}
    again = f" {template.format(7, 8).upper()}"
    assert left_out(screened(texts(template.format(7, 8), template.format(8, 9), again))) == {"t2": "t0"}


def test_texts_of_nothing_but_numbered_words_are_compared_as_they_are() -> None:
    draw = random.Random(1)
    one = [f"w{draw.randrange(5000)}" for _ in range(100)]
    other = [f"w{draw.randrange(5000)}" if i % 25 == 0 else word for i, word in enumerate(one)]
    assert jaccard(grams(" ".join(one)), grams(" ".join(other))) > 0.8
    assert left_out(screened(texts(" ".join(one), " ".join(other)))) == {"t1": "t0"}


def test_a_passage_that_all_share_hides_no_near_duplicates_and_makes_none() -> None:
    draw = random.Random(5)
    known = vocabulary("latin")
    wall = " ".join(draw.choices(known, k=60))
    own = [" ".join(draw.choices(known, k=60)) for _ in range(400)]
    copies = [f"{text} {draw.choice(known)}" for text in own[:100]]
    out = left_out(screened(texts(*(f"{wall} {text}" for text in [*own, *copies]))))
    assert out == {f"t{400 + i}": f"t{i}" for i in range(100)}


@pytest.mark.parametrize(
    "odd", ["", " ", "\x00", "\ud800", "a\ud800b" * 40, "👩‍👩‍👧‍👦" * 30, "x" * 300_000, "1a" * 50_000]
)
def test_odd_texts_stop_nothing(odd: str) -> None:
    plain = " ".join(vocabulary("latin")[:60])
    assert left_out(screened(texts(plain, odd, f"{odd} ", plain.upper()), boilerplate=False)).get("t3") == "t0"


def test_the_threshold_can_be_set_and_looking_can_be_switched_off() -> None:
    pair = planted("latin", 2, 0.82)
    assert len(left_out(screened(texts(*pair)))) == 1
    assert left_out(screened(texts(*pair), near_duplicates=0.95)) == {}
    assert left_out(screened(texts(*pair, pair[0].upper()), near_duplicates=None)) == {}


def test_more_than_can_be_compared_here_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from filterkit.errors import InputError
    from filterkit.pipeline.screen import screening

    monkeypatch.setattr(screening, "MOST_ARTICLES", 250)
    many = texts(*(f"text number {i}" for i in range(300)))
    with pytest.raises(InputError, match="--no-screen"):
        screened(many)
    assert screened(many, near_duplicates=None).report.read == 300
