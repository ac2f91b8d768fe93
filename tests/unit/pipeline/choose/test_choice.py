"""Choosing: what holds for every strategy, what each is for, and mixes of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pools import chosen, embed, keys, made, shuffled, strategies

from filterkit.errors import ConfigError, PluginError
from filterkit.pipeline.choose.candidates import host_of, stratum_of
from filterkit.pipeline.choose.mix import STRATEGIES, parse_mix, shared_out
from filterkit.pipeline.choose.strategies import SAMPLE, Near, sample_size
from filterkit.records import Article

MIXES = [*STRATEGIES, "random:0.5,diverse:0.5", "stratified:0.2,near:0.3,uncertain:0.5"]
POOL = made(360, sources=("a", "a", "b"), hosts=40)


@pytest.mark.parametrize("mix", MIXES)
def test_the_same_seed_chooses_the_same_in_whatever_order_the_articles_come(mix: str) -> None:
    first = chosen(POOL, mix, 60)
    assert len(set(keys(first))) == 60
    for seed in range(3):
        assert keys(chosen(shuffled(POOL, seed), mix, 60)) == keys(first)
    copies = chosen([*POOL, *made(180, sources=("a", "a", "b"), hosts=40)], mix, 60)
    assert keys(copies) == keys(first)  # a text that comes twice is chosen once


@pytest.mark.parametrize("mix", ["random", "stratified", "diverse"])
def test_another_seed_is_another_draw(mix: str) -> None:
    assert set(keys(chosen(POOL, mix, 60))) != set(keys(chosen(POOL, mix, 60, seed=1)))


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("cap", [1, 2])
def test_no_host_has_more_than_the_cap(mix: str, cap: int) -> None:
    choice = chosen(POOL, mix, 60, cap=cap)
    assert max(Counter(candidate.host for candidate in choice.chosen).values()) <= cap
    assert len(choice.chosen) == min(60, 40 * cap)


@pytest.mark.parametrize("mix", MIXES)
def test_what_is_labelled_is_not_chosen_again_and_all_of_the_rest_can_be(mix: str) -> None:
    had = POOL[::2]
    choice = chosen(POOL, mix, 1000, labelled=had)
    assert set(keys(choice)) == {one.candidate.key for one in POOL} - {one.candidate.key for one in had}
    assert (choice.read, choice.labelled, choice.free) == (360, 180, 180)
    assert sum(choice.strategies.values()) == 180


def test_what_failed_is_chosen_only_to_be_asked_again() -> None:
    failed = {one.sent_hash for one in POOL[:100]}

    def stands(hashes: object) -> list[str]:
        return ["failed" if one in failed else "free" for one in hashes]  # type: ignore[attr-defined]

    choice = chosen(POOL, "random", 1000, stands=stands)
    assert (len(choice.chosen), choice.failed, choice.free) == (260, 100, 260)


# What each is for


def test_random_takes_all_alike() -> None:
    counts = Counter(one.stratum[0] for seed in range(30) for one in chosen(POOL, "random", 60, seed=seed).chosen)
    assert counts["b"] / 1800 == pytest.approx(1 / 3, abs=0.04)


def test_stratified_gives_each_source_its_share_to_within_one() -> None:
    pool = made(900, sources=(*"aaaaaa", *"bb", "c"))
    for size in (9, 30, 90, 333):
        counts = Counter(one.stratum[0] for one in chosen(pool, "stratified", size).chosen)
        for source, share in (("a", 6 / 9), ("b", 2 / 9), ("c", 1 / 9)):
            assert abs(counts[source] - share * size) <= 1.01, (size, counts)


def test_stratified_makes_up_for_what_the_labels_have_too_little_of() -> None:
    pool = made(900, sources=(*"aaaaaa", *"bb", "c"))
    had = [one for one in pool if one.candidate.stratum[0] == "a"][:60]
    counts = Counter(one.stratum[0] for one in chosen(pool, "stratified", 30, labelled=had).chosen)
    assert counts == {"b": 20, "c": 10}


def test_near_takes_what_is_nearest_to_any_example() -> None:
    examples = embed([one.article.text for one in made(3)])
    similar = {one.candidate.key: float((embed([one.article.text]) @ examples.T).max()) for one in POOL}
    best = sorted(similar, key=lambda key: -similar[key])[:20]
    assert set(keys(chosen(POOL, "near", 20))) == set(best)


def test_uncertain_takes_what_the_student_is_least_sure_of_and_never_what_it_cannot_score() -> None:
    choice = chosen(POOL, "uncertain", 5)
    assert [one.line() for one in choice.chosen] == [
        b'{"id": "a%d", "row": %d}\n' % (i, i) for i in range(359, 354, -1)
    ]
    unsure = strategies(["uncertain"], 5)["uncertain"]
    unsure._doubts = lambda articles: np.full(len(articles), np.nan, np.float32)  # type: ignore[attr-defined]
    unsure.offer(POOL)
    assert unsure.ranked() == []


def test_an_embedder_that_gives_no_numbers_is_refused() -> None:
    with pytest.raises(PluginError, match="not finite"):
        Near(5, None, 0, lambda texts: np.full((len(texts), 4), np.nan, np.float32), [POOL[0].article])


def test_samples_to_choose_from_grow_with_what_is_wanted_and_are_bounded() -> None:
    assert [sample_size(n) for n in (10, 10_000, 100_000, 10**6)] == [SAMPLE, 80_000, 200_000, 10**6]


# Mixes


def test_any_beginning_of_a_mix_has_both_strategies_by_their_shares() -> None:
    alone = {key: n for n, key in enumerate(keys(chosen(POOL, "uncertain", 100)))}
    choice = chosen(POOL, "random:0.75,uncertain:0.25", 100)
    assert choice.strategies == {"random": 75, "uncertain": 25}
    of_uncertain = [key for key in keys(choice)[:40] if alone.get(key, 999) < 12]
    assert 9 <= len(of_uncertain) <= 14


def test_a_mix_is_read_and_its_mistakes_are_named() -> None:
    assert parse_mix("diverse") == (("diverse", 1.0),)
    assert parse_mix("random:0.25, near:0.75") == (("random", 0.25), ("near", 0.75))
    assert parse_mix("random:0.333,near:0.333,diverse:0.333")[0].share == pytest.approx(1 / 3)
    wrong = {
        "divers": "Did you mean 'diverse'",
        "random:0.5,near:0.2": "sum to 0.7",
        "random:0.5,random:0.5": "named twice",
        "random:nan,near:0.5": "not 'nan'",
        "random:0,near:1": "not '0'",
        "random:half,near:0.5": "not 'half'",
        "": "no strategy",
    }
    for text, says in wrong.items():
        with pytest.raises(ConfigError, match=says):
            parse_mix(text)


def test_shares_are_rounded_so_that_they_sum_up() -> None:
    parts = parse_mix("random:0.34,near:0.33,diverse:0.33")
    assert [shared_out(parts, n) for n in (1, 2, 100)] == [[1, 0, 0], [1, 1, 0], [34, 33, 33]]


# What is known of an article


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.Example.org:8080/a?b", "example.org"),
        ("http://user:pass@news.example.org./", "news.example.org"),
        ("no address", ""),
        ("http://[::1", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_host_of_an_address(url: str | None, host: str) -> None:
    assert host_of(Article("i", "", "text", url)) == host


def test_a_language_is_one_however_it_is_written_and_none_is_a_stratum_too() -> None:
    spellings = [Article("i", "", "x", source=" S ", language=one) for one in ("en", "EN", "en-GB", "en_US ")]
    assert {stratum_of(article) for article in spellings} == {("S", "en")}
    assert stratum_of(Article("i", "", "x")) == ("", "")


def test_hostile_names_are_cut_and_can_be_printed() -> None:
    long = "x" * 100_000
    article = Article("i", "", "x", f"https://{long}/", source=f"\ud800{long}", language=f"\udfff{long}")
    for name in (*stratum_of(article), host_of(article)):
        assert len(name.encode()) <= 202  # U+FFFD takes three


def test_what_is_told_counts_each_stratum_against_its_pool() -> None:
    told = chosen(POOL, "stratified", 60).to_dict()
    assert [(row["source"], row["chosen"], row["of"]) for row in told["strata"]] == [("a", 40, 240), ("b", 20, 120)]
    assert (told["read"], told["free"], told["chosen"]) == (360, 360, 60)
    assert told["hosts"] == len({one.host for one in chosen(POOL, "stratified", 60).chosen})
