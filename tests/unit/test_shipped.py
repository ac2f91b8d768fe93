"""deployment.json: its id follows from what it lists, its checksum from all of it, so that nothing in it can be changed
alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from filterkit.errors import ArtifactError
from filterkit.shipped import Shipped, deployment_id, read_shipped, student_folder

FILES = {"filterkit.json": "a" * 64, "handler.py": "b" * 64}
SHIPPED = Shipped(
    id=deployment_id("s" * 64, FILES),
    student_hash="s" * 64,
    filter="news",
    version="1",
    files=FILES,
    at=datetime(2026, 1, 31, tzinfo=UTC),
)


def test_what_was_written_is_read() -> None:
    assert read_shipped(SHIPPED.model_dump_json().encode(), "here") == SHIPPED


def test_the_id_depends_on_every_file_and_not_on_their_order() -> None:
    assert deployment_id("s" * 64, dict(reversed(FILES.items()))) == SHIPPED.id
    assert deployment_id("t" * 64, FILES) != SHIPPED.id
    assert deployment_id("s" * 64, {**FILES, "handler.py": "c" * 64}) != SHIPPED.id
    assert deployment_id("s" * 64, {"filterkit.json": "a" * 64}) != SHIPPED.id


@pytest.mark.parametrize("change", [{"student_hash": "t" * 64}, {"files": {"handler.py": "c" * 64}}, {"id": "0" * 16}])
def test_an_altered_one_is_refused(change: dict[str, object]) -> None:
    data = {**SHIPPED.model_dump(mode="json"), **change}
    with pytest.raises(ArtifactError, match="of other files"):
        read_shipped(json.dumps(data).encode(), "there")


def test_no_bit_of_it_can_be_flipped() -> None:
    data = SHIPPED.model_dump_json().encode()
    for byte in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[byte] ^= 1 << bit
            with pytest.raises(ArtifactError):
                read_shipped(bytes(flipped), "there")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"id": 3}'])
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"deployment\.json"):
        read_shipped(data, "there")


def test_a_folder_of_deployments_stands_for_what_is_live(tmp_path: Path) -> None:
    assert student_folder(tmp_path) == tmp_path
    (tmp_path / "current.json").write_text('{"id": "0123456789abcdef"}')
    assert student_folder(tmp_path) == tmp_path / "versions" / "0123456789abcdef" / "student"
    (tmp_path / "filterkit.json").touch()
    assert student_folder(tmp_path) == tmp_path, "a student is itself"


@pytest.mark.parametrize("torn", ["", "[]", "{}", '{"id": "../../../etc/passw"}', '{"id": 7}'])
def test_a_torn_record_of_what_is_live_is_refused(tmp_path: Path, torn: str) -> None:
    (tmp_path / "current.json").write_text(torn)
    with pytest.raises(ArtifactError, match=r"current\.json"):
        student_folder(tmp_path)
