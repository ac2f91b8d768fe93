"""Files that survive a kill, and locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from filterkit.errors import InputError, StoppedEarly
from filterkit.files import Lock, atomic_write, inside, locked, publish_folder, read_json, restore_folder, write_json


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "f"
    with atomic_write(path) as file:
        file.write(b"old")
        file.flush()
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write(b"new" * (1 // 0 if file.write(b"n") else 1))
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["f"]


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from filterkit.files import atomic_write
with atomic_write(Path({str(tmp_path / "f")!r})) as file:
    file.write(b"half" * 100_000)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_write(tmp_path / "f") as file:
        file.write(b"whole")
    assert (tmp_path / "f").read_bytes() == b"whole"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_two_writers_at_once_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "f"

    def write(letter: bytes) -> None:
        for _ in range(30):
            with atomic_write(path) as file:
                for _ in range(20):
                    file.write(letter * 100)
                    file.flush()
            assert set(path.read_bytes()) <= {97, 98}
            assert len(set(path.read_bytes())) == 1

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(path.read_bytes()) == 2000
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("name", ["x" * 250, "新" * 80, "a b'c"])
def test_any_name_that_the_disk_takes(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / name, {"a": 1})
    assert read_json(tmp_path / name) == {"a": 1}


def test_an_error_of_the_one_who_writes_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    for error in (
        ConnectionResetError(104, "reset"),
        FileNotFoundError(2, "gone", "weights"),
        TimeoutError(110, "slow"),
    ):
        with pytest.raises(type(error)), atomic_write(tmp_path / "f"):
            raise error
    with pytest.raises(InputError, match="Free some space"), atomic_write(tmp_path / "f"):
        raise OSError(28, "No space left on device")


def test_a_folder_that_cannot_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), atomic_write(tmp_path / "file" / "f"):
        pass


def folder(path: Path, content: str) -> Path:
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "f").write_text(content)
    return path


def test_publishing_and_what_a_kill_leaves_of_it(tmp_path: Path) -> None:
    final = tmp_path / "final"
    publish_folder(folder(tmp_path / "one", "1"), final)
    publish_folder(folder(tmp_path / "two", "2"), final)
    assert (final / "sub/f").read_text() == "2"
    assert [p.name for p in tmp_path.iterdir()] == ["final"]
    final.replace(tmp_path / ".final.old")  # killed between the renames
    restore_folder(final)
    assert (final / "sub/f").read_text() == "2"
    folder(tmp_path / ".final.old", "1")  # killed before the old one was removed
    restore_folder(final)
    assert [p.name for p in tmp_path.iterdir()] == ["final"]
    assert (final / "sub/f").read_text() == "2"


def test_a_lock_is_exclusive_leaves_nothing_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    with locked(path, "this"):
        with pytest.raises(StoppedEarly, match="another process is working on this"), locked(path, "this"):
            pass
        assert path.exists()
    assert not path.exists()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from filterkit.files import Lock;"
            "lock = Lock(Path(sys.argv[1])); print(lock.acquire(), flush=True); time.sleep(60)",
            str(path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    assert not Lock(path).acquire()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with locked(path, "this"):
        pass
    assert not path.exists()


def test_who_waits_for_a_removed_lock_does_not_hold_it(tmp_path: Path) -> None:
    """Many that lock, count and remove: never two at once."""
    counter = tmp_path / "count"
    counter.write_text("0")
    code = """
import sys, time
from pathlib import Path
from filterkit.errors import StoppedEarly
from filterkit.files import locked
folder, done = Path(sys.argv[1]), 0
while done < 60:
    try:
        with locked(folder / "lock", "x"):
            n = int((folder / "count").read_text())
            time.sleep(0.0005)
            (folder / "count").write_text(str(n + 1))
        done += 1
    except StoppedEarly:
        pass
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(3)]
    assert [p.wait() for p in processes] == [0, 0, 0]
    assert counter.read_text() == "180"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ".", "link/x"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads outside"):
        inside(tmp_path / "root", name)
    assert inside(tmp_path / "root", "a/../b") == (tmp_path / "root/b").resolve()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(InputError, match=r"f\.json: is not valid JSON"):
        read_json(tmp_path / "f.json")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "g.json", float("nan"))
    assert not (tmp_path / "g.json").exists()


def test_the_mode_follows_the_users_mask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "f", {})
    finally:
        os.umask(before)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


def test_whether_a_lock_is_held_is_found_out_without_a_trace(tmp_path: Path) -> None:
    lock, other = Lock(tmp_path / "work" / "lock"), Lock(tmp_path / "work" / "lock")
    assert not other.held()
    assert not (tmp_path / "work").exists()
    assert lock.acquire()
    assert other.held()
    lock.release()
    assert not other.held()
    assert lock.acquire()


def test_what_a_killed_writer_left_does_not_count(tmp_path: Path) -> None:
    """A writer that asks where it stands, as tar does, stands at the beginning."""
    (tmp_path / ".a.tmp").write_bytes(b"half a fil")
    with atomic_write(tmp_path / "a") as file:
        assert file.tell() == 0
        file.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
