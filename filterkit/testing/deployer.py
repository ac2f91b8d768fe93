"""The contract suite of deployers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filterkit.contracts import Context, Deployer
from filterkit.errors import FilterkitError
from filterkit.files import sha256_file
from filterkit.records import Deployment
from filterkit.shipped import OF_THE_TARGET
from filterkit.spec import FilterSpec
from filterkit.student import load_scorer
from filterkit.testing.base import BackendContract
from filterkit.testing.samples import SECRET, sample_articles
from filterkit.testing.toys import make_student

Student = tuple[Path, str]
"""A student's folder and its hash."""


class DeployerContract(BackendContract):
    """Ships toy students. Where files out there can be damaged by a test, supply `damage` too."""

    kind = Deployer

    @pytest.fixture
    def student(self, tmp_path: Path, spec: FilterSpec, context: Context) -> Student:
        """A student."""
        return tmp_path / "student", make_student(tmp_path / "student", spec, context)

    @pytest.fixture
    def other(self, tmp_path: Path, spec: FilterSpec, context: Context) -> Student:
        """Another student of the same filter."""
        return tmp_path / "other", make_student(tmp_path / "other", spec, context, rows=60)

    @pytest.fixture
    def damage(self) -> Callable[[Deployment, str], None]:
        """Flips a byte of a file of a deployment, as stored out there."""
        pytest.skip("supply the fixture `damage` to see that damage is noticed")

    def test_the_target_has_a_name(self, make: Callable[..., Any]) -> None:
        assert make().target.strip()
        assert make().target == make().target, "the same options must lead to the same target"

    def test_nothing_is_live_at_first(self, make: Callable[..., Any]) -> None:
        assert make().current() is None

    def test_publish_says_what_it_did(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        deployment = one.publish(*student)
        assert isinstance(deployment, Deployment)
        assert deployment.id.strip()
        assert deployment.student_hash == student[1]
        assert deployment.target == one.target
        assert deployment.at.utcoffset() is not None, "give `at` a time zone"
        assert SECRET not in deployment.model_dump_json(), "a deployment's record carries the secret"

    def test_publish_sends_no_traffic(self, make: Callable[..., Any], student: Student, other: Student) -> None:
        one = make()
        first = one.publish(*student)
        assert one.current() is None, "publish() made the student live before it was verified"
        one.activate(first)
        one.publish(*other)
        assert one.current().id == first.id, "publish() replaced the live student before the new one was verified"

    def test_publish_twice_changes_nothing(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        first = one.publish(*student)
        again = make().publish(*student)
        assert again == first, "the same student was published as another deployment"
        assert one.fetch_hashes(again) == one.fetch_hashes(first)

    def test_two_students_are_two_deployments(self, make: Callable[..., Any], student: Student, other: Student) -> None:
        one = make()
        assert one.publish(*student).id != one.publish(*other).id

    def test_hashes_are_those_of_the_files(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        found = one.fetch_hashes(one.publish(*student))
        expected = {p.relative_to(student[0]).as_posix(): sha256_file(p) for p in student[0].rglob("*") if p.is_file()}
        missing = {name for name in expected if found.get(name) != expected[name]}
        assert not missing, f"not out there, or not the same: {missing}"

    def test_it_says_what_it_publishes(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        promised = one.contents(student[0])
        assert one.current() is None, "contents() must publish nothing"
        found = one.fetch_hashes(one.publish(*student))
        theirs = {name: value for name, value in found.items() if name in promised or name not in OF_THE_TARGET}
        assert theirs == promised, "what lies out there is not what contents() said"
        for name in ("toy.json", "filterkit.json"):
            assert promised.get(name) == sha256_file(student[0] / name), f"contents() must tell of {name} as it is"

    def test_the_plan_is_only_said(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        lines = one.plan(student[0])
        assert all(isinstance(line, str) and line.strip() and line.isprintable() for line in lines), "a line is a text"
        assert SECRET not in "".join(lines), "the plan tells the secret"
        assert one.current() is None, "plan() must do nothing"

    def test_what_serves_is_what_was_activated(
        self, make: Callable[..., Any], student: Student, other: Student, spec: FilterSpec
    ) -> None:
        one = make()
        one.activate(one.publish(*other))
        deployment = one.publish(*student)
        one.activate(deployment)
        served = one.serving(deployment)
        if served is None:
            return  # a store of files; nothing answers there by itself
        texts = [article.text for article in sample_articles()]
        here = load_scorer(student[0])
        expected, found = here.predict(here.encode(texts)).scores, served.predict(served.encode(texts)).scores
        here.close()
        served.close()
        assert np.allclose(found, expected, atol=0.01 * (spec.scale.max - spec.scale.min)), "another student serves"

    def test_damage_out_there_is_seen(
        self, make: Callable[..., Any], student: Student, damage: Callable[[Deployment, str], None]
    ) -> None:
        one = make()
        deployment = one.publish(*student)
        before = one.fetch_hashes(deployment)
        damage(deployment, "toy.json")
        changed = {name for name, value in one.fetch_hashes(deployment).items() if before.get(name) != value}
        assert changed == {"toy.json"}, "fetch_hashes must read the bytes out there, not remember them"

    def test_the_copy_is_a_copy(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        deployment = one.publish(*student)
        before = one.fetch_hashes(deployment)
        shutil.rmtree(student[0])
        assert one.fetch_hashes(deployment) == before, "what is out there depends on the folder it was published from"

    def test_it_scores_as_the_original(self, make: Callable[..., Any], student: Student, spec: FilterSpec) -> None:
        one = make()
        texts = [article.text for article in sample_articles()]
        here, there = load_scorer(student[0]), one.open(one.publish(*student))
        expected = here.predict(here.encode(texts)).scores
        found = there.predict(there.encode(texts)).scores
        assert np.allclose(found, expected, atol=0.01 * (spec.scale.max - spec.scale.min)), "the copy scores otherwise"
        here.close()
        there.close()

    def test_activate_makes_it_live(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        deployment = one.publish(*student)
        one.activate(deployment)
        one.activate(deployment)
        live = one.current()
        assert (live.id, live.student_hash) == (deployment.id, deployment.student_hash)

    def test_the_target_remembers(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        one.activate(one.publish(*student))
        live = make().current()
        assert live is not None, "current() must ask the target, not this object's memory"
        assert live.student_hash == student[1]

    def test_roll_back(self, make: Callable[..., Any], student: Student, other: Student) -> None:
        one = make()
        first, second = one.publish(*student), one.publish(*other)
        for deployment in (first, second, first):
            one.activate(deployment)
            assert one.current().id == deployment.id
            assert one.current().student_hash == deployment.student_hash

    def test_remove(self, make: Callable[..., Any], student: Student, other: Student) -> None:
        one = make()
        first, second = one.publish(*student), one.publish(*other)
        one.activate(second)
        one.remove(first)
        one.remove(first)
        with pytest.raises(FilterkitError):
            one.fetch_hashes(first)
        assert one.current().id == second.id
        assert one.publish(*student).student_hash == student[1], "what was removed cannot be published again"

    def test_the_live_one_is_not_removed(self, make: Callable[..., Any], student: Student) -> None:
        one = make()
        deployment = one.publish(*student)
        one.activate(deployment)
        with pytest.raises(FilterkitError):
            one.remove(deployment)
        assert one.current().id == deployment.id
        assert one.fetch_hashes(deployment)

    @pytest.mark.parametrize("made_up", ["0123456789abcdef", "../../elsewhere", "", "no such thing"])
    def test_what_is_not_there_is_said_so(self, make: Callable[..., Any], student: Student, made_up: str) -> None:
        one = make()
        deployment = one.publish(*student).model_copy(update={"id": made_up, "url": None, "state": {}})
        for use in (one.open, one.fetch_hashes, one.activate):
            with pytest.raises(FilterkitError):
                use(deployment)
        assert one.current() is None
