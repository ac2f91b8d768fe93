"""Tar archives of strangers: what is unsafe, damaged or endless is one line, and nothing is written."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

import pytest

from filterkit.errors import InputError
from filterkit.pipeline.tars import copy_member, members, read_member, write_tar

CONTENT = {"head.json": b"{}", "data/train.jsonl": b"x" * 5000, f"filter/{'ü' * 60}.md": b"rubric"}


def archive(path: Path, *infos: tarfile.TarInfo, content: bytes = b"") -> Path:
    """An archive of any members, as tarfile lets one write them."""
    with tarfile.open(path, "w") as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, CONTENT)
    found = members(path)
    assert list(found) == list(CONTENT)
    assert {name: read_member(path, one, 10_000) for name, one in found.items()} == CONTENT
    copy_member(path, found["data/train.jsonl"], tmp_path / "out/train.jsonl")
    assert (tmp_path / "out/train.jsonl").read_bytes() == CONTENT["data/train.jsonl"]
    with tarfile.open(path) as tar:  # an ordinary tar, in which nothing tells whose it is
        assert {(m.mtime, m.uid, m.uname) for m in tar} == {(0, 0, "")}
    before = path.read_bytes()
    write_tar(path, CONTENT)
    assert path.read_bytes() == before


def test_an_archive_of_tar_itself(tmp_path: Path) -> None:
    """Folders, ./ before names, long names: what people make."""
    (tmp_path / "model" / ("deep" * 40)).mkdir(parents=True)
    (tmp_path / "model" / ("deep" * 40) / "a.txt").write_text("a")
    for style in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=style) as tar:
            tar.add(tmp_path / "model", "./model")
        assert list(members(tmp_path / "a.tar")) == [f"model/{'deep' * 40}/a.txt"]


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (member("a", tarfile.SYMTYPE, "/etc/passwd"), "'a' is no plain file"),
        (member("a", tarfile.LNKTYPE, "b"), "'a' is no plain file"),
        (member("a", tarfile.CHRTYPE), "'a' is no plain file"),
        (member("a", tarfile.FIFOTYPE), "'a' is no plain file"),
        (member("a", tarfile.GNUTYPE_SPARSE), "is no "),
        (member("/etc/cron.d/a"), "unsafe name"),
        (member("../a"), "unsafe name"),
        (member("a/../../b"), "unsafe name"),
        (member("a//b"), "unsafe name"),
        (member("a\\b"), "unsafe name"),
        (member("C:a"), "unsafe name"),
        (member("a\nb"), "unsafe name"),
        (member("a" * 300), "unsafe name"),
    ],
)
def test_what_is_unsafe(tmp_path: Path, info: tarfile.TarInfo, says: str) -> None:
    with pytest.raises(InputError, match=says):
        members(archive(tmp_path / "a.tar", member("fine"), info))


def test_one_name_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="twice"):
        members(archive(tmp_path / "a.tar", member("a"), member("./a")))


def test_more_files_than_anybody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterkit.pipeline.tars.MOST_MEMBERS", 3)
    with pytest.raises(InputError, match="make no sense"):
        members(archive(tmp_path / "a.tar", *map(member, "abcd")))


def test_a_header_that_is_endless(tmp_path: Path) -> None:
    """tarfile reads an extended header whole; one of a terabyte would be read as one, were it not for a bound."""
    info = member("x", tarfile.XHDTYPE, size=2**40)
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"0" * 2048)
    with pytest.raises(InputError, match="header in it is too long"):
        members(tmp_path / "a.tar")


@pytest.mark.parametrize("size", [-1, -512, -4096])
def test_a_member_that_ends_before_it_begins(tmp_path: Path, size: int) -> None:
    """In older tarfiles a negative size leads back, for ever."""
    header = bytearray(member("a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + (256**11 + size).to_bytes(11, "big")
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    header[148:156] = f"{total:06o}\0 ".encode()
    (tmp_path / "a.tar").write_bytes(member("b").tobuf() + bytes(header) + b"\0" * 2048)
    with pytest.raises(InputError):
        members(tmp_path / "a.tar")


@pytest.mark.parametrize("content", [b"", b"{}", b"\x1f\x8b\x08" + b"x" * 600, b"PK\x03\x04" + b"\0" * 600])
def test_what_is_no_tar(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match="is no tar archive, is compressed, or is damaged"):
        members(tmp_path / "a.tar")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="cannot be read"):
            members(path)


def test_damage_is_an_error_or_no_damage(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", CONTENT)
    whole = (tmp_path / "a.tar").read_bytes()
    chance = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(4096)] = chance.randrange(256)
        if chance.random() < 0.2:
            damaged = damaged[: chance.randrange(len(damaged))]
        (tmp_path / "b.tar").write_bytes(damaged)
        try:
            for one in members(tmp_path / "b.tar").values():
                assert one.offset + one.size <= len(damaged)
        except InputError:
            refused += 1
    assert refused > 50
