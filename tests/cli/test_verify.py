"""filterkit verify: what answers as the student passes, and nothing else does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from helpers import FILTER, Inside, labelled, read_jsonl, write_filter, write_jsonl
from wire import serving

from filterkit.files import sha256_file
from filterkit.manifest import load_manifest
from filterkit.pipeline.verify import sample_articles
from filterkit.shipped import Shipped, deployment_id

ANY_SPEED = ("--max-latency-ms", "0")


def verify(two: Inside, target: object, *more: object, code: int = 0, student: str = "student") -> dict[str, Any]:
    arguments = ("verify", target, "--student", student, "--samples", "12", "--json", *ANY_SPEED, *more)
    found: dict[str, Any] = json.loads(two(*arguments, code=code).out)
    return found


def answer(found: dict[str, Any], name: str) -> Any:
    return next((check["passed"] for check in found["checks"] if check["name"] == name), "not there")


def shipped(two: Inside, name: str = "copy") -> Path:
    """A copy of the student as a deployer makes one, with files of its own."""
    copy = two / name
    shutil.copytree(two / "student", copy)
    (copy / "report.html").unlink()
    (copy / "runtime").mkdir()
    for path, text in {"handler.py": "pass\n", "runtime/a.py": "pass\n", "README.md": "# a card\n"}.items():
        (copy / path).write_text(text)
    vouch(copy)
    (copy / ".gitattributes").write_text("* text\n")
    return copy


def vouch(copy: Path, **changes: Any) -> None:
    """Write deployment.json for what lies there."""
    (copy / "deployment.json").unlink(missing_ok=True)
    manifest = load_manifest(copy)
    files = {p.relative_to(copy).as_posix(): sha256_file(p) for p in copy.rglob("*") if p.is_file()}
    said = {"student_hash": manifest.student_hash, "filter": "tiny", "version": "1", "files": files} | changes
    made = Shipped(id=deployment_id(said["student_hash"], said["files"]), at=datetime.now(UTC), **said)
    (copy / "deployment.json").write_text(made.model_dump_json())


# Folders


def test_a_student_is_what_it_is(two: Inside) -> None:
    found = verify(two, "student", "--per-hour", "0.5")
    assert found["passed"]
    assert [answer(found, name) for name in ("student", "files", "scores", "verdicts")] == [True, True, True, None]
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["p99"]
    assert found["usd_per_1000"] == pytest.approx(0.5 / 3600 / found["articles_per_second"] * 1000)
    words = two("verify", "student", "--student", "student").out
    assert "p95" in words
    assert "unknown: say what it costs with --per-hour" in words
    assert verify(two, (two / "student").as_uri())["passed"]


def test_what_a_deployer_adds_is_allowed_where_it_is_vouched_for(two: Inside) -> None:
    found = verify(two, shipped(two))
    assert found["passed"], found
    assert verify(two, shipped(two, "again"), student="copy")["passed"], "a shipped copy is a student too"


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit in the weights": (lambda c: flip(c / "toy.json"), "toy.json is another file"),
    "a flipped bit in the manifest": (lambda c: flip(c / "filterkit.json"), "filterkit.json is another file"),
    "a flipped bit in the handler": (lambda c: flip(c / "handler.py"), "handler.py is another file"),
    "a flipped bit in the runtime": (lambda c: flip(c / "runtime/a.py"), "runtime/a.py is another file"),
    "a flipped bit in the record": (lambda c: alter(c), "the id in deployment.json is of other files"),
    "a file that is gone": (lambda c: (c / "runtime/a.py").unlink(), "runtime/a.py is not there"),
    "a student's file that is gone": (lambda c: (c / "toy.json").unlink(), "toy.json is not there"),
    "code that nobody vouches for": (lambda c: (c / "runtime/b.py").write_text(""), "no part of the student"),
    "a pickle": (lambda c: (c / "data.pkl").write_bytes(b"\x80\x04."), "data.pkl is no part of the student"),
    "a pickle in a cache": (lambda c: cached(c, "x.pkl"), "x.pkl is no part of the student"),
    "no record of the handler": (lambda c: (c / "deployment.json").unlink(), "no deployment.json vouches"),
    "a record of another student": (lambda c: vouch(c, student_hash="0" * 64), "of another student, 000000000000"),
    "a torn record": (lambda c: (c / "deployment.json").write_text("{"), "is not a valid deployment.json"),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def alter(copy: Path) -> None:
    said = json.loads((copy / "deployment.json").read_bytes())
    said["files"]["handler.py"] = "0" * 64
    (copy / "deployment.json").write_text(json.dumps(said))


def cached(copy: Path, name: str) -> None:
    (copy / ".cache").mkdir()
    (copy / ".cache" / name).write_bytes(b"")


@pytest.mark.parametrize("how", SPOILT)
def test_a_copy_with_anything_else_in_it_fails(two: Inside, how: str) -> None:
    copy = shipped(two)
    spoil, says = SPOILT[how]
    spoil(copy)
    found = verify(two, copy, code=1)
    assert answer(found, "files") is False
    assert says in next(c["said"] for c in found["checks"] if c["name"] == "files")
    said = two("verify", copy, "--student", "student", code=1)
    assert len([line for line in said.err.splitlines() if line.startswith("Error: ")]) == 1
    assert found["latency_ms"] is None, "what is altered is not even loaded"


def test_a_student_that_was_validated_since_is_told_from_another(two: Inside) -> None:
    shutil.copytree(two / "student", two / "copy")
    write_filter(two / "tiny/v1", FILTER + "gates: {mae: 0.0001}\n")
    two("validate", "tiny/v1", "--student", "student", "--data-dir", "data", code=1)
    said = two("verify", "copy", "--student", "student", code=1).err
    assert "filterkit.json is another file there" in said
    assert "validated or forced since" in said


def test_the_target_that_deploy_names_is_a_target(two: Inside) -> None:
    made = json.loads(two("deploy", "tiny/v1", "--student", "student", "--json").out)["deployment"]
    assert verify(two, made["target"])["passed"]
    assert verify(two, "student", student=made["target"])["passed"], "and the student's folder may be one, too"
    two("deploy", "tiny/v1", "--student", "second")
    assert answer(verify(two, made["target"], code=1), "student") is False
    for torn in ("{", '{"id": "../../../student"}', '{"id": 1}', "[]"):
        (Path(made["target"]) / "current.json").write_text(torn)
        assert "does not say which version is live" in two("verify", made["target"], "--student", "student", code=1).err


def test_a_folder_without_a_student_is_not_even_read(two: Inside) -> None:
    (two / "elsewhere").mkdir()
    (two / "elsewhere" / "link").symlink_to("/")
    assert "no filterkit.json" in two("verify", "elsewhere", "--student", "student", code=1).err


def test_a_link_fails(two: Inside) -> None:
    copy = shipped(two)
    (copy / "toy.json").unlink()
    (copy / "toy.json").symlink_to(two / "student" / "toy.json")
    assert "toy.json is a link" in str(verify(two, copy, code=1)["checks"])


def test_another_student_is_named(two: Inside) -> None:
    two("deploy", "tiny/v1", "--student", "second")
    other = load_manifest(two / "second").student_hash[:12]
    said = two("verify", "second", "--student", "student", code=1).err
    assert f"it is another student, {other} (put live on" in said


def test_what_cannot_be_verified_is_the_users_to_change(two: Inside) -> None:
    two("verify", "nowhere", "--student", "student", code=2)
    two("verify", "student", "--student", "nowhere", code=2)
    assert "no address" in two("verify", "student", "--student", "student", "-O", "timeout_s=1", code=2).err
    two("verify", "gopher://x", "--student", "student", code=2)
    two("verify", "student", "--student", "student", "--per-hour", "nan", code=2)
    two("verify", "student", "--student", "student", "--samples", "0", code=2)
    flip(two / "student" / "toy.json")
    two("verify", "second", "--student", "student", code=2)


# Servers


def test_a_server_that_judges_as_the_student(two: Inside) -> None:
    with serving(two / "student", price=1.8) as server:
        found = verify(two, server.address)
        assert found["passed"], found
        names = ("student", "files", "scores", "verdicts")
        assert [answer(found, name) for name in names] == [None, None, True, True]
        assert found["usd_per_hour"] == 1.8
        assert server.asked.count(1) >= 12, "single articles are asked one by one"
        assert verify(two, server.address, "--per-hour", "3")["usd_per_hour"] == 3


def test_own_articles_may_be_asked(two: Inside) -> None:
    write_jsonl(two / "mine.jsonl", labelled(30, seed=5))
    with serving(two / "student") as server:
        assert verify(two, server.address, "--articles", "mine.jsonl")["samples"] == 12
        write_jsonl(two / "none.jsonl", [])
        two("verify", server.address, "--student", "student", "--articles", "none.jsonl", code=2)
        with (two / "mine.jsonl").open("a") as file:
            file.write("no article\n{}\n")
        said = two("verify", server.address, "--student", "student", "--articles", "mine.jsonl", *ANY_SPEED).err
        assert "left out 2 lines, the first: mine.jsonl:31: " in said
        (two / "bad.jsonl").write_text("no article\n")
        said = two("verify", server.address, "--student", "student", "--articles", "bad.jsonl", code=2).err
        assert "bad.jsonl:1: " in said


def test_one_sample_tells_students_apart(two: Inside) -> None:
    with serving(two / "second") as server:
        found = verify(two, server.address, "--samples", "1", code=1)
    assert (answer(found, "scores"), found["samples"]) == (False, 1)


def test_a_server_of_another_student_is_named(two: Inside) -> None:
    two("deploy", "tiny/v1", "--student", "second")
    other = load_manifest(two / "second").student_hash[:12]
    with serving(two / "second") as server:
        found = verify(two, server.address, code=1)
    assert answer(found, "scores") is False
    assert f"answers as another student, {other} (put live on" in str(found["checks"])


def test_a_stale_copy_behind_an_address_is_named(two: Inside) -> None:
    with serving(two / "second", stored=two / "second") as server:
        found = verify(two, server.address, code=1)
        assert answer(found, "student") is False
        assert answer(found, "files") is False
        assert verify(two, server.address, student="second")["passed"]
    with serving(two / "student", stored=shipped(two)) as server:
        assert verify(two, server.address)["passed"]
        flip(two / "copy" / "runtime" / "a.py")
        assert "runtime/a.py is another file" in str(verify(two, server.address, code=1))


def of_verdicts(change: Callable[[dict[str, Any]], object]) -> Callable[[Any], Any]:
    """Change every verdict of an answer, and leave the scores as labels alone."""

    def changed(answer: Any) -> Any:
        for one in answer:
            if isinstance(one, dict):
                change(one)
        return answer

    return changed


def raise_labels(answer: Any) -> Any:
    return [[{**x, "score": x["score"] + 0.01} for x in one] if isinstance(one, list) else one for one in answer]


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "scores": (raise_labels, "its scores differ by up to 0.01"),
    "no scores": (lambda a: [[] if isinstance(x, list) else x for x in a], "it scores other articles"),
    "calibrated": (
        of_verdicts(lambda v: v["scores"] and v["scores"].update(help=v["scores"]["help"] + 0.01)),
        "help is",
    ),
    "a dimension more": (of_verdicts(lambda v: v["scores"].update(extra=1.0)), "its dimensions"),
    "overall": (of_verdicts(lambda v: v.update(overall=None)), "overall is None"),
    "nan": (of_verdicts(lambda v: v.update(overall=float("nan"))), "overall is nan"),
    "tier": (of_verdicts(lambda v: v.update(tier="splendid")), "tier is splendid"),
    "reasons": (of_verdicts(lambda v: v.update(reasons=["made_up"])), "reasons is"),
    "passed": (of_verdicts(lambda v: v.update(passed=not v["passed"])), "passed is"),
    "raw": (of_verdicts(lambda v: v["raw"].update(dict.fromkeys(v["raw"], 1.0))), "of other scores than the model"),
    "errors": (of_verdicts(lambda v: v.update(error="no")), "one of the two is an error"),
    "too few": (lambda a: a if isinstance(a[0], list) else a[:-1], "11 verdicts came for 12 articles"),
    "nonsense": (lambda a: a if isinstance(a[0], list) else ["x"] * len(a), "it is no JSON object"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_server_that_answers_otherwise_fails(two: Inside, what: str) -> None:
    change, says = WRONG[what]
    with serving(two / "student", change=change) as server:
        found = verify(two, server.address, code=1)
    assert says in str(found["checks"]), found


def test_a_server_that_is_too_slow_fails(two: Inside) -> None:
    with serving(two / "student", pause_s=0.03) as server:
        arguments = ("verify", server.address, "--student", "student", "--samples", "5", "--max-latency-ms")
        assert "over 20 ms" in two(*arguments, "20", code=1).err
        assert "under 60,000 ms" in two(*arguments, "60000").out


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_is_down_proves_nothing(two: Inside, status: int) -> None:
    with serving(two / "student", status=status) as server:
        said = two("verify", server.address, "--student", "student", code=4).err
    assert f"answers {status}" in said
    assert "cannot be verified now" in two("verify", server.address, "--student", "student", code=4).err


def test_options_of_the_remote_model(two: Inside) -> None:
    with serving(two / "student", pause_s=0.5) as server:
        two("verify", server.address, "--student", "student", "-O", "timeout_s=0.05", code=4)
    two("verify", "toy://127.0.0.1:1", "--student", "student", "-O", "patience=1", code=2)


def test_the_samples_differ_in_language_and_length() -> None:
    articles = sample_articles(60)
    assert len({a.text for a in articles}) == 60
    assert [n for n, a in enumerate(articles) if not a.text] == [1], "one is empty, and never the only one"
    lengths = [len(a.content) for a in articles if a.text]
    assert max(lengths) > 20 * min(lengths)
    assert any("村" in a.content for a in articles)
    assert any("الكتب" in a.content for a in articles)


# Scoring through a server


def test_scoring_through_a_server_is_scoring_here(two: Inside) -> None:
    write_jsonl(two / "in.jsonl", labelled(40, seed=3))
    score = ("score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output")
    two(*score, "here.jsonl")
    with serving(two / "student") as server:
        two(*score, "there.jsonl", "--remote", server.address, "-O", "remote.timeout_s=20")
        assert sum(server.asked) == 40
    here, there = read_jsonl(two / "here.jsonl"), read_jsonl(two / "there.jsonl")
    for a, b in zip(here, there, strict=True):
        assert a["scores"] == pytest.approx(b["scores"], abs=2e-4)
        assert a["overall"] == pytest.approx(b["overall"], abs=2e-4)
        assert a["passed"] == b["passed"]


def test_scoring_through_a_server_that_is_down_goes_on_later(two: Inside) -> None:
    write_jsonl(two / "in.jsonl", labelled(10, seed=3))
    score = ("score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", "out.jsonl")
    with serving(two / "student") as server:
        server.status = 503
        two(*score, "--remote", server.address, code=4)
        server.status = 200
        two(*score, "--remote", server.address)
    assert len(read_jsonl(two / "out.jsonl")) == 10


def test_articles_that_a_server_does_not_score_are_failed_rows(two: Inside) -> None:
    write_jsonl(two / "in.jsonl", labelled(10, seed=3))
    score = ("score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", "out.jsonl")
    with serving(two / "student", change=lambda answer: [[], *answer[1:]]) as server:
        two(*score, "--remote", server.address, code=3)
    rows = read_jsonl(two / "out.jsonl")
    assert len(rows) == 10
    assert ["error" in row for row in rows] == [True] + [False] * 9


def test_wrong_addresses_are_refused_before_anything_is_read(two: Inside) -> None:
    write_jsonl(two / "in.jsonl", labelled(10, seed=3))
    score = ("score", "tiny/v1", "--student", "student", "--articles", "in.jsonl", "--output", "out.jsonl")
    assert "no model reads addresses" in two(*score, "--remote", "gopher://x", code=2).err
    two(*score, "--remote", "toy://x", "-O", "remote.patience=1", code=2)
    assert "as many --remote" in two(*score, "--remote", "toy://x", "--remote", "toy://y", code=2).err
    assert not (two / "out.jsonl.run").exists()
