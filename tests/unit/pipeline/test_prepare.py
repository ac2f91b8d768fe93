"""Labels into splits."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FILTER, labelled, read_jsonl, words, write_filter

from filterkit.articles import to_article
from filterkit.errors import ConfigError, InputError
from filterkit.filters import Filter, load_filter
from filterkit.io import to_label
from filterkit.pipeline.data import SPLITS, load_data
from filterkit.pipeline.judgement.consensus import Judge, Rule
from filterkit.pipeline.judgement.judged import Manner
from filterkit.pipeline.prepare import PrepareReport, prepare


@pytest.fixture
def tiny(tmp_path: Path) -> Filter:
    return load_filter(write_filter(tmp_path / "tiny"))


def split(tiny: Filter, rows: list[dict[str, Any]], out: Path, **more: Any) -> PrepareReport:
    return prepare(tiny, [(to_article(r), to_label(r, tiny.spec)) for r in rows], out, **more)


def where(out: Path) -> dict[str, str]:
    """id -> split"""
    return {row["id"]: name for name in SPLITS for row in read_jsonl(out / f"{name}.jsonl")}


def test_eighty_ten_ten_of_every_level(tiny: Filter, tmp_path: Path) -> None:
    report = split(tiny, labelled(500), tmp_path / "out")
    assert report.counts == {"train": 400, "val": 50, "test": 50}
    total = {r["id"]: 0.75 * r["scores"]["help"] + 0.25 * r["scores"]["novelty"] for r in labelled(500)}
    thirds = sorted(total, key=lambda i: (total[i], i))
    for part in (thirds[:160], thirds[160:320], thirds[320:480]):
        counts = Counter(where(tmp_path / "out")[i] for i in part)
        assert counts["train"] == pytest.approx(128, abs=8)
        assert counts["test"] == pytest.approx(16, abs=6)


def test_the_order_of_the_labels_does_not_matter(tiny: Filter, tmp_path: Path) -> None:
    rows = labelled(100)
    rows.append({**rows[3], "id": "a-copy"})
    rows.append({**rows[5], "content": "quite another text under a known id"})
    rows.append({**rows[8], "scores": {"help": 1, "novelty": 1, "is_advert": 0}})
    first = split(tiny, rows, tmp_path / "a")
    assert (first.duplicates.same, first.duplicates.conflicts) == (2, [rows[5]["id"]])
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        again = split(tiny, rows, tmp_path / "a")
        assert again.info == first.info
        assert again.unchanged


def test_another_seed_is_another_split(tiny: Filter, tmp_path: Path) -> None:
    split(tiny, labelled(200), tmp_path / "a")
    split(tiny, labelled(200), tmp_path / "b", seed=1)
    assert where(tmp_path / "a") != where(tmp_path / "b")


def test_near_duplicates_and_declared_groups_never_straddle(tiny: Filter, tmp_path: Path) -> None:
    rows = labelled(150)
    for i, row in enumerate(labelled(40)):
        parts = row["content"].split()
        rows.append({**row, "id": f"near{i:03}", "content": " ".join([*parts[:20], "changed", *parts[20:]])})
    for i, row in enumerate(labelled(70, seed=9)[40:]):
        rows.append({**row, "id": f"told{i:03}", "group": rows[40 + i]["id"]})
        rows[40 + i]["group"] = rows[40 + i]["id"]
    report = split(tiny, rows, tmp_path / "out")
    assert report.near_duplicates == 70
    found = where(tmp_path / "out")
    for i in range(40):
        assert found[f"near{i:03}"] == found[f"a{i:06}"]
    for i in range(30):
        assert found[f"told{i:03}"] == found[f"a{40 + i:06}"]
    assert len({found[f"near{i:03}"] for i in range(40)}) > 1


def test_the_rows_name_the_first_of_their_group(tiny: Filter, tmp_path: Path) -> None:
    rows = labelled(60)
    for i in (7, 3, 5):
        rows[i]["group"] = "chosen by the author"
    rows[20]["group"] = 20  # no text: declares nothing
    split(tiny, rows, tmp_path / "out")
    group = {row["id"]: row["group"] for name in SPLITS for row in read_jsonl(tmp_path / "out" / f"{name}.jsonl")}
    assert [group[f"a{i:06}"] for i in (3, 5, 7, 20)] == ["a000003"] * 3 + ["a000020"]
    read = load_data(tiny, tmp_path / "out").splits
    named = {a.id: g for part in read.values() for a, g in zip(part.articles, part.groups, strict=True)}
    assert named == group


def test_preparing_prepared_splits_keeps_groups_together(tiny: Filter, tmp_path: Path) -> None:
    rows = labelled(60)
    rows[3]["group"] = rows[50]["group"] = "g"
    split(tiny, rows, tmp_path / "a")
    again = [row for name in SPLITS for row in read_jsonl(tmp_path / "a" / f"{name}.jsonl")]
    split(tiny, again, tmp_path / "b")
    assert where(tmp_path / "b") == where(tmp_path / "a")


@pytest.mark.parametrize("n", [3, 4, 9, 10, 11, 25])
def test_few_labels_still_give_three_splits(tiny: Filter, tmp_path: Path, n: int) -> None:
    counts = split(tiny, labelled(n), tmp_path / "out").counts
    assert sum(counts.values()) == n
    assert min(counts.values()) >= 1


def test_too_few_different_texts(tiny: Filter, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 different texts among 2"):
        split(tiny, labelled(2), tmp_path / "out")
    with pytest.raises(InputError, match="2 different texts among 5"):
        split(tiny, [{**r, "group": str(i % 2)} for i, r in enumerate(labelled(5))], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_of_two_oracles_are_mixed_only_when_asked(tiny: Filter, tmp_path: Path) -> None:
    rows = [{**r, "oracle": ("gemini", "openai")[i % 2]} for i, r in enumerate(labelled(40))]
    with pytest.raises(ConfigError, match="several oracles"):
        split(tiny, rows, tmp_path / "out")
    assert split(tiny, rows, tmp_path / "out", mix_oracles=True).info.oracles == ("gemini", "openai")


def test_a_split_of_another_run_is_not_taken_for_ones_own(tiny: Filter, tmp_path: Path) -> None:
    """Whatever moment a first run is killed at, no complete splits without data.json are left."""
    split(tiny, labelled(40), tmp_path / "out")
    (tmp_path / "out/test.jsonl").unlink()
    with pytest.raises(InputError, match=r"test\.jsonl is missing"):
        load_data(tiny, tmp_path / "out")


def test_unknown_fields_and_evidence_travel(tiny: Filter, tmp_path: Path) -> None:
    rows = [
        {**r, "evidence": {"help": "they helped"}, "oracle": "o", "model": "m", "tags": ["x"]} for r in labelled(20)
    ]
    split(tiny, rows, tmp_path / "out")
    row = read_jsonl(tmp_path / "out/test.jsonl")[0]
    assert (row["evidence"], row["oracle"], row["model"], row["tags"]) == ({"help": "they helped"}, "o", "m", ["x"])
    data = json.loads((tmp_path / "out/data.json").read_bytes())
    assert data["info"]["oracles"] == ["o"]


def test_splits_made_elsewhere_get_their_near_duplicates_found(tiny: Filter, tmp_path: Path) -> None:
    split(tiny, labelled(60), tmp_path / "out")
    (tmp_path / "out/data.json").unlink()
    rows = [{k: v for k, v in r.items() if k != "group"} for r in read_jsonl(tmp_path / "out/train.jsonl")]
    rows[10] = {**rows[11], "id": "copy", "content": rows[11]["content"] + " more"}
    rows[20]["group"] = rows[25]["group"] = "told"
    (tmp_path / "out/train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    groups = load_data(tiny, tmp_path / "out").splits["train"].groups
    assert groups[10] == groups[11]
    assert groups[20] == groups[25]
    assert len(set(groups)) == len(rows) - 2


def test_another_filters_splits_are_refused(tiny: Filter, tmp_path: Path) -> None:
    split(tiny, labelled(30), tmp_path / "out")
    other = load_filter(write_filter(tmp_path / "other", FILTER.replace("name: tiny", "name: other")))
    with pytest.raises(Exception, match="another filter"):
        load_data(other, tmp_path / "out")


def test_labels_that_contradict_each_other_are_told(tiny: Filter, tmp_path: Path) -> None:
    rows = labelled(40)
    rows.append({**rows[8], "id": "again", "scores": {"help": 1, "novelty": 1, "is_advert": 0}})
    report = split(tiny, rows, tmp_path / "a")
    assert report.duplicates.same == 1
    assert len(report.duplicates.contradictions) == 1


TIERS = "postfilter: {use: tiers, tiers: [{name: best, at_least: 7}, {name: good, at_least: 4}, {name: rest}]}\n"


@pytest.fixture
def tiered(tmp_path: Path) -> Filter:
    return load_filter(write_filter(tmp_path / "tiered", FILTER + TIERS))


def scored(rows: list[dict[str, Any]], best: int, good: int) -> list[dict[str, Any]]:
    """`best` rows of the best tier, `good` of the second, the others of the last."""
    for i, row in enumerate(rows):
        score = 8 if i < best else 5 if i < best + good else 1
        row["scores"] = {"help": score, "novelty": score, "is_advert": 0}
    return rows


def tier_counts(out: Path) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = {8: Counter(), 5: Counter(), 1: Counter()}
    for name in SPLITS:
        for row in read_jsonl(out / f"{name}.jsonl"):
            found[row["scores"]["help"]][name] += 1
    return found


@pytest.mark.parametrize(("best", "good"), [(12, 300), (10, 10), (19, 23), (37, 101)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_tier_is_in_every_split(tiered: Filter, tmp_path: Path, best: int, good: int, seed: int) -> None:
    report = split(tiered, scored(labelled(1000), best, good), tmp_path / "out", seed=seed)
    assert report.counts == {"train": 800, "val": 100, "test": 100}
    for score, size in ((8, best), (5, good), (1, 1000 - best - good)):
        counts = tier_counts(tmp_path / "out")[score]
        for name in ("val", "test"):
            assert size // 10 <= counts[name] <= size // 10 + 2


def test_a_rare_tier_of_near_duplicates_is_in_every_split(tiered: Filter, tmp_path: Path) -> None:
    rows = scored(labelled(300), 5, 100)
    for row in rows[:5]:
        for i in range(2):
            rows.append({**row, "id": f"{row['id']}-{i}", "content": row["content"] + f" more{i}"})
    for seed in range(5):
        split(tiered, rows, tmp_path / "out", seed=seed)
        counts = tier_counts(tmp_path / "out")[8]
        assert min(counts[name] for name in SPLITS) >= 3


def test_a_wall_does_not_fill_the_test(tiered: Filter, tmp_path: Path) -> None:
    """Copies of one text prove nothing: they go to train, and the others still give a tenth of all to the test."""
    rows = scored(labelled(1000), 50, 300)
    wall = " ".join(words(np.random.default_rng(3), 60))
    for row in rows[700:]:
        row["content"] = wall + row["content"][:9]
    report = split(tiered, rows, tmp_path / "out")
    assert report.near_duplicates == 299
    assert report.counts["val"] == pytest.approx(100, abs=3)
    assert report.counts["test"] == pytest.approx(100, abs=3)
    assert {where(tmp_path / "out")[row["id"]] for row in rows[700:]} == {"train"}


def test_nothing_but_copies_cannot_be_split(tiny: Filter, tmp_path: Path) -> None:
    wall = " ".join(words(np.random.default_rng(3), 60))
    rows = [{**row, "title": "", "content": f"{wall} {i}"} for i, row in enumerate(labelled(40))]
    with pytest.raises(InputError, match="1 different texts among 40 labelled articles, near-duplicates taken as one"):
        split(tiny, rows, tmp_path / "out")


def test_excluded_articles_take_their_near_duplicates_with_them(tiny: Filter, tmp_path: Path) -> None:
    rows = labelled(120)
    evaluation = [{k: v for k, v in row.items() if k != "scores"} for row in labelled(20)]
    for row in rows[:5]:
        row["content"] += " and some more"  # an edited text under a known id
    for row in rows[5:10]:
        row["id"] = f"other-{row['id']}"
    for row in rows[10:20]:
        row |= {"id": f"near-{row['id']}", "content": row["content"] + " and some more"}
    rows[30]["group"] = evaluation[19]["group"] = "told"
    report = split(tiny, rows, tmp_path / "out", exclude=[to_article(r) for r in evaluation])
    assert (report.excluded.same, report.excluded.near) == (10, 11)
    assert report.to_dict()["excluded"] == 21
    assert set(where(tmp_path / "out")) == {row["id"] for i, row in enumerate(rows) if i >= 20 and i != 30}
    assert sum(report.counts.values()) == 99


def test_excluding_everything_says_so(tiny: Filter, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 labelled articles that are left after 30 were excluded"):
        split(tiny, labelled(30), tmp_path / "out", exclude=[to_article(r) for r in labelled(30)])


def repeated(n: int = 40, more: int = 15) -> list[dict[str, Any]]:
    """`n` labelled articles, `more` of them with two more answers, which say 0."""
    rows = labelled(n)
    none = {"help": 0, "novelty": 0, "is_advert": 0}
    return [*({**r, "sample": k, "scores": none} for k in (1, 2) for r in rows[:more]), *rows]


def all_rows(out: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for name in SPLITS for row in read_jsonl(out / f"{name}.jsonl")}


def test_of_repeated_samples_the_median_counts_and_it_is_told(tiny: Filter, tmp_path: Path) -> None:
    report = split(tiny, repeated(), tmp_path / "out")
    assert (report.duplicates.samples, report.duplicates.same, report.duplicates.contradictions) == (0, 0, [])
    kept, given = all_rows(tmp_path / "out"), labelled(40)
    assert all(set(kept[row["id"]]["scores"].values()) == {0} for row in given[:15])
    assert all(kept[row["id"]]["scores"] == row["scores"] for row in given[15:])
    assert {row["samples"] for row in kept.values()} == {1, 3}
    assert all((row["spread"] is None) == (row["samples"] == 1) for row in kept.values())
    told = report.info.judgement
    assert told is not None
    assert (told.rule, told.answers, told.weighted) == ("median", {"1": 25, "3": 15}, True)
    assert report.to_dict()["judgement"]["spread"].keys() == {"help", "novelty", "is_advert"}
    assert load_data(tiny, tmp_path / "out").info == report.info


def test_the_spread_is_the_weight_that_training_gets(tiny: Filter, tmp_path: Path) -> None:
    split(tiny, repeated(), tmp_path / "out")
    kept = all_rows(tmp_path / "out")
    for rows in load_data(tiny, tmp_path / "out").splits.values():
        for article, weight in zip(rows.articles, rows.split.weights, strict=True):
            assert weight == pytest.approx(kept[article.id]["weight"])
    assert len({row["weight"] for row in kept.values()}) > 3
    split(tiny, repeated(), tmp_path / "even", manner=Manner(weighted=False))
    even = load_data(tiny, tmp_path / "even")
    assert set(even.splits["train"].split.weights.tolist()) == {1.0}
    assert even.info.judgement is not None
    assert "weight" not in all_rows(tmp_path / "even")["a000000"]


def test_an_article_s_own_field_called_weight_is_no_weight(tiny: Filter, tmp_path: Path) -> None:
    split(tiny, [{**row, "weight": 70, "judges": "three"} for row in labelled(40)], tmp_path / "out")
    data = load_data(tiny, tmp_path / "out")
    assert data.info.judgement is None
    assert set(data.splits["train"].split.weights.tolist()) == {1.0}
    assert data.splits["train"].articles[0].extra["weight"] == 70
    split(tiny, [{**row, "weight": "heavy", "judges": ["x"]} for row in repeated()], tmp_path / "merged")
    assert 0.2 < load_data(tiny, tmp_path / "merged").splits["train"].split.weights.min() < 4


def test_the_first_sample_counts_where_that_is_asked(tiny: Filter, tmp_path: Path) -> None:
    report = split(tiny, repeated(), tmp_path / "out", manner=Manner("first"))
    assert (report.duplicates.samples, report.duplicates.same, report.duplicates.contradictions) == (30, 0, [])
    assert {key: row["scores"] for key, row in all_rows(tmp_path / "out").items()} == {
        row["id"]: row["scores"] for row in labelled(40)
    }
    assert report.info.judgement is not None  # told all the same
    assert (report.info.judgement.rule, report.info.judgement.left_out) == ("first", {"samples": 30})
    plain = split(tiny, labelled(40), tmp_path / "plain")
    assert plain.info.fingerprint != report.info.fingerprint


def test_merged_rows_are_the_same_in_any_order_and_stay_where_they_are(tiny: Filter, tmp_path: Path) -> None:
    rows = repeated(100, 60)
    first = split(tiny, rows, tmp_path / "out")
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        again = split(tiny, rows, tmp_path / "out")
        assert (again.info, again.unchanged) == (first.info, True)


def test_labels_of_single_answers_are_prepared_as_ever(tiny: Filter, tmp_path: Path) -> None:
    """What was prepared before there were medians keeps its fingerprint."""
    report = split(tiny, labelled(40), tmp_path / "out")
    assert report.info.judgement is None
    assert "judgement" not in (tmp_path / "out" / "data.json").read_text()
    assert not {"samples", "spread", "weight"} & all_rows(tmp_path / "out")["a000000"].keys()


def test_medians_between_the_steps_are_read_back(tmp_path: Path) -> None:
    whole = load_filter(write_filter(tmp_path / "whole", f"{FILTER}scale: {{min: 0, max: 10, step: 1}}\n"))
    rows = labelled(30)
    again = [{**r, "sample": 1, "scores": {**r["scores"], "help": abs(r["scores"]["help"] - 1)}} for r in rows]
    split(whole, [*rows, *again], tmp_path / "out")
    found = load_data(whole, tmp_path / "out").splits["train"].split.targets[:, 0]
    assert set((found % 1).tolist()) == {0.5}


def judges(n: int = 60) -> list[dict[str, Any]]:
    """Two judges of the same articles: the second gives 1 more, but 9 or 0 to every fifth, where a third says 5."""
    rows = []
    for i, row in enumerate(labelled(n)):
        help_ = row["scores"]["help"]
        other = (9 if help_ < 5 else 0) if i % 5 == 0 else min(10, help_ + 1)
        rows.append({**row, "oracle": "one", "model": "m"})
        rows.append({**row, "oracle": "two", "model": "m", "scores": {**row["scores"], "help": other}})
        if i % 5 == 0:
            rows.append({**row, "oracle": "ref", "model": "m", "scores": {**row["scores"], "help": 5}})
    return rows


RULE = Rule(Judge("one", "m"), Judge("two", "m"), Judge("ref", "m"), 2.0)


def test_a_consensus_of_two_oracles_and_a_referee(tiny: Filter, tmp_path: Path) -> None:
    report = split(tiny, judges(), tmp_path / "out", manner=Manner(consensus=RULE))
    told = report.info.judgement
    assert told is not None
    assert (told.rule, told.judges, told.referee, told.tolerance) == (
        "consensus",
        ("one m", "two m", "ref m"),
        "ref m",
        2,
    )
    kept = all_rows(tmp_path / "out")
    refereed = {key for key, row in kept.items() if row["refereed"]}
    assert told.refereed == len(refereed) == 12
    assert all(kept[key]["scores"]["help"] == 5 for key in refereed)
    assert report.info.oracles == ("one", "ref", "two")
    assert {row["oracle"] for row in kept.values()} == {"consensus"}
    weights = [
        np.mean([row["weight"] for key, row in kept.items() if (key in refereed) is torn]) for torn in (False, True)
    ]
    assert weights[0] > weights[1]
    rows = judges()
    random.Random(1).shuffle(rows)
    assert split(tiny, rows, tmp_path / "out", manner=Manner(consensus=RULE)).unchanged


def test_without_a_consensus_oracles_are_not_mixed_as_before(tiny: Filter, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="several oracles or models"):
        split(tiny, judges(), tmp_path / "out")


def test_what_the_judges_dispute_without_a_referee_is_left_out(tiny: Filter, tmp_path: Path) -> None:
    rule = Rule(RULE.first, RULE.second, None, 2.0)
    report = split(tiny, judges(), tmp_path / "out", manner=Manner(consensus=rule))
    assert report.info.judgement is not None
    assert report.info.judgement.left_out == {"others": 12, "undecided": 12}
    assert sum(report.counts.values()) == 48
    lonely = [row for row in judges() if row["oracle"] == "one"]
    with pytest.raises(InputError, match="60 more have no label that the judges agree on"):
        split(tiny, lonely, tmp_path / "none", manner=Manner(consensus=rule))


def test_a_new_policy_leaves_the_splits_as_they_are(tiered: Filter, tmp_path: Path) -> None:
    rows = labelled(300)
    first = split(tiered, rows, tmp_path / "out")
    tighter = load_filter(write_filter(tmp_path / "tiered", FILTER + TIERS.replace("at_least: 4", "at_least: 6")))
    assert split(tighter, rows, tmp_path / "elsewhere").info.fingerprint != first.info.fingerprint
    again = split(tighter, rows, tmp_path / "out")
    assert again.unchanged
    assert again.info.fingerprint == first.info.fingerprint
    assert not split(tighter, rows, tmp_path / "out", seed=1).unchanged
    assert not split(tighter, rows[1:], tmp_path / "out", seed=1).unchanged
