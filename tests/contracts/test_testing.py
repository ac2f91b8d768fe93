"""What filterkit.testing gives to authors besides the suites."""

from __future__ import annotations

import _socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from filterkit import testing
from filterkit.io import read_labelled
from filterkit.spec import problems
from filterkit.student import load_student
from filterkit.testing.base import no_network, opened_files


def test_without_pytest_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['pytest'] = None\nimport filterkit.testing"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last == "ImportError: filterkit.testing needs pytest: pip install 'filterkit[testing]'"


def test_a_suite_without_its_fixture_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from filterkit.testing import OracleContract\nclass TestMine(OracleContract): ...\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "supply the fixture `backend`" in done.stdout


def test_a_failing_promise_is_explained(tmp_path: Path) -> None:
    """The suites' asserts show their values as those of one's own tests do."""
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "from filterkit.testing import EmbedderContract\n"
        "from filterkit.testing.toys import ToyEmbedder\n"
        "class Old(ToyEmbedder):\n"
        "    api = 0\n"
        "class TestOld(EmbedderContract):\n"
        "    @pytest.fixture\n"
        "    def backend(self):\n"
        "        return Old\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "api is 0, the contract of this filterkit is 1" in done.stdout
    assert "where 0 = " in done.stdout


def test_samples_are_the_same_each_time_and_all_different() -> None:
    articles = testing.sample_articles(300)
    assert articles == testing.sample_articles(300)
    assert len({a.text for a in articles}) == 300
    assert problems(testing.tiny_spec()) == []


@pytest.mark.parametrize("step", [None, 1, 2.5])
def test_sample_labels_can_be_read_back(tmp_path: Path, step: float | None) -> None:
    spec = testing.tiny_spec(scale={"min": 0, "max": 10, "step": step})
    rows = [(a, testing.sample_label(a, spec)) for a in testing.sample_articles(30)]
    read = list(read_labelled([testing.write_labelled(tmp_path / "l.jsonl", rows)], spec))
    assert [(a.id, dict(label.scores)) for a, label in read] == [(a.id, dict(label.scores)) for a, label in rows]


def test_a_split_may_hide_targets_but_never_a_whole_row(tmp_path: Path) -> None:
    spec = testing.tiny_spec()
    split = testing.make_split(spec, tmp_path / "train.jsonl", testing.sample_articles(200), unknown=0.5)
    unknown = np.isnan(split.targets)
    assert 0.3 < unknown.mean() < 0.6
    assert not unknown.all(axis=1).any()
    assert len(split.path.read_text().splitlines()) == len(split.texts) == 200


def test_a_made_student_is_a_student(tmp_path: Path) -> None:
    spec = testing.tiny_spec()
    student_hash = testing.make_student(tmp_path / "student", spec, testing.fake_context(tmp_path))
    student = load_student(tmp_path / "student")
    assert student.manifest.student_hash == student_hash
    scores = student.score(testing.sample_articles(5))
    assert scores.shape == (5, 3)


def test_the_fake_context_keeps_events_and_gives_one_secret(tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, object]]] = []
    context = testing.fake_context(tmp_path, events=events)
    context.emit("training_progress", step=1)
    assert events == [("training_progress", {"step": 1})]
    assert context.secret("ANY_KEY") == "contract-suite-secret"


def test_the_network_guard_sees_what_goes_around_the_socket_class() -> None:
    def look_up() -> None:
        with no_network("the block"):
            _socket.getaddrinfo("localhost", 80)

    with pytest.raises(AssertionError, match="the block must not use the network"):
        look_up()
    with no_network("the block"):
        pass


def test_opened_files_are_heard(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with opened_files() as seen:
        (tmp_path / "a.txt").read_text()
    assert any("a.txt" in name for name in seen)
