"""`filterkit deploy … --deployer huggingface`, as a process against the fake Hub: what is then out there."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filterkit_hf.deployer import HubDeployer
from shipping import COMMAND, Workspace, everything_below

from filterkit.errors import ConfigError, FilterkitError, GateRefused, InputError
from filterkit.files import sha256_file
from filterkit.student import load_student
from filterkit.testing import make_student, tiny_spec
from filterkit.testing.fake_hub import FakeHub, Fault
from filterkit.testing.samples import sample_articles

Toy = tuple[Path, str]
Make = Callable[..., HubDeployer]


def test_a_lite_student_goes_out_and_comes_home(hub: FakeHub, workspace: Workspace, tmp_path: Path) -> None:
    done = workspace.deploy(hub)
    assert done.returncode == 0, done.stderr
    repo = hub.repo("me/x")
    assert repo.private
    files = repo.files()
    for name in ("filterkit.json", "lite.safetensors", "embedding.safetensors", "tokenizer.json"):
        assert files[name] == (workspace.student / name).read_bytes()
    assert {"README.md", "handler.py", "requirements.txt", "deployment.json"} <= files.keys()
    assert any(name.startswith("runtime/filterkit/") for name in files)
    shipped = json.loads(files["deployment.json"])
    assert shipped["files"] == {
        name: hashlib.sha256(data).hexdigest()
        for name, data in files.items()
        if name not in ("deployment.json", ".gitattributes")
    }
    branch = f"filterkit-{shipped['id']}"
    assert repo.files(branch) == files
    assert repo.head("v1") == repo.head("main")
    assert [c.title for c in repo.commits(branch)][1:] == ["initial commit"], "the upload is one commit"
    assert len(repo.commits("main")) == 2, "going live is one commit"

    home = tmp_path / "home"
    for name, data in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(data)
    articles = sample_articles(5)
    here, there = (load_student(folder, quiet=True).score(articles) for folder in (workspace.student, home))
    assert (here == there).all()

    before = len(hub.requests)
    again = workspace.deploy(hub)
    assert again.returncode == 0, again.stderr
    assert {seen.method for seen in hub.requests[before:]} == {"GET", "HEAD"}, "the second run changed something"
    for said in (done.stdout, done.stderr, again.stdout, again.stderr):
        assert hub.token not in said
    assert hub.token.encode() not in everything_below(workspace.root)
    assert hub.seen(hub.token) == []
    assert not [seen for seen in hub.requests if "agent-harnesses" in seen.path], "what is sent with telemetry on"


@pytest.mark.heavy
def test_the_plan_comes_before_anything_is_done(hub: FakeHub, workspace: Workspace) -> None:
    done = workspace.run(*workspace.deploy_arguments("endpoint=tiny", f"endpoints_api={hub.endpoints_url}"), hub=hub)
    assert done.returncode == 0, done.stderr
    plan, _, rest = done.stdout.partition("live: ")
    assert "model repository me/x (new, private)" in plan
    assert "$0.134 an hour" in plan
    assert "scales to zero after 15 minutes" in plan
    assert "what serves it: scores differ by at most" in rest
    assert hub.endpoints["tiny"]["model"]["revision"] == hub.repo("me/x").head()  # type: ignore[index]
    scaling = hub.endpoints["tiny"]["compute"]["scaling"]  # type: ignore[index]
    assert scaling == {"minReplica": 0, "maxReplica": 1, "scaleToZeroTimeout": 15}


def test_a_public_repository_only_when_asked(hub: FakeHub, deployer: Make, student: Toy) -> None:
    deployer(repo_id="me/open", public=True).publish(*student)
    assert not hub.repo("me/open").private
    with pytest.raises(FilterkitError, match="is public, and that was not asked for") as refusal:
        deployer(repo_id="me/open").publish(*student)
    assert refusal.value.exit_code == 2
    deployer(repo_id="me/closed").publish(*student)
    with pytest.raises(FilterkitError, match="is private, and public=true was asked for"):
        deployer(repo_id="me/closed", public=True).publish(*student)
    assert hub.repo("me/closed").private


@pytest.mark.parametrize("there", ["notes.txt", "src/deep.py"])
def test_foreign_files_on_main_are_not_replaced(hub: FakeHub, deployer: Make, student: Toy, there: str) -> None:
    deployer()._make_private(deployer()._repo)
    hub.repo("me/x").set_file(there, b"somebody's")
    with pytest.raises(InputError, match=there):
        deployer().publish(*student)
    assert list(hub.repo("me/x").refs) == ["refs/heads/main"], "refused, and yet something was made"
    willing = deployer(replace=True)
    willing.activate(willing.publish(*student))
    assert there not in hub.repo("me/x").files()


@pytest.mark.heavy
def test_files_that_others_add_later_are_foreign_too(hub: FakeHub, deployer: Make, student: Toy, other: Toy) -> None:
    one = deployer()
    one.activate(one.publish(*student))
    second = one.publish(*other)
    hub.repo("me/x").set_file("notes.txt", b"somebody's")
    with pytest.raises(InputError, match=r"notes\.txt"):
        one.activate(second)
    assert hub.repo("me/x").files()["notes.txt"] == b"somebody's"


@pytest.mark.heavy
def test_a_card_on_an_empty_repository_is_replaced(hub: FakeHub, deployer: Make, student: Toy) -> None:
    one = deployer()
    one._make_private(one._repo)
    hub.repo("me/x").set_file("README.md", b"# To come\n")
    one.activate(one.publish(*student))
    assert b"filterkit" in hub.repo("me/x").files()["README.md"]


def test_rolling_back_restores_every_file(hub: FakeHub, deployer: Make, student: Toy, other: Toy) -> None:
    one = deployer()
    first, second = one.publish(*student), one.publish(*other)
    one.activate(first)
    before = hub.repo("me/x").files()
    one.activate(second)
    assert hub.repo("me/x").files() != before
    one.activate(first)
    assert hub.repo("me/x").files() == before
    assert hub.repo("me/x").head("v1") == hub.repo("me/x").head("main")
    assert len(hub.repo("me/x").commits()) == 4, "three activations, three commits"


def test_removing_deletes_the_branch_and_never_the_live_one(
    hub: FakeHub, deployer: Make, student: Toy, other: Toy
) -> None:
    one = deployer()
    first, second = one.publish(*student), one.publish(*other)
    one.activate(second)
    with pytest.raises(InputError, match="active"):
        one.remove(second)
    one.remove(first)
    assert f"refs/heads/filterkit-{first.id}" not in hub.repo("me/x").refs
    assert f"refs/heads/filterkit-{second.id}" in hub.repo("me/x").refs


def test_a_stale_branch_is_refused(hub: FakeHub, deployer: Make, student: Toy) -> None:
    one = deployer()
    published = one.publish(*student)
    hub.faults.add(Fault(on=f"GET .*filterkit-{published.id}", stale=True, times=None))
    for use in (one.fetch_hashes, one.open, one.activate):
        with pytest.raises(GateRefused):
            use(published)
    hub.faults.clear()
    assert one.current() is None


def test_wrong_bytes_on_the_way_do_not_go_live(hub: FakeHub, deployer: Make, student: Toy) -> None:
    one = deployer()
    published = one.publish(*student)
    hub.faults.add(Fault(on=r"GET .*/resolve/.*toy\.json", flip=True, times=None))
    assert one.fetch_hashes(published)["toy.json"] != sha256_file(student[0] / "toy.json")
    with pytest.raises(GateRefused, match=r"toy\.json"):
        one.activate(published)
    hub.faults.clear()
    assert one.current() is None
    assert "toy.json" not in hub.repo("me/x").files()


@pytest.mark.parametrize("name", ["deployment.json", ".gitattributes"])
def test_files_that_only_the_hub_knows_are_checked_too(hub: FakeHub, deployer: Make, student: Toy, name: str) -> None:
    one = deployer()
    published = one.publish(*student)
    hub.faults.add(Fault(on=f"GET .*/resolve/.*{name}", flip=True, times=None))
    with pytest.raises(GateRefused):
        one.fetch_hashes(published)


@pytest.mark.heavy
def test_a_damaged_copy_is_not_deployed(hub: FakeHub, workspace: Workspace) -> None:
    hub.faults.add(Fault(on=r"GET /_content/.*lite\.safetensors", flip=True, times=None))
    done = workspace.deploy(hub)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    hub.faults.clear()
    assert set(hub.repo("me/x").files()) == {".gitattributes"}, "it went live unverified"


@pytest.mark.heavy
def test_a_killed_upload_is_taken_up(hub: FakeHub, workspace: Workspace) -> None:
    hub.faults.add(Fault(on="^PUT ", delay_s=60, skip=1, times=None))
    process = subprocess.Popen(
        [*COMMAND, *map(str, workspace.deploy_arguments())],
        cwd=workspace.root, env=workspace.env(hub), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any(seen.method == "PUT" for seen in hub.requests) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.faults.clear()
    assert set(hub.repo("me/x").files()) == {".gitattributes"}
    done = workspace.deploy(hub)
    assert done.returncode == 0, done.stderr
    embedding = (workspace.student / "embedding.safetensors").read_bytes()
    assert hub.repo("me/x").files()["embedding.safetensors"] == embedding


def test_the_report_stays_at_home_unless_asked_for(hub: FakeHub, deployer: Make, student: Toy) -> None:
    (student[0] / "report.html").write_text("<p>quotes of articles</p>")
    assert "report.html" not in deployer().contents(student[0])
    assert "report.html" in deployer(report=True).contents(student[0])


def test_a_card_of_ones_own_is_used(hub: FakeHub, deployer: Make, student: Toy) -> None:
    (student[0] / "README.md").write_text("---\nlicense: mit\n---\n\n# Mine\n")
    one = deployer()
    one.activate(one.publish(*student))
    assert hub.repo("me/x").files()["README.md"] == (student[0] / "README.md").read_bytes()


@pytest.mark.parametrize(
    ("version", "taken"), [("1.2", True), ("2.0.0-rc.1+b", True), ("1..2", False), ("1.", False), ("1.lock", False)]
)
def test_a_version_is_the_name_of_a_tag(
    hub: FakeHub, deployer: Make, context: Any, tmp_path: Path, version: str, taken: bool
) -> None:
    one, student = deployer(), tmp_path / "student"
    made = make_student(student, tiny_spec(version=version), context)
    if not taken:
        with pytest.raises(ConfigError, match="names no tag"):
            one.publish(student, made)
        assert hub.repos == []
        return
    one.activate(one.publish(student, made))
    assert hub.repo("me/x").head(f"v{version}") == hub.repo("me/x").head()


def test_a_card_that_the_hub_refuses(hub: FakeHub, deployer: Make, student: Toy) -> None:
    (student[0] / "README.md").write_text("---\nlicense: [unclosed\n---\n")
    with pytest.raises(FilterkitError, match="YAML metadata is invalid"):
        deployer().publish(*student)


@pytest.mark.heavy
def test_a_fine_tuned_student_brings_its_card(
    hub: FakeHub, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "filterkit-qwen-lora" / "tests"))
    from checkpoints import make_checkpoint

    base, folder = make_checkpoint(tmp_path / "base", "qwen2"), tmp_path / "fine"
    trained = workspace.run(
        "train", workspace.filter, "--data-dir", workspace.data, "--output-dir", folder, "--trainer", "qwen-lora",
        "-O", f"base_model={base}", "-O", "epochs=1",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    done = workspace.deploy(hub, "endpoint=fine", f"endpoints_api={hub.endpoints_url}", student=folder)
    assert done.returncode == 0, done.stderr
    assert "what serves it: scores differ by at most" in done.stdout
    repo = hub.repo("me/x")
    assert repo.files()["README.md"] == (folder / "README.md").read_bytes()
    assert "model.safetensors" in repo.lfs()
    front = yaml.safe_load(repo.files()["README.md"].decode().split("---")[1])
    assert front["library_name"] == "transformers"
    assert str(tmp_path) not in repo.files()["README.md"].decode()


def test_two_at_once_one_wins(hub: FakeHub, deployer: Make, student: Toy, other: Toy) -> None:
    one, two = deployer(), deployer()
    first, second = one.publish(*student), two.publish(*other)
    head = hub.repo("me/x").head()

    def overtaken(commit: str, shipped: Any, make_live: Any = one._make_live) -> None:
        two.activate(second)
        one._repo.commit("main", head, "too late", add={"late.txt": b"late"})

    one._make_live = overtaken  # type: ignore[method-assign]
    with pytest.raises(FilterkitError, match="changed by somebody else") as lost:
        one.activate(first)
    assert lost.value.exit_code == 4
    assert "again" in str(lost.value)
    assert two.current() is not None
    assert two.current().id == second.id  # type: ignore[union-attr]


@pytest.mark.heavy
def test_two_processes_at_once(hub: FakeHub, workspace: Workspace, tmp_path: Path) -> None:
    """Both students go out; each run ends with 0, or with 4 and a word to run it again; main is one of the two."""
    second = tmp_path / "second"
    shutil.copytree(workspace.student, second)
    manifest = second / "README.md"
    manifest.write_text("---\nlicense: mit\n---\n\n# Another card, another deployment\n")
    for _ in range(3):
        running = [
            subprocess.Popen(
                [*COMMAND, *map(str, workspace.deploy_arguments(student=folder))],
                cwd=workspace.root, env=workspace.env(hub),
                stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            )
            for folder in (workspace.student, second)
        ]  # fmt: skip
        for process in running:
            _, said = process.communicate(timeout=120)
            assert process.returncode in (0, 1, 4), said
            assert "Traceback" not in said
            assert process.returncode == 0 or "again" in said or "does not serve" in said, said
        repo = hub.repo("me/x")
        live = json.loads(repo.files()["deployment.json"])
        assert repo.files() == repo.files(f"filterkit-{live['id']}")


def test_another_students_hash_is_refused(deployer: Make, student: Toy, other: Toy) -> None:
    with pytest.raises(FilterkitError, match="another student"):
        deployer().publish(student[0], other[1])


@pytest.mark.heavy
def test_the_student_may_change_between_two_looks(
    hub: FakeHub, deployer: Make, student: Toy, spec: Any, context: Any
) -> None:
    one = deployer()
    before = one.contents(student[0])
    changed = make_student(student[0], spec, context, rows=70)
    assert one.contents(student[0]) != before
    assert one.publish(student[0], changed).student_hash == changed


def test_what_a_killed_run_downloaded_is_removed(hub: FakeHub, deployer: Make, student: Toy, context: Any) -> None:
    one = deployer()
    published = one.publish(*student)
    left = context.workdir / "fetched-by-a-killed-run"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"gigabytes")
    left.with_name(f"{left.name}.lock").touch()
    one.fetch_hashes(published)
    assert not left.exists()
    mine = {path.name for path in context.workdir.iterdir()}
    deployer().fetch_hashes(published)
    assert mine < {path.name for path in context.workdir.iterdir()}, "another process's download was removed"
    one.close()
    assert not mine & {path.name for path in context.workdir.iterdir()}


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("a", True), ("a/b.json", True), (".gitattributes", True), ("a/..b", True), ("...", True),
        ("../a", False), ("a/../b", False), ("..", False), ("a/..", False), ("/a", False), ("a//b", False),
        ("a\\b", False), ("./a", False), ("a/./b", False),
    ],
)  # fmt: skip
def test_paths_stay_below_the_folder(path: str, plain: bool) -> None:
    from filterkit_hf.hub import _PLAIN_PATH

    assert bool(_PLAIN_PATH.fullmatch(path)) is plain


def test_main_that_somebody_changed_is_no_longer_that_deployment(
    hub: FakeHub, deployer: Make, student: Toy, other: Toy
) -> None:
    one = deployer()
    first, second = one.publish(*student), one.publish(*other)
    one.activate(first)
    hub.repo("me/x").set_file("toy.json", hub.repo("me/x").files(f"filterkit-{second.id}")["toy.json"])
    with pytest.raises(GateRefused, match=rf"toy\.json on main is not that of deployment {first.id}"):
        one.current()
    one.activate(first)
    live = one.current()
    assert live is not None
    assert live.id == first.id


@pytest.mark.heavy
def test_the_endpoint_goes_back_too(hub: FakeHub, workspace: Workspace, tmp_path: Path) -> None:
    """Also where nobody names it: a rollback has the options that the deployment was recorded with."""
    student = tmp_path / "student"
    shutil.copytree(workspace.student, student)
    options = ("endpoint=tiny", f"endpoints_api={hub.endpoints_url}")
    assert workspace.deploy(hub, *options, student=student).returncode == 0
    manifest = student / "filterkit.json"
    forced = workspace.run(*workspace.deploy_arguments(*options, student=student), "--force", "once more", hub=hub)
    assert forced.returncode == 0, forced.stderr
    assert b"once more" in manifest.read_bytes()
    back = workspace.run("rollback", workspace.filter, "--deployer", "huggingface", "-O", "repo_id=me/x", hub=hub)
    assert back.returncode == 0, back.stderr
    assert "what serves it: scores differ by at most" in back.stdout
    assert hub.endpoints["tiny"]["model"]["revision"] == hub.repo("me/x").head()  # type: ignore[index]
    third = workspace.run(*workspace.deploy_arguments(student=student), "--force", "and again", hub=hub)
    assert "not given now, unlike last time: endpoint=tiny" in third.stdout
