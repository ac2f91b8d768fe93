"""All that is wrong with a filter package at once: its files, and its options for the backends that are installed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from filterkit.contracts import Backend, Context
from filterkit.errors import ConfigError, FilterkitError, PluginError
from filterkit.filters import at_line, check_filter, find_filter
from filterkit.options import option_problems
from filterkit.plugins import plugins
from filterkit.spec import FilterSpec
from filterkit.yamlfile import Lines, load

CHOICES = ("prefilter", "postfilter", "oracle", "trainer")
"""Keys of filter.yaml that choose a backend."""
_RULES = ("prefilter", "postfilter")
"""Kinds whose constructor checks its rules against the filter, and does nothing else."""


@dataclass
class Report:
    """What `check` found. `problems` and `notes` are lines `file:line: what`; notes say what could not be checked."""

    path: Path
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(name_or_path: str | Path) -> Report:
    """Check one filter package. SpecError when there is no such package."""
    path = find_filter(name_or_path)
    report = Report(path, check_filter(path))
    file = path / "filter.yaml"
    try:
        data, lines = load(file)
    except ConfigError:
        return report  # said already
    for kind in CHOICES:
        choice = data.get(kind)
        if isinstance(choice, Mapping) and isinstance(choice.get("use"), str) and choice["use"]:
            _check_choice(report, kind, dict(choice), data, lines)
    return report


def _check_choice(report: Report, kind: str, choice: dict[str, Any], data: dict[str, Any], lines: Lines) -> None:
    file, name = report.path / "filter.yaml", choice.pop("use")
    try:
        backend = plugins().load(kind, name)
    except PluginError as error:
        report.notes.append(f"{at_line(file, lines, (kind, 'use'), str(error))}. Its options were not checked")
        return
    found = option_problems(backend, choice)
    for loc, what in found:
        report.problems.append(at_line(file, lines, (kind, *loc), f"{kind} {name}: {what}"))
    if kind in _RULES and not found:
        problem = _rules_problem(backend, choice, data)
        report.problems += [at_line(file, lines, (kind,), problem)] if problem else []


def _rules_problem(backend: type[Backend[Any]], choice: dict[str, Any], data: dict[str, Any]) -> str | None:
    """What a backend's constructor says of its rules for this filter."""
    try:
        spec = FilterSpec.model_validate(data)
    except ValidationError:
        return None  # said already; rules are checked against a spec that is right
    with tempfile.TemporaryDirectory() as folder:
        try:
            backend(backend.Options.model_validate(choice), spec, Context(workdir=Path(folder))).close()
        except FilterkitError as error:
            return str(error)
    return None
