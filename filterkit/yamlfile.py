"""YAML that people write by hand, read strictly: no aliases, no duplicate keys, bounded, with line numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from filterkit.errors import ConfigError
from filterkit.explain import Loc

MAX_BYTES = 1_000_000
MAX_DEPTH = 30
_MERGE_TAG = "tag:yaml.org,2002:merge"

Lines = dict[Loc, int]
"""Where each value starts: path of keys and indices -> line, counted from 1."""


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses aliases (they make billion-laughs bombs possible), tags and deep nesting."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not allowed; write the value out", problem_mark=self._mark()
            )
        if self.peek_event().tag is not None:  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="tags (!name) are not allowed", problem_mark=self._mark())
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=self._mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _mark(self) -> Any:
        return self.peek_event().start_mark  # type: ignore[no-untyped-call]


def load(path: Path) -> tuple[dict[str, Any], Lines]:
    """The mapping in the file and the line of every value in it.

    Raises ConfigError that names file and line: unreadable, not UTF-8, over 1 MB, not a mapping, aliases, tags,
    duplicate keys, broken YAML.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=path) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES:,} bytes", where=path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 (byte {error.start})", where=path, fix="Save it as UTF-8") from error
    return loads(text, str(path))


def loads(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    """`load` for a text in hand; `name` stands for the file in errors."""
    lines: Lines = {}
    try:
        loader = _StrictLoader(text)
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"holds the character #x{error.character:04x}, which YAML does not allow", where=name
        ) from error
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, lines
        _note_lines(node, (), lines)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(str(error.problem or error.context or "not valid YAML"), where=where) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"not valid YAML ({error})", where=name) from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise ConfigError("must be a mapping (key: value)", where=f"{name}:1")
    return data, lines


def line_of(lines: Lines, loc: Loc) -> int | None:
    """The line of `loc`, or of the nearest ancestor that has one."""
    for end in range(len(loc), -1, -1):
        if loc[:end] in lines:
            return lines[loc[:end]]
    return None


def with_values(text: str, name: str, values: Mapping[str, str]) -> str:
    """The text with other plain values at some of its top-level keys; all else, comments included, as it was.

    ConfigError when it is no such mapping, or one of the keys has no plain value.
    """
    loads(text, name)  # says what is wrong with it, if something is
    root = yaml.compose(text, Loader=_StrictLoader)
    assert isinstance(root, yaml.MappingNode)
    found = {key.value: child for key, child in root.value}
    for key in values:
        if not isinstance(found.get(key), yaml.ScalarNode):
            raise ConfigError(f"has no plain value at {key!r}", where=name)
    for key in sorted(values, key=lambda key: -found[key].start_mark.index):  # from the end: places stay where they are
        start, end = found[key].start_mark.index, found[key].end_mark.index
        text = text[:start] + json.dumps(values[key]) + text[end:]
    return text


def _note_lines(node: yaml.Node, loc: Loc, lines: Lines) -> None:
    lines[loc] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _note_lines(child, (*loc, index), lines)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} appears twice", problem_mark=key.start_mark)
            seen.add(key.value)
            _note_lines(child, (*loc, key.value), lines)
            lines[(*loc, key.value)] = key.start_mark.line + 1
