"""Training: published whole, found again, replaced only where it may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, Workspace, labelled, write_filter, write_jsonl

from filterkit.errors import ConfigError, PluginError, StoppedEarly
from filterkit.filters import load_filter
from filterkit.pipeline.data import load_data
from filterkit.pipeline.train import TrainReport, TrainRequest, train
from filterkit.plugins import plugins


def trained(ready: Workspace, out: str = "student", seed: int = 0, **options: Any) -> TrainReport:
    tiny = load_filter(ready.filter)
    return train(tiny, load_data(tiny, ready / "data"), ready / out, TrainRequest("toy", options, seed))


def test_the_same_request_finds_the_student(ready: Workspace, toys: None) -> None:
    first = trained(ready)
    assert first.already_there
    assert not trained(ready, seed=1).already_there
    assert not trained(ready, steps=4).already_there
    again = trained(ready)
    assert not again.already_there
    assert again.manifest.student_hash == first.manifest.student_hash, "the same data, options and seed"


def test_other_data_is_another_student(ready: Workspace, toys: None) -> None:
    ready.labels(labelled(130))
    ready.ok("prepare", "tiny/v1", "--labels", "labels.jsonl", "--output-dir", "data")
    before = json.loads((ready / "student/filterkit.json").read_bytes())["student_hash"]
    report = trained(ready)
    assert not report.already_there
    assert report.manifest.student_hash != before
    assert report.manifest.gates is None, "a new student has passed no gates"


def test_what_stops_early_leaves_the_old_student_and_goes_on(ready: Workspace, toys: None) -> None:
    tiny = load_filter(ready.filter)
    data = load_data(tiny, ready / "data")
    before = (ready / "student/filterkit.json").read_bytes()
    request = TrainRequest("toy", {"steps": 5}, seed=3)
    asked = iter([False, False, True])
    with pytest.raises(StoppedEarly, match="stopped at step 2"):
        train(tiny, data, ready / "student", request, stop=lambda: next(asked))
    assert (ready / "student/filterkit.json").read_bytes() == before
    seen: list[int] = []
    plugins().observe = lambda event, **values: seen.append(values["values"]["step"])  # type: ignore[method-assign]
    train(tiny, data, ready / "student", request)
    assert seen == [2, 3, 4]
    assert not list(ready.root.glob(".student*"))


def test_two_at_once(ready: Workspace, toys: None) -> None:
    from filterkit.files import locked

    with locked(ready / ".student.work/lock", "x"), pytest.raises(StoppedEarly, match="another process"):
        trained(ready, seed=5)


def test_options_are_checked_before_anything_is_done(ready: Workspace, toys: None) -> None:
    with pytest.raises(ConfigError, match="id you mean 'steps'"):
        trained(ready, stepps=3)
    assert json.loads((ready / "student/filterkit.json").read_bytes())["seed"] == 0
    assert not list(ready.root.glob(".student*"))


def test_a_trainer_that_makes_what_it_did_not_say(
    ready: Workspace, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins().load("trainer", "toy"), "produces", ("other",))
    with pytest.raises(PluginError, match="says that it produces other"):
        trained(ready, "new")
    assert not (ready / "new").exists()


def test_an_empty_folder_may_be_named(ready: Workspace, toys: None) -> None:
    (ready / "new").mkdir()
    assert trained(ready, "new").folder == (ready / "new").absolute()


def test_masked_labels_are_learnt_around(tmp_path: Path, toys: None) -> None:
    tiny = load_filter(write_filter(tmp_path / "tiny", FILTER))
    rows = labelled(100)
    for row in rows:
        row["scores"]["novelty"] = None
    for name, part in (("train", rows[:80]), ("val", rows[80:90]), ("test", rows[90:])):
        write_jsonl(tmp_path / f"data/{name}.jsonl", part)
    report = train(tiny, load_data(tiny, tmp_path / "data"), tmp_path / "student", TrainRequest("toy", {}))
    assert report.manifest.calibrator.maps[1].method == "none"
