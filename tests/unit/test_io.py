"""Articles and labels out of the rows of files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import labelled, read_jsonl, write_filter, write_jsonl

from filterkit.errors import ConfigError, InputError
from filterkit.filters import load_filter
from filterkit.io import (
    Rejects,
    expand,
    parse_fields,
    read_articles,
    read_labelled,
    refuse_to_overwrite,
    rejects_name,
    to_article,
)
from filterkit.rows import MAX_LINE_BYTES, compress, count_rows, dump_line, read_rows

ROWS = [{"id": str(i), "title": "t", "content": f"text {i}"} for i in range(2500)]


def packed(folder: Path, suffix: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    """The rows as a file of some format, compressed ones in several members."""
    path = folder / f"in{suffix}"
    if suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=700)
        return path
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    path.write_bytes(b"".join(compress(path, b"".join(lines[i : i + 900])) for i in range(0, len(lines), 900)))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_every_format_gives_the_same_rows_and_any_part_of_them(tmp_path: Path, suffix: str) -> None:
    path = packed(tmp_path, suffix)
    assert count_rows(path) == 2500
    assert [row for _, row in read_rows(path)] == ROWS
    for first, last in ((0, 1), (699, 701), (1400, 2100), (2499, 2500), (2400, 9999), (2500, 2600)):
        found = list(read_rows(path, first, last))
        assert [row for _, row in found] == ROWS[first:last], (first, last)
        assert [number for number, _ in found] == list(range(first + 1, min(last, 2500) + 1))


@pytest.mark.parametrize("cut", [1, 20, 3000])
@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_no_row_before_a_break_is_lost_and_the_break_is_told(tmp_path: Path, suffix: str, cut: int) -> None:
    import random

    rows = [{"content": f"{random.Random(i).getrandbits(400):x}"} for i in range(2000)]
    path = packed(tmp_path, suffix, rows)
    path.write_bytes(path.read_bytes()[:-cut])
    found = [row for _, row in read_rows(path)]
    assert found[:-1] == rows[: len(found) - 1]
    assert "cannot be read further" in found[-1]
    assert len(found) > 1700
    assert count_rows(path) == len(found), "what is counted is not what is read"


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_garbage_in_the_middle_is_told_and_what_precedes_it_is_read(tmp_path: Path, suffix: str) -> None:
    path = packed(tmp_path, suffix)
    content = path.read_bytes()
    middle = len(content) * 3 // 4
    path.write_bytes(content[:middle] + b"\xff" * 40 + content[middle + 40 :])
    found = [row for _, row in read_rows(path)]
    assert "cannot be read further" in str(found[-1])
    assert found[:600] == ROWS[:600]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    path.write_bytes(b'{"content": "plain"}\n' * 100)
    (_, reason), *more = read_rows(path)
    assert "cannot be read further" in str(reason)
    assert not more
    assert count_rows(path) == 1


def test_parquet_dates_are_text_and_other_types_do_not_stop_a_row(tmp_path: Path) -> None:
    import datetime

    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {"content": ["a"], "published_date": [datetime.date(2026, 5, 1)], "raw": [b"\xff"], "n": [None]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    (article,) = read_articles([tmp_path / "in.parquet"])
    assert article.published_date == "2026-05-01"
    assert article.to_dict()["n"] is None


def test_a_line_of_the_allowed_length_is_read_and_one_more_byte_is_not(tmp_path: Path) -> None:
    frame = len(b'{"content": ""}')
    lines = [b'{"content": "' + b"x" * (MAX_LINE_BYTES - frame + more) + b'"}' for more in (-1, 1)]
    path = write_jsonl(tmp_path / "in.jsonl", [*lines, {"content": "after"}])
    found = list(read_rows(path))
    assert isinstance(found[0][1], dict)
    assert "longer than" in str(found[1][1])
    assert found[2] == (3, {"content": "after"})
    assert count_rows(path) == 3


def test_empty_lines_count_as_lines_and_a_mark_at_the_beginning_does_not_hurt(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"content": "a"}\r\n\n  \n{"content": "b"}')
    assert list(read_rows(path)) == [(1, {"content": "a"}), (4, {"content": "b"})]
    assert count_rows(path) == 4


def test_a_column_can_serve_two_fields() -> None:
    article = to_article(
        {"url": "https://x", "text": "words", "content": "<p>words</p>"}, {"content": "text", "id": "url"}
    )
    assert (article.id, article.url, article.content) == ("https://x", "https://x", "words")
    assert article.to_dict()["content"] == "words", "an unmapped column took the place of the mapped one"


def test_unknown_fields_travel() -> None:
    row = {"id": "1", "title": "t", "content": "c", "language": 5, "tags": ["a"], "nested": {"x": None}}
    assert to_article(row).to_dict() == row


@pytest.mark.parametrize("given", [None, ""])
def test_a_missing_id_is_the_contents_hash(given: str | None) -> None:
    one, other = to_article({"id": given, "content": "a"}), to_article({"content": "b"})
    assert one.id == to_article({"content": "a"}).id != other.id
    assert to_article({"id": 0, "content": "a"}).id == "0"


@pytest.mark.parametrize("wrong", [True, 1.5, [], {}, "x" * 1001])
def test_an_id_that_is_none(wrong: object) -> None:
    with pytest.raises(ValueError, match="id "):
        to_article({"id": wrong, "content": "a"})


def test_a_lone_surrogate_is_replaced_in_what_is_read_and_escaped_in_what_travels() -> None:
    article = to_article({"id": "1", "content": "a\ud800b", "note": "\udfff"})
    assert article.content == "a\ufffdb"
    assert json.loads(dump_line(article.to_dict()))["note"] == "\udfff"


def test_fields_are_checked() -> None:
    assert parse_fields("content=text,id=url") == {"content": "text", "id": "url"}
    assert parse_fields(None) == {}
    for wrong in ("content", "content=", "colour=red"):
        with pytest.raises(ConfigError, match="--fields"):
            parse_fields(wrong)


def test_files_and_globs(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "odd[1].jsonl"):
        (tmp_path / name).touch()
    assert [p.name for p in expand([tmp_path / "[ab].jsonl", tmp_path / "a.jsonl"])] == ["a.jsonl", "b.jsonl"]
    assert expand([str(tmp_path / "odd[1].jsonl")]) == [tmp_path / "odd[1].jsonl"]
    for wrong in (tmp_path / "*.csv", tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError):
            expand([wrong])


def test_rejects_never_take_an_inputs_place(tmp_path: Path) -> None:
    assert rejects_name("news.2026.jsonl.gz") == "news.2026.rejected.jsonl"
    assert rejects_name("table.parquet") == "table.rejected.jsonl"
    path = write_jsonl(tmp_path / "a.jsonl", [])
    (tmp_path / "link").symlink_to(path)
    refuse_to_overwrite([path], tmp_path / "b.jsonl")
    with pytest.raises(ConfigError, match="would be overwritten"):
        refuse_to_overwrite([path], tmp_path / "x", tmp_path / "link")


def test_rejects_are_counted_and_written_with_line_and_reason(tmp_path: Path) -> None:
    tiny = load_filter(write_filter(tmp_path / "tiny"))
    rows = [labelled(1)[0], b"{", {**labelled(2)[1], "scores": {"help": 1}}]
    path = write_jsonl(tmp_path / "in.jsonl", rows)
    rejects = Rejects(tmp_path / "sub" / "in.rejected.jsonl")
    assert len(list(read_labelled([path], tiny.spec, rejects))) == 1
    rejects.close()
    assert rejects.count == 2
    assert set(rejects.reasons) == {"the line is cut off or malformed JSON", "missing dimension"}
    assert rejects.first is not None
    assert rejects.first.startswith(f"{path}:2: the line is cut off or malformed JSON")
    assert [r["line"] for r in read_jsonl(tmp_path / "sub" / "in.rejected.jsonl")] == [2, 3]


def test_members_of_compressed_output_are_what_other_tools_read(tmp_path: Path) -> None:
    path = packed(tmp_path, ".jsonl.gz")
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 2500
