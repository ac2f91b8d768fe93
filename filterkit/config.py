"""Which backend does which job, with which options.

The layers are filter.yaml, filterkit.yaml, environment, command line, in that order. Later layers win
key by key; a layer that changes a kind's `use` discards the lower layers' options of that kind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from filterkit.errors import ConfigError
from filterkit.explain import Loc, explain
from filterkit.filters import Filter
from filterkit.records import Price
from filterkit.spec import UPPER_LIMITS, FilterSpec, Gates
from filterkit.yamlfile import line_of, load

FILE_NAME = "filterkit.yaml"
PREFIX = "FILTERKIT_"
# What ends in _env names the environment variable of a secret, and is none.
_SECRET_NAME = re.compile(r"secret|passw|credential|(api|access)_?key|(^|auth_|access_|bearer_|api_|hf_)token$", re.I)
RESERVED = {"FILTERKIT_DISABLE_PLUGINS", "FILTERKIT_SERVE_TOKEN", "FILTERKIT_WORKSPACE"}
KINDS = ("oracle", "trainer", "embedder", "deployer", "executor", "remote")
"""Kinds that a workspace chooses. Pre- and postfilter are the filter's own policy, the model is the artifact's;
`remote` is the model that scores at an address, which the address chooses where nobody else does."""
DEFAULT_USE = {"trainer": "lite", "embedder": "static", "deployer": "local", "executor": "local"}


class Section(BaseModel):
    """Base of the settings: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)


class ScreenConfig(Section):
    """What is left out before anything is asked."""

    near_duplicates: float | None = Field(
        0.75, ge=0.7, le=1, description="share of character 5-grams in common from which on a text is left out"
    )
    boilerplate: bool = Field(True, description="leave out consent walls, error pages, paywalls and empty texts")
    prefilter: bool = Field(True, description="leave out what the filter's prefilter holds back")


class LabelConfig(Section):
    """How `filterkit label` works."""

    concurrency: int = Field(64, ge=1, le=10_000, description="requests in flight at most")
    requests_per_minute: float | None = Field(None, gt=0, description="requests a minute at most")
    tokens_per_minute: float | None = Field(None, gt=0, description="tokens a minute at most, input and output")
    max_attempts: int = Field(4, ge=1, le=100, description="attempts per article before it is recorded as failed")
    settle_s: float = Field(
        20.0, ge=0, description="seconds until a batch job that the provider does not know counts as never submitted"
    )
    screen: ScreenConfig = Field(ScreenConfig(), description="what is left out before anything is asked")


class BudgetConfig(Section):
    """What the oracles of a workspace may cost, all commands and processes together."""

    total_usd: float | None = Field(None, ge=0, description="dollars that all requests of the label store may cost")
    per_day_usd: float | None = Field(None, ge=0, description="dollars that the requests of one day, UTC, may cost")


class ConsensusConfig(Section):
    """Two oracles that must agree, and a referee for articles on which they do not."""

    second: str | None = Field(None, description="a second oracle, as NAME or NAME:MODEL; both are asked about all")
    second_options: dict[str, Any] = Field({}, description="options of the second oracle")
    referee: str | None = Field(None, description="a third oracle, asked about what the two disagree on")
    referee_options: dict[str, Any] = Field({}, description="options of the referee")
    tolerance: float = Field(2.0, ge=0, description="how far the two may differ on a dimension, in scale units")


class Settings(Section):
    """filterkit.yaml without the backends' sections."""

    store: str = Field("labels.db", description="the label store's file, relative to the workspace")
    students: str = Field("students", description="folder of students of filters that are installed read-only")
    label: LabelConfig = Field(LabelConfig(), description="how articles are labelled")
    budget: BudgetConfig = Field(BudgetConfig(), description="what oracles may cost, whatever they are asked")
    consensus: ConsensusConfig = Field(ConsensusConfig(), description="labels that several oracles agree on")
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

    def student_dir(self, filter: Filter) -> Path:
        """Where a filter's student lies unless said otherwise: beside a filter of the workspace, else under students/.

        A filter that pip installed is not the workspace's own, even where its environment lies in the workspace.
        """
        path = filter.path.resolve()
        installed = {"site-packages", "dist-packages"} & set(path.parts)
        if path.is_relative_to(self.workspace.resolve()) and not installed:
            return filter.path / "model"
        return self.path(self.settings.students) / filter.name / f"v{filter.spec.version}"

    def to_dict(self) -> dict[str, Any]:
        """The merged values as plain data; of the workspace's gates only those that it sets."""
        gates = None if self.settings.gates is None else self.settings.gates.model_dump(exclude_unset=True)
        settings = self.settings.model_dump(mode="json", exclude={"gates"})
        return {**settings, **({"gates": gates} if gates else {}), **self.backends}

    def origin(self, key: str, spec: FilterSpec | None = None) -> str:
        """Where the value of a dotted key came from, in words."""
        if key in self.origins:
            return self.origins[key]
        of_filter = (
            spec is not None and key.startswith("gates.") and key.removeprefix("gates.") in spec.gates.model_fields_set
        )
        return f"filter {spec.name}" if of_filter and spec else "default"

    def gates(self, spec: FilterSpec) -> tuple[Gates, list[str]]:
        """The gates in force, and for each that the workspace loosened, words that say so."""
        own = self.settings.gates
        if own is None:
            return spec.gates, []
        merged = spec.gates.model_copy(update=own.model_dump(exclude_unset=True))
        looser = []
        for name in Gates.model_fields:
            sign = 1 if name in UPPER_LIMITS else -1
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
        merged.add(data, lambda loc: f"{file}:{line_of(lines, loc)}")
    merged.add(_nest(_environment()), lambda loc: PREFIX + "__".join(loc).upper())
    merged.add(_nest(command_line or {}), "command line")
    return merged.result(root)


def sealed_config(
    workspace: Path, backends: Mapping[str, Mapping[str, Any]], origin: str, command_line: Mapping[str, Any]
) -> Config:
    """Backends as `origin` gives them (by kind, with `use`), with the command line on top; nothing else counts."""
    merged = _Merge()
    merged.add(backends, origin)
    merged.add(_nest(command_line), "command line")
    return merged.result(workspace)


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
        value = yaml.safe_load(text) if "&" not in text else text  # without an anchor, * refers to nothing
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    if isinstance(value, bool) and text.lower() not in ("true", "false"):
        return text  # on, off, yes and no are words here: models and people have such names
    if value is None:
        return None if text in ("null", "~", "") else text
    sexagesimal = ":" in text and isinstance(value, int | float)
    return value if isinstance(value, str | bool | int | float | list | dict) and not sexagesimal else text


def _environment() -> dict[str, Any]:
    """Dotted key -> value of every variable that configures."""
    names = [n for n in sorted(os.environ) if n.startswith(PREFIX) and n not in RESERVED]
    return {n[len(PREFIX) :].lower().replace("__", "."): scalar(os.environ[n]) for n in names}


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings. ConfigError when a key is given both a value and keys below it."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = key.split(".")
        inner = out
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{parent} has a value, so {key} cannot be set below it")
        inner[last] = value
    return out


Origin = str | Callable[[tuple[str, ...]], str]
"""The layer that a value came from, in words; or what tells it from the path of keys."""


class _Merge:
    """Values by section, and for each dotted key the layer it came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}

    def add(self, layer: Mapping[str, Any], origin: Origin) -> None:
        """Put a layer on top. ConfigError on a section that nothing reads."""
        tell = origin if callable(origin) else lambda _: origin
        for section, value in layer.items():
            _check_section(section, tell)
            if section in KINDS:
                if not isinstance(value, Mapping):
                    raise ConfigError(f"{section} must be a mapping with `use`, not {value!r}", where=tell((section,)))
                if "use" in value and value["use"] != self.values.get(section, {}).get("use"):
                    self.values[section] = {}
                    self._forget(section)
            self._merge(self.values, value, (section,), tell)

    def _merge(self, into: dict[str, Any], value: Any, loc: tuple[str, ...], tell: Callable[..., str]) -> None:
        if isinstance(value, Mapping):
            if not isinstance(into.get(loc[-1]), dict):
                into[loc[-1]] = {}
                self.origins.pop(".".join(loc), None)
            for child, one in value.items():
                self._merge(into[loc[-1]], one, (*loc, str(child)), tell)
            return
        if loc[0] in (*KINDS, "consensus") and _SECRET_NAME.search(loc[-1]) and not loc[-1].endswith("_env"):
            raise ConfigError(
                f"{'.'.join(loc)} looks like a secret, which no configuration may hold",
                where=tell(loc),
                fix="Keys and tokens are read from the provider's own environment variable",
            )
        self._forget(".".join(loc))
        into[loc[-1]] = value
        self.origins[".".join(loc)] = tell(loc)

    def _forget(self, key: str) -> None:
        self.origins = {k: v for k, v in self.origins.items() if not k.startswith(f"{key}.")}

    def result(self, workspace: Path) -> Config:
        backends = {kind: self.values[kind] for kind in KINDS if kind in self.values}
        rest = {k: v for k, v in self.values.items() if k not in KINDS}
        try:
            settings = Settings.model_validate(rest)
        except ValidationError as error:
            loc, what = explain(error, Settings)[0]
            raise ConfigError(what, where=self._origin(loc)) from error
        return Config(workspace, settings, backends, self.origins)

    def _origin(self, loc: Loc) -> str:
        """Where the value at `loc` was set, or what is nearest to it."""
        for end in range(len(loc), 0, -1):
            key = ".".join(map(str, loc[:end]))
            near = [origin for k, origin in self.origins.items() if k == key or k.startswith(f"{key}.")]
            if near:
                return near[0]
        return FILE_NAME


def _check_section(section: object, tell: Callable[[tuple[str, ...]], str]) -> None:
    known = [*KINDS, *Settings.model_fields]
    if section not in known:
        near = get_close_matches(str(section), known, 1)
        raise ConfigError(
            f"unknown key {section!r}",
            where=tell((str(section),)),
            fix=f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}",
        )
