"""Validation on the test split and out of fold. The gates are tested in tests/unit/test_metrics.py."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from helpers import Workspace, labelled

from filterkit import forced
from filterkit.errors import ArtifactError, InputError
from filterkit.filters import load_filter
from filterkit.manifest import Forced, load_manifest, save_manifest
from filterkit.pipeline import folds as module
from filterkit.pipeline.data import load_data
from filterkit.pipeline.validate import Beside, ValidationReport, validate


def validated(ready: Workspace, **more: Any) -> ValidationReport:
    tiny = load_filter(ready.filter)
    return validate(tiny, ready / "student", load_data(tiny, ready / "data"), ready / "work", **more)


def test_the_test_split_is_what_the_student_is_held_against(ready: Workspace, toys: None) -> None:
    report = validated(ready)
    assert report.record.method == "test split, 60 articles"
    assert report.record.passed
    said = json.loads((ready / "student/validation.json").read_bytes())
    assert said == report.to_dict()


def test_saying_the_same_again_changes_no_file(ready: Workspace, toys: None) -> None:
    """So what was deployed stays what is deployed."""
    first = validated(ready, folds=3)
    files = {name: (ready / "student" / name).read_bytes() for name in ("filterkit.json", "validation.json")}
    assert validated(ready, folds=3) == first
    assert {name: (ready / "student" / name).read_bytes() for name in files} == files
    assert validated(ready).record.method != first.record.method


def test_out_of_fold_judges_every_article_by_a_student_that_did_not_see_it(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[tuple[set[str], set[str], set[str]]] = []
    one_fold = module._one_fold

    def watch(filter: Any, manifest: Any, rows: Any, parts: Any, *rest: Any) -> Any:
        seen, val, held = ({rows.split.texts[i] for i in part} for part in parts)
        learnt.append((seen, val, held))
        return one_fold(filter, manifest, rows, parts, *rest)

    monkeypatch.setattr(module, "_one_fold", watch)
    report = validated(ready, folds=4)
    assert report.record.method == "out of fold, 4 folds, 600 articles"
    assert report.evaluation.metrics.n == 600
    held = Counter(text for _, _, texts in learnt for text in texts)
    assert len(held) == 600
    assert set(held.values()) == {1}
    for seen, calibrated, judged in learnt:
        assert not seen & judged
        assert not seen & calibrated
        assert not calibrated & judged
        assert len(seen | calibrated | judged) == 600
        assert len(calibrated) == pytest.approx(75, abs=3)
    assert not (ready / "work").exists()


def test_near_duplicates_share_a_fold(ready: Workspace, toys: None) -> None:
    rows = labelled(100)
    for i in range(30):
        rows.append({**rows[i], "id": f"near{i}", "content": rows[i]["content"] + " indeed"})
    for i in range(0, 20, 2):
        rows[50 + i]["group"] = rows[51 + i]["group"] = f"g{i}"
    ready.labels(rows)
    ready.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data")
    tiny = load_filter(ready.filter)
    data = load_data(tiny, ready / "data")
    rows_of = module.joined(data)
    ids = [a.id for a in rows_of.articles]
    half = module.halves(rows_of.split, rows_of.groups, tiny.spec.weights, 5, 0)
    of = dict(zip(ids, half.tolist(), strict=True))
    for i in range(30):
        assert of[f"near{i}"] == of[f"a{i:06}"]
    for i in range(0, 20, 2):
        assert of[f"a{50 + i:06}"] == of[f"a{51 + i:06}"]
    sizes = Counter(of.values())
    assert len(sizes) == 10
    assert max(sizes.values()) <= 2 * min(sizes.values())


def test_more_folds_than_articles(ready: Workspace, toys: None) -> None:
    ready.labels(labelled(12))
    ready.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data")
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    with pytest.raises(InputError, match="12 groups of articles are too few for 7 folds"):
        validated(ready, folds=7)
    assert validated(ready, folds=6).evaluation.metrics.n == 12


def test_an_article_that_no_fold_can_score_fails_the_gate(ready: Workspace, toys: None) -> None:
    rows = labelled(60)
    rows[7]["content"] += " unscorable"
    ready.labels(rows)
    ready.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data")
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    report = validated(ready, folds=3)
    assert report.evaluation.metrics.failed == 1
    assert not report.record.passed
    assert report.evaluation.metrics.overall.n == 59


def test_a_test_split_that_the_student_may_have_learnt_proves_nothing(ready: Workspace, toys: None) -> None:
    """Splits made elsewhere, with near-duplicates of test articles in train."""
    (ready / "data/data.json").unlink()
    train, test = ready / "data/train.jsonl", ready / "data/test.jsonl"
    copies = [json.loads(line) for line in test.read_bytes().splitlines()[:7]]
    more = [{**row, "id": f"copy {row['id']}", "content": row["content"] + " indeed", "group": ""} for row in copies]
    train.write_bytes(train.read_bytes() + b"".join(json.dumps(row).encode() + b"\n" for row in more))
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    assert validated(ready).record.method == (
        "test split, 53 articles (7 more are in train or val too, or nearly the same)"
    )
    assert validated(ready, folds=2).evaluation.metrics.n == 607
    train.write_bytes(train.read_bytes() + test.read_bytes().replace(b'"id": "', b'"id": "again '))
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    with pytest.raises(InputError, match="every test article is in train or val too"):
        validated(ready)


def test_a_student_that_is_worse_than_its_recipe_fails_although_the_recipe_is_good(
    ready: Workspace, toys: None
) -> None:
    """Folds judge other students of the same recipe: what is shipped is held against them."""
    assert validated(ready, folds=3).record.passed
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student", "-O", "constant=true")
    manifest = load_manifest(ready / "student")
    save_manifest(ready / "student", manifest.model_copy(update={"trainer_options": {}}))
    report = validated(ready, folds=3)
    assert [g.name for g in report.record.gates if not g.passed] == ["as_its_recipe"]


def test_nobody_is_told_to_fold_who_did(ready: Workspace) -> None:
    ready.labels(labelled(40))
    ready.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data")
    ready.ok("train", "tiny/v1", "--data-dir", "data", "--output-dir", "student")
    validate = ("validate", "tiny/v1", "--data-dir", "data", "--student", "student")
    assert "--folds 5 judges every label" in ready.run(*validate).stdout
    folded = ready.run(*validate, "--folds", "2").stdout
    assert "Label more." in folded
    assert "--folds" not in folded


def test_a_forced_student_is_told_of_out_of_fold_too(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forced, "_told", set())
    manifest = load_manifest(ready / "student")
    mark = Forced(reason="the board wants it", gates="mae is 2, the limit 1", at=manifest.created)
    save_manifest(ready / "student", manifest.model_copy(update={"forced": mark}))
    with pytest.warns(UserWarning, match="the board wants it"):
        validated(ready, folds=2)


def test_another_student_that_is_not_there_costs_no_training(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module, "_one_fold")
    with pytest.raises(ArtifactError, match="no student here"):
        validated(ready, folds=2, beside=Beside(ready / "nowhere"))
