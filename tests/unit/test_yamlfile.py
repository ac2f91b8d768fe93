"""YAML from strangers: read strictly, bounded, and every complaint has a line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from filterkit.errors import ConfigError
from filterkit.yamlfile import MAX_BYTES, MAX_DEPTH, line_of, load, loads


def bomb() -> str:
    """Nine levels of ten aliases each: a billion values from a thousand characters."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    return "\n".join(lines)


BAD = {
    "bomb": (bomb(), 2, "aliases"),
    "alias to itself": ("a: &a [*a]", 1, "aliases"),
    "merge key": ("x: 1\n<<: {name: smuggled}", 2, "plain text"),
    "merge key with alias": ("x: &x {a: 1}\ny:\n  <<: *x", 3, "plain text|aliases"),
    "duplicate key": ("a: 1\nb: 2\na: 3", 3, "'a' appears twice"),
    "duplicate key below": ("a:\n  - {x: 1}\n  - {x: 1, y: 2, x: 3}", 3, "'x' appears twice"),
    "list as key": ("? [a, b]\n: 1", 1, "plain text"),
    "mapping as key": ("{a: 1}: 2", 1, "plain text"),
    "python tag": ("a: !!python/object/apply:os.system [ls]", 1, "tags"),
    "own tag": ("a: !include other.yaml", 1, "tags"),
    "bad tag value": ("a: 1\nb: !!int ''", 2, "tags"),
    "bad bool tag": ("a: !!bool maybe", 1, "tags"),
    "deep flow": ("a: " + "[" * 5000, 1, f"deeper than {MAX_DEPTH}"),
    "deep blocks": ("\n".join(f"{'  ' * i}k:" for i in range(200)), MAX_DEPTH, f"deeper than {MAX_DEPTH}"),
    "tab": ("a:\n\tb: 1", 2, "tab|token"),
    "not closed": ("a: [1, 2\nb: 3", 2, "','"),
    "two documents": ("a: 1\n---\nb: 2", 2, "another document"),
    "list": ("- a\n- b", 1, "must be a mapping"),
    "text": ("just words", 1, "must be a mapping"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_with_its_line(case: str) -> None:
    text, line, expected = BAD[case]
    started = time.monotonic()
    with pytest.raises(ConfigError, match=expected) as caught:
        loads(text, "some.yaml")
    assert time.monotonic() - started < 2
    assert str(caught.value.where) == f"some.yaml:{line}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: \x00", "a: \x07 bell", "a: \ufffe", f"a: {'9' * 5000}", "a: 2026-13-45"])
def test_other_nonsense_is_an_error_too(text: str) -> None:
    with pytest.raises(ConfigError, match=r"some\.yaml"):
        loads(text, "some.yaml")


def test_ordinary_yaml_is_read_with_the_line_of_every_value() -> None:
    data, lines = loads("# a comment\na: 1\nb:\n  - x: text\n    y: [1, 2.5]\n  - {z: null}\n", "some.yaml")
    assert data == {"a": 1, "b": [{"x": "text", "y": [1, 2.5]}, {"z": None}]}
    assert lines[("a",)] == 2
    assert lines[("b", 0, "y")] == 5
    assert lines[("b", 1, "z")] == 6
    assert line_of(lines, ("b", 0, "no such key")) == 4


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert loads("# nothing\n", "some.yaml")[0] == {}


def test_text_that_only_looks_like_an_alias_is_text() -> None:
    assert loads("a: 'rock & roll *'\nb: \"*x\"\nc: this & that", "x")[0] == {
        "a": "rock & roll *",
        "b": "*x",
        "c": "this & that",
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a: caf\xe9", "is not UTF-8 .byte 6.. Save it as UTF-8"),
        (b"\xff\xfea\x00:\x00", "is not UTF-8"),
        (b"a: 1\n" + b"#" * MAX_BYTES, "larger than 1,000,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, raw: bytes, expected: str) -> None:
    file = tmp_path / "some.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match=expected) as caught:
        load(file)
    assert str(file) in str(caught.value)


def test_a_gigantic_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    with file.open("wb") as out:
        out.truncate(20_000_000_000)  # sparse: it takes no space, but reading it would take 20 GB
    started = time.monotonic()
    with pytest.raises(ConfigError, match="larger than"):
        load(file)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / name)


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: text\r\n")
    data, lines = load(file)
    assert data == {"a": 1, "b": "text"}
    assert lines[("b",)] == 2
