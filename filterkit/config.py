"""Which backend does which job, with which options.

The layers are filter.yaml, filterkit.yaml, environment, command line, in that order. Later layers win
key by key; a layer that changes a kind's `use` discards the lower layers' options of that kind.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from filterkit.errors import ConfigError
from filterkit.filters import explain
from filterkit.records import Price
from filterkit.spec import FilterSpec, Gates
from filterkit.yamlfile import line_of, load

FILE_NAME = "filterkit.yaml"
PREFIX = "FILTERKIT_"
RESERVED = {"FILTERKIT_DISABLE_PLUGINS", "FILTERKIT_WORKSPACE"}
KINDS = ("oracle", "trainer", "embedder", "deployer", "executor")
"""Kinds that a workspace chooses. Pre- and postfilter are the filter's own policy, the model is the artifact's."""
DEFAULT_USE = {"trainer": "lite", "embedder": "static", "deployer": "local", "executor": "local"}


class Section(BaseModel):
    """Base of the settings: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LabelConfig(Section):
    """How `filterkit label` works."""

    concurrency: int = Field(64, ge=1, le=10_000, description="requests in flight")
    max_attempts: int = Field(4, ge=1, le=100, description="attempts per article before it is recorded as failed")


class Settings(Section):
    """filterkit.yaml without the backends' sections."""

    store: str = Field("labels.db", description="the label store's file, relative to the workspace")
    students: str = Field("students", description="folder of students of filters that are installed read-only")
    label: LabelConfig = Field(LabelConfig(), description="how articles are labelled")
    gates: Gates | None = Field(None, description="gates that replace the filter's, one by one")
    prices: dict[str, Price] = Field({}, description="prices of models, over those that plugins bring")


@dataclass
class Config:
    """The merged configuration of one command, and where each value came from."""

    workspace: Path
    settings: Settings
    backends: dict[str, dict[str, Any]]
    origins: dict[str, str] = field(default_factory=dict)

    def backend(self, kind: str) -> tuple[str, dict[str, Any]]:
        """Name and options of the backend for `kind`. ConfigError when nothing names one."""
        section = dict(self.backends.get(kind, {}))
        use = section.pop("use", None)
        if not use:
            raise ConfigError(
                f"no {kind} is configured", fix=f"Name one: --{kind} NAME, or {kind}: {{use: NAME}} in {FILE_NAME}"
            )
        return str(use), section

    def path(self, value: str) -> Path:
        """A configured path; a relative one starts at the workspace."""
        return self.workspace / Path(value).expanduser()

    def to_dict(self) -> dict[str, Any]:
        """The merged values as plain data."""
        return {**self.settings.model_dump(mode="json", exclude_none=True), **self.backends}

    def gates(self, spec: FilterSpec) -> tuple[Gates, list[str]]:
        """The gates in force, and for each that the workspace loosened, words that say so."""
        own = self.settings.gates
        if own is None:
            return spec.gates, []
        merged = spec.gates.model_copy(update=own.model_dump(exclude_unset=True))
        looser = []
        for name, sign in (("mae", 1), ("median_gain", -1)):
            was, now = getattr(spec.gates, name), getattr(merged, name)
            if was is not None and (now is None or sign * now > sign * was):
                looser.append(
                    f"gate {name} was loosened by the workspace from {was:g} to {'none' if now is None else f'{now:g}'}"
                )
        return merged, looser


def load_config(
    workspace: Path | None = None,
    spec: FilterSpec | None = None,
    command_line: Mapping[str, Any] | None = None,
) -> Config:
    """The merged configuration. `command_line` holds dotted keys (`oracle.model`, `store`).

    Raises ConfigError that names the file and line, the variable or the option.
    """
    root = workspace or Path(os.environ.get("FILTERKIT_WORKSPACE", "."))
    if not root.is_dir():
        raise ConfigError("the workspace is not a folder", where=root, fix=f"Make it: filterkit init {root}")
    merged = _Merge()
    merged.add({k: {"use": v} for k, v in DEFAULT_USE.items()}, "default")
    if spec is not None:
        choices = {k: getattr(spec, k) for k in ("oracle", "trainer") if getattr(spec, k) is not None}
        merged.add({k: {"use": c.use, **c.options} for k, c in choices.items()}, f"filter {spec.name}")
    file = root / FILE_NAME
    if file.is_file():
        data, lines = load(file)
        _check_sections(data, lambda key: f"{file}:{line_of(lines, (key,))}")
        merged.add(data, str(file))
    for name, value in _environment():
        key = name[len(PREFIX) :].lower().replace("__", ".")
        _check_sections({key.split(".")[0]: None}, lambda _, name=name: name)
        merged.add(_nest(key, value), name)
    for key, value in (command_line or {}).items():
        merged.add(_nest(key, value), "command line")
    return merged.result(root)


def parse_option(text: str, kind: str | None) -> tuple[str, Any]:
    """`-O key=value` or `-O kind.key=value` as (dotted key, value). Values are YAML scalars or lists.

    `kind` is the one kind that the command is about; None when several could be meant.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"-O takes key=value, not {text!r}")
    head = key.split(".")[0]
    if head in KINDS and "." in key:
        return key, scalar(value)
    if kind is None:
        raise ConfigError(
            f"-O {key}: this command has several backends",
            fix=f"Say whose: -O KIND.{key}=… with KIND one of {', '.join(KINDS)}",
        )
    return f"{kind}.{key}", scalar(value)


def scalar(text: str) -> Any:
    """A value given as text, read as YAML would read it; text that is no YAML stays text."""
    try:
        value = yaml.safe_load(text) if "&" not in text and "*" not in text else text
    except yaml.YAMLError:
        return text
    return text if value is None and text not in ("null", "~", "") else value


def _environment() -> Iterable[tuple[str, Any]]:
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in RESERVED:
            yield name, scalar(os.environ[name])


def _check_sections(data: Mapping[str, Any], where: Any) -> None:
    known = [*KINDS, *Settings.model_fields]
    for key in data:
        if key not in known:
            near = get_close_matches(key, known, 1)
            raise ConfigError(
                f"unknown key {key!r}",
                where=where(key),
                fix=f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}",
            )


def _nest(key: str, value: Any) -> dict[str, Any]:
    head, *rest = key.split(".", 1)
    return {head: _nest(rest[0], value)} if rest else {head: value}


class _Merge:
    """Values by section, and for each dotted key the layer it came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def add(self, layer: Mapping[str, Any], origin: str) -> None:
        for section, value in layer.items():
            if section not in KINDS:
                _merge(self.values, section, value, section, origin, self.origins)
                continue
            if not isinstance(value, Mapping):
                raise ConfigError(f"{section} must be a mapping with `use`, not {value!r}", where=origin)
            if "use" in value and value["use"] != self.values.get(section, {}).get("use"):
                self.values[section] = {}
                self.origins = {k: v for k, v in self.origins.items() if not k.startswith(f"{section}.")}
            _merge(self.values, section, value, section, origin, self.origins)

    def result(self, workspace: Path) -> Config:
        backends = {kind: self.values[kind] for kind in KINDS if kind in self.values}
        rest = {k: v for k, v in self.values.items() if k not in KINDS}
        try:
            settings = Settings.model_validate(rest)
        except ValidationError as error:
            loc, what = explain(error)[0]
            raise ConfigError(what, where=self.origins.get(".".join(map(str, loc)), FILE_NAME)) from error
        return Config(workspace, settings, backends, self.origins)


def _merge(into: dict[str, Any], name: str, value: Any, key: str, origin: str, origins: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        if not isinstance(into.get(name), dict):
            into[name] = {}
        for child, one in value.items():
            _merge(into[name], str(child), one, f"{key}.{child}", origin, origins)
    else:
        into[name] = value
        origins[key] = origin
