"""The fake Hub, as the real huggingface_hub client sees it over real sockets. Xet is switched off."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    constants,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from filterkit.testing.fake_hub import FakeHub, Fault

WEIGHTS = bytes(range(256)) * 2000  # 512,000 bytes
CARD = b"---\nlicense: mit\n---\n# A filter\n"


@pytest.fixture(autouse=True)
def _client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(token="hf_writer", read_token="hf_reader") as fake:
        yield fake


@pytest.fixture
def api(hub: FakeHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


def upload(api: HfApi, files: dict[str, bytes], *, revision: str = "main", parent: str | None = None) -> str:
    api.create_repo("me/x", private=True, exist_ok=True)
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit("me/x", operations, commit_message="Upload", revision=revision, parent_commit=parent).oid


def test_what_is_uploaded_comes_down_again(hub: FakeHub, api: HfApi, tmp_path: Path) -> None:
    files = {"README.md": CARD, "model.safetensors": WEIGHTS, "runtime/a.py": b"a = 1\n", "empty.safetensors": b""}
    sha = upload(api, files)
    stored = hub.repo("me/x")
    assert stored.private
    assert stored.head() == sha
    assert stored.lfs() == {"model.safetensors"}
    folder = Path(snapshot_download("me/x", endpoint=hub.url, token=hub.token, local_dir=tmp_path))
    assert {path: (folder / path).read_bytes() for path in files} == files
    assert {path: content for path, content in stored.files().items() if path != ".gitattributes"} == files
    assert api.verify_repo_checksums("me/x", local_dir=tmp_path).mismatches == []
    assert hub.seen("hf_") == []


def test_nothing_changed_uploads_nothing(hub: FakeHub, api: HfApi) -> None:
    first = upload(api, {"README.md": CARD, "model.safetensors": WEIGHTS})
    before = len(hub.requests)
    assert upload(api, {"README.md": CARD, "model.safetensors": WEIGHTS}) == first
    assert not [r for r in hub.requests[before:] if "/commit/" in r.path or r.method == "PUT"]
    assert [c.title for c in hub.repo("me/x").commits()] == ["Upload", "initial commit"]


def test_one_changed_bit_is_another_commit(hub: FakeHub, api: HfApi) -> None:
    first = upload(api, {"model.safetensors": WEIGHTS})
    assert upload(api, {"model.safetensors": b"\x01" + WEIGHTS[1:]}) != first


def test_large_objects_go_up_in_parts() -> None:
    with FakeHub(multipart_bytes=100_000) as hub:
        upload(HfApi(endpoint=hub.url, token=hub.token), {"model.safetensors": WEIGHTS})
        assert hub.repo("me/x").files()["model.safetensors"] == WEIGHTS
        assert len([r for r in hub.requests if r.method == "PUT"]) == 6


def test_files_over_ten_megabytes_go_to_lfs_whatever_their_names(hub: FakeHub, api: HfApi) -> None:
    upload(api, {"big.txt": b"x" * 10_000_001, "small.txt": b"x", "a/b.npz": b"x", "saved_model/v/w": b"x"})
    assert hub.repo("me/x").lfs() == {"big.txt", "a/b.npz", "saved_model/v/w"}


def test_listings_come_in_pages() -> None:
    with FakeHub(page=2) as hub:
        api = HfApi(endpoint=hub.url, token=hub.token)
        upload(api, {f"runtime/{n}.py": b"%d" % n for n in range(5)})
        paths = [e.path for e in api.list_repo_tree("me/x", recursive=True)]
        assert paths == [".gitattributes", "runtime", *(f"runtime/{n}.py" for n in range(5))]
        assert [e.path for e in api.list_repo_tree("me/x")] == [".gitattributes", "runtime"]
        assert len(list(api.list_repo_tree("me/x", "runtime"))) == 5
        for _ in range(3):
            upload(api, {"a": os.urandom(4)})
        assert len(api.list_repo_commits("me/x")) == 5


def test_listed_hashes_are_those_of_git_and_lfs(hub: FakeHub, api: HfApi) -> None:
    upload(api, {"README.md": CARD, "model.safetensors": WEIGHTS})
    card, weights = api.get_paths_info("me/x", ["README.md", "model.safetensors", "missing"])
    assert card.blob_id == hashlib.sha1(b"blob %d\0" % len(CARD) + CARD).hexdigest()
    assert weights.lfs.sha256 == hashlib.sha256(WEIGHTS).hexdigest()
    siblings = {s.rfilename: s for s in api.model_info("me/x", files_metadata=True).siblings}
    assert siblings["model.safetensors"].lfs.size == len(WEIGHTS)


def test_branches_tags_and_copies(hub: FakeHub, api: HfApi) -> None:
    upload(api, {"old.txt": b"old"})
    api.create_branch("me/x", branch="next/1")
    upload(api, {"model.safetensors": WEIGHTS, "README.md": CARD}, revision="next/1")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_branch("me/x", branch="next/1")
    copies = [CommitOperationCopy(p, p, src_revision="next/1") for p in ("model.safetensors", "README.md")]
    sha = api.create_commit("me/x", [*copies, CommitOperationDelete("old.txt")], commit_message="Activate").oid
    api.create_tag("me/x", tag="v1")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag("me/x", tag="v1")
    assert hub.repo("me/x").refs["refs/tags/v1"] == sha
    assert api.repo_info("me/x", revision="v1").sha == sha
    assert set(hub.repo("me/x").files()) == {".gitattributes", "model.safetensors", "README.md"}
    api.delete_tag("me/x", tag="v1")
    api.delete_branch("me/x", branch="next/1")
    assert [r.name for r in api.list_repo_refs("me/x").branches] == ["main"]
    with pytest.raises(RevisionNotFoundError):
        api.repo_info("me/x", revision="v1")


def test_folders_are_deleted_whole(hub: FakeHub, api: HfApi) -> None:
    upload(api, {"runtime/a.py": b"", "runtime/b/c.py": b"", "d.py": b""})
    api.create_commit("me/x", [CommitOperationDelete("runtime/")], commit_message="Delete")
    assert set(hub.repo("me/x").files()) == {".gitattributes", "d.py"}
    with pytest.raises(RemoteEntryNotFoundError):
        api.create_commit("me/x", [CommitOperationDelete("none.py")], commit_message="Delete")


def test_datasets_are_repositories_of_their_own(hub: FakeHub, api: HfApi, tmp_path: Path) -> None:
    api.create_repo("me/x", repo_type="dataset", private=True)
    operations = [CommitOperationAdd("labels.parquet", b"PAR1"), CommitOperationAdd("labels.jsonl", b"{}\n")]
    api.create_commit("me/x", operations, commit_message="Labels", repo_type="dataset")
    assert not api.repo_exists("me/x")
    assert hub.repos == [("dataset", "me/x")]
    assert hub.repo("me/x", "dataset").lfs() == {"labels.parquet"}
    path = hf_hub_download(
        "me/x", "labels.parquet", repo_type="dataset", endpoint=hub.url, token=hub.token, cache_dir=tmp_path
    )
    assert Path(path).read_bytes() == b"PAR1"


def test_repositories_are_made_once_and_deleted(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("me/x")
    assert not hub.repo("me/x").private
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("me/x")
    api.update_repo_settings("me/x", private=True)
    assert api.repo_info("me/x").private
    api.delete_repo("me/x")
    assert not api.repo_exists("me/x")
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("somebody/x")


def test_private_repositories_are_hidden(hub: FakeHub, api: HfApi) -> None:
    upload(api, {"README.md": CARD})
    with pytest.raises(RepositoryNotFoundError, match="401"):
        HfApi(endpoint=hub.url, token=False).repo_info("me/x")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        HfApi(endpoint=hub.url, token="hf_wrong").repo_info("me/x")
    with pytest.raises(RepositoryNotFoundError, match="404"):
        api.repo_info("me/other")
    api.update_repo_settings("me/x", private=False)
    assert HfApi(endpoint=hub.url, token=False).repo_exists("me/x")


def test_a_read_token_reads_only(hub: FakeHub, api: HfApi) -> None:
    upload(api, {"README.md": CARD})
    reader = HfApi(endpoint=hub.url, token=hub.read_token)
    assert reader.whoami()["auth"]["accessToken"]["role"] == "read"
    assert reader.file_exists("me/x", "README.md")
    for act in (
        lambda: reader.create_commit("me/x", [CommitOperationAdd("a", b"")], commit_message="Upload"),
        lambda: reader.create_repo("me/y"),
        lambda: reader.delete_repo("me/x"),
        lambda: reader.create_tag("me/x", tag="v1"),
        lambda: reader.update_repo_settings("me/x", private=False),
    ):
        with pytest.raises(HfHubHTTPError, match="403"):
            act()


def test_a_race_is_refused(hub: FakeHub, api: HfApi) -> None:
    head = upload(api, {"a": b"1"})
    assert hub.repo("me/x").set_file("b", b"from elsewhere") == hub.repo("me/x").head()
    with pytest.raises(HfHubHTTPError, match="412"):
        upload(api, {"a": b"2"}, parent=head)
    assert hub.repo("me/x").files()["a"] == b"1"


def test_pointers_without_objects_and_wrong_bytes_are_refused(hub: FakeHub, api: HfApi) -> None:
    upload(api, {"a": b"1"})
    operation = CommitOperationAdd("model.safetensors", WEIGHTS)
    operation._upload_mode, operation._is_uploaded = "lfs", True
    with pytest.raises(BadRequestError, match="LFS pointer pointed to a file that does not exist"):
        api.create_commit("me/x", [operation], commit_message="Upload")
    oid = hashlib.sha256(WEIGHTS).hexdigest()
    asked = {"operation": "upload", "objects": [{"oid": oid, "size": len(WEIGHTS)}]}
    headers = {"Authorization": f"Bearer {hub.token}"}
    batch = httpx2.post(f"{hub.url}/me/x.git/info/lfs/objects/batch", json=asked, headers=headers).json()
    place = batch["objects"][0]["actions"]["upload"]["href"]
    assert httpx2.put(place, content=b"\x01" + WEIGHTS[1:]).status_code == 400
    assert httpx2.put(place, content=WEIGHTS, headers=headers).status_code == 400  # no token is sent to the storage
    assert httpx2.put(place.replace("signature=", "signature=0"), content=WEIGHTS).status_code == 403
    assert httpx2.put(place, content=WEIGHTS).status_code == 200
    api.create_commit("me/x", [operation], commit_message="Upload")
    assert hub.repo("me/x").files()["model.safetensors"] == WEIGHTS


def test_a_card_that_is_no_yaml_is_refused(api: HfApi) -> None:
    with pytest.raises(ValueError, match="YAML"):
        upload(api, {"README.md": b"---\na: [1\n---\n"})


def test_downloads_resume_where_they_ended(hub: FakeHub, api: HfApi) -> None:
    upload(api, {"model.safetensors": WEIGHTS, "README.md": CARD})
    headers = {"Authorization": f"Bearer {hub.token}"}
    head = httpx2.head(f"{hub.url}/me/x/resolve/main/model.safetensors", headers=headers)
    assert head.headers["X-Linked-Size"] == str(len(WEIGHTS))
    place = head.headers["Location"]
    part = httpx2.get(place, headers={"Range": "bytes=500000-"})
    assert (part.status_code, part.content) == (206, WEIGHTS[500000:])
    assert httpx2.get(place, headers={"Range": "bytes=5-9"}).content == WEIGHTS[5:10]
    assert httpx2.get(place, headers={"Range": "bytes=999999-"}).status_code == 416
    card = httpx2.get(f"{hub.url}/me/x/resolve/main/README.md", headers={**headers, "Range": "bytes=0-2"})
    assert (card.status_code, card.content) == (206, b"---")
    assert card.headers["X-Repo-Commit"] == hub.repo("me/x").head()


def _get(hub: FakeHub, path: str, folder: Path, revision: str = "main") -> bytes:
    return Path(
        hf_hub_download(
            "me/x", path, revision=revision, endpoint=hub.url, token=hub.token, cache_dir=folder, force_download=True
        )
    ).read_bytes()


@pytest.mark.parametrize("path", ["model.safetensors", "README.md"])
def test_stored_bits_flip_under_the_same_commit(hub: FakeHub, api: HfApi, tmp_path: Path, path: str) -> None:
    files = {"model.safetensors": WEIGHTS, "README.md": CARD}
    sha = upload(api, files)
    hub.repo("me/x").flip_bit(path, byte=-1, bit=3)
    got = _get(hub, path, tmp_path)
    assert got == files[path][:-1] + bytes([files[path][-1] ^ 8])
    assert hub.repo("me/x").head() == sha
    hub.repo("me/x").replace(path, b"others")
    assert _get(hub, path, tmp_path / "again") == b"others"


def test_faults_of_downloads(hub: FakeHub, api: HfApi, tmp_path: Path) -> None:
    upload(api, {"a": b"old"})
    upload(api, {"a": b"new", "model.safetensors": WEIGHTS})
    hub.faults.add(Fault("^GET .*/model.safetensors", flip=True))
    assert _get(hub, "model.safetensors", tmp_path) == b"\x01" + WEIGHTS[1:]
    assert _get(hub, "model.safetensors", tmp_path) == WEIGHTS
    hub.faults.add(Fault("/resolve/main/a", stale=True, times=2))
    assert _get(hub, "a", tmp_path) == b"old"
    assert _get(hub, "a", tmp_path) == b"new"
    hub.faults.add(Fault("/me/x", status=503, times=None))
    with pytest.raises(ValueError, match="Force download failed"):
        _get(hub, "a", tmp_path / "empty")


@pytest.mark.parametrize("status", [401, 403, 409, 412, 500])
def test_faults_answer_as_the_hub_would(hub: FakeHub, api: HfApi, status: int) -> None:
    api.create_repo("me/x")
    hub.faults.add(Fault("/commit/main", status=status, skip=1))
    upload(api, {"a": b"1"})
    with pytest.raises(HfHubHTTPError, match=str(status)):
        upload(api, {"a": b"2"})
    upload(api, {"a": b"3"})
    assert hub.repo("me/x").files()["a"] == b"3"


def test_a_429_says_when_to_come_again(hub: FakeHub, api: HfApi) -> None:
    hub.faults.add(Fault("/whoami", status=429, retry_after_s=7))
    assert httpx2.get(f"{hub.url}/api/whoami-v2").headers["Retry-After"] == "7"
    hub.faults.add(Fault("/preupload/", status=429, retry_after_s=0))
    upload(api, {"a": b"1"})
    assert [r.status for r in hub.requests if "/preupload/" in r.path] == [429, 200]


def test_a_slow_answer_comes(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("me/x")
    hub.faults.add(Fault("^GET /api/models/me/x$", delay_s=1.0))
    with pytest.raises(httpx2.TimeoutException):
        api.model_info("me/x", timeout=0.1)
    assert api.model_info("me/x").id == "me/x"


def test_an_upload_cut_in_the_middle_is_not_stored(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("me/x", private=True)
    hub.faults.add(Fault("^POST .*/commit/", cut_after_bytes=100))
    with pytest.raises(httpx2.TransportError):
        upload(api, {"a": b"1" * 1000})
    assert hub.requests[-1].status is None
    assert set(hub.repo("me/x").files()) == {".gitattributes"}
    hub.faults.add(Fault("^POST .*/commit/", cut_answer=True))
    with pytest.raises(httpx2.TransportError):
        upload(api, {"a": b"1" * 1000})
    assert hub.repo("me/x").files()["a"] == b"1" * 1000  # the work was done


def test_a_client_that_dies_in_the_middle_of_a_commit_leaves_nothing(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("me/x", private=True)
    lines = (
        b'{"key": "header", "value": {"summary": "Upload"}}\n{"key": "file", "value": {"path": "a", "content": ""}}\n'
    )
    head = f"POST /api/models/me/x/commit/main HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {hub.token}\r\n"
    with socket.create_connection(("127.0.0.1", int(hub.url.rpartition(":")[2]))) as connection:
        connection.sendall(head.encode() + b"Content-Length: 1000\r\n\r\n" + lines)
        connection.shutdown(socket.SHUT_WR)
        assert b" 200 " not in connection.recv(1000)
    assert api.repo_info("me/x").sha == hub.repo("me/x").head()
    assert [r.status for r in hub.requests if "/commit/" in r.path] == [None]
    assert set(hub.repo("me/x").files()) == {".gitattributes"}


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99, 1.0])
def test_after_a_cut_there_is_the_old_or_the_new_commit(share: float) -> None:
    old = {"model.safetensors": WEIGHTS, "a": b"1" * 300_000}
    new = {"model.safetensors": WEIGHTS[1:], "a": b"2" * 300_000}
    with FakeHub() as hub:
        api = HfApi(endpoint=hub.url, token=hub.token)
        upload(api, old)
        hub.cut_after(size=int(share * (len(WEIGHTS) + 400_000)))
        try:
            upload(api, new)
        except httpx2.TransportError:
            assert hub.repo("me/x").files() | old == hub.repo("me/x").files()
        assert None in [r.status for r in hub.requests]
        upload(api, new)
        assert hub.repo("me/x").files() | new == hub.repo("me/x").files()


def test_the_nth_request_is_cut_and_all_later_ones_if_asked(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("me/x", private=True)
    hub.cut_after(2, answer=True, down=True)  # 1: preupload, 2: commit
    with pytest.raises(httpx2.TransportError):
        api.create_commit("me/x", [CommitOperationAdd("a", b"1")], commit_message="Upload")
    with pytest.raises(httpx2.TransportError):
        api.repo_info("me/x")
    hub.faults.clear()
    assert api.repo_info("me/x").sha == hub.repo("me/x").head()
    assert hub.repo("me/x").files()["a"] == b"1"


def test_secrets_are_found_wherever_they_lie(hub: FakeHub, api: HfApi) -> None:
    sha = upload(api, {"a/config.json": b'{"token": "hf_writer"}', "model.safetensors": b"x" * 5_000 + b"hf_writer"})
    upload(api, {"a/config.json": b"{}", "model.safetensors": b""})
    places = hub.seen("hf_writer")
    assert places == [f"model me/x {sha[:8]}: a/config.json", f"model me/x {sha[:8]}: model.safetensors"]


def test_a_client_in_its_own_process(hub: FakeHub) -> None:
    code = (
        "from huggingface_hub import HfApi, snapshot_download; a = HfApi(); a.create_repo('me/x', private=True);"
        "a.upload_file(path_or_fileobj=b'1', path_in_repo='w.bin', repo_id='me/x'); print(snapshot_download('me/x'))"
    )
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | hub.env(), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert hub.repo("me/x").files()["w.bin"] == b"1"
    assert hub.env()["HF_HOME"] in run.stdout


def test_xet_is_refused_in_words(hub: FakeHub, api: HfApi) -> None:
    answer = httpx2.get(f"{hub.url}/api/models/me/x/xet-write-token/main")
    assert "HF_HUB_DISABLE_XET=1" in answer.json()["error"]


def test_served_from_the_command_line_in_bounded_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "filterkit.testing.fake_hub", "--port", "0", "--while-stdin-is-open"]
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as file:
        for n in range(64):
            file.write(bytes([n]) * (1 << 20))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        api = HfApi(endpoint=line.strip().partition("=")[2], token="hf_fakeWriteToken")
        upload(api, {"small.safetensors": b"1"})
        before = _peak_mb(process.pid)
        api.upload_file(path_or_fileobj=weights, path_in_repo="model.safetensors", repo_id="me/x")
        assert api.file_exists("me/x", "model.safetensors")
        assert httpx2.post(f"{api.endpoint}/api/validate-yaml", content=weights.read_bytes()).status_code == 413
        assert _peak_mb(process.pid) - before < 40, "a body of 64 MB was kept in memory"
        process.communicate(timeout=30)
    assert process.returncode == 0


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024
