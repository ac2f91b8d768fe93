"""Writes docs/reference/ from the code: `make docs`. A test fails when a committed page is not what this writes."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from as_markdown import (
    ELSEWHERE,
    code,
    doc,
    models_in,
    show_class,
    show_dataclass,
    show_fields,
    show_function,
    show_model,
    signature,
    stub,
    table,
)

import filterkit
from filterkit import (
    api,
    calibrator,
    config,
    contracts,
    errors,
    filters,
    hookspecs,
    manifest,
    metrics,
    records,
    spec,
    student,
)
from filterkit.cli.main import COMMANDS, cli
from filterkit.pipeline import data, jobs, score, shards, validate
from filterkit.plugins import plugins

HERE = Path(__file__).parent
ROOT = HERE.parent
REFERENCE = HERE / "reference"
INTROS = HERE / "reference" / "_intro"
"""What people wrote: REFERENCE/_intro/PAGE.md is the beginning of PAGE.md."""

NOTE = "<!-- Written by docs/generate.py from the code and from _intro/{name}. Change those, then run `make docs`. -->"


def pages() -> dict[str, str]:
    """Name -> text of every page of the reference."""
    made = {
        "api.md": _api(),
        "backends.md": _backends(),
        "cli.md": _cli(),
        "config.md": _config(),
        "contracts.md": _contracts(),
        "errors.md": _errors(),
        "files.md": _files(),
        "filter-yaml.md": _filter_yaml(),
        "hooks.md": _hooks(),
    }
    return {name: _page(name, parts) for name, parts in made.items()}


def _page(name: str, parts: Iterable[str]) -> str:
    intro = (INTROS / name).read_text(encoding="utf-8").strip()
    title, _, rest = intro.partition("\n")
    head = [title, NOTE.format(name=name), rest.strip()]
    return "\n\n".join(part.strip("\n") for part in (*head, *parts) if part.strip()) + "\n"


def _cli() -> Iterator[str]:
    context = click.Context(cli, info_name="filterkit")
    yield from (
        _command(["filterkit", name], cli.get_command(context, name), words) for name, words in COMMANDS.items()
    )


def _command(path: list[str], command: click.Command | None, summary: str = "") -> str:
    assert command is not None, path
    usage = " ".join([*path, *command.collect_usage_pieces(click.Context(command))])
    parts = [f"## {' '.join(path)}", f"```text\n{usage}\n```", inspect.cleandoc(command.help or summary)]
    rows = [_option(p) for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if rows:
        parts.append(table(["option", "default", "meaning"], rows))
    if isinstance(command, click.Group):
        parts += [_command([*path, name], one) for name, one in sorted(command.commands.items())]
    return "\n\n".join(parts)


_VALUES = {"integer": "N", "integer range": "N", "directory": "DIR", "path": "FILE", "text": "TEXT"}


def _option(option: click.Option) -> list[str]:
    kind = option.type.name
    value = "" if option.is_flag else option.metavar or _VALUES.get(kind, kind.upper())
    names = ", ".join(code(name) for name in option.opts + option.secondary_opts)
    shown = option.default if option.show_default and not option.is_flag else ""
    default = "required" if option.required else code(shown)
    return [f"{names} {code(value)}".strip(), default, option.help or ""]


def _config() -> Iterator[str]:
    rows = [
        [code(kind), code(config.DEFAULT_USE.get(kind, "")) or "the filter's", f"which {kind}, and its options"]
        for kind in config.KINDS
    ]
    yield "## Backends\n\n" + table(["section", "`use` unless said otherwise", "meaning"], rows)
    for model in models_in(config.Settings):
        yield show_model(model)


def _filter_yaml() -> Iterator[str]:
    for model in models_in(spec.FilterSpec):
        yield show_model(model)


def _contracts() -> Iterator[str]:
    yield show_dataclass(contracts.Context)
    kinds: list[type[Any]] = [contracts.Backend, contracts.Options, *contracts.KINDS.values()]
    for kind in kinds:
        yield from show_class(kind)
        if kind is contracts.Oracle:
            yield show_model(contracts.OracleOptions)
            for part in (contracts.Batch, contracts.RemoteJobs):
                yield from show_class(part)
            yield show_dataclass(contracts.BatchItem)
            yield show_model(contracts.JobState)
        if kind is contracts.Trainer:
            yield show_dataclass(contracts.TrainJob)
        if kind is contracts.Model:
            yield from show_class(contracts.Scorer)
    yield show_function("run_shard", contracts.run_shard, 2)
    yield "## What goes in and out"
    for name in ("Article", "Label", "Split", "Prediction", "Verdicts"):
        yield show_dataclass(getattr(records, name), 3)
    names = "OracleRequest Reply Usage Price TrainedStudent Deployment Pass Block Shard ShardResult"
    for name in names.split():
        yield show_model(getattr(records, name), 3)


def _hooks() -> Iterator[str]:
    yield "## Hooks"
    for name, function in vars(hookspecs).items():
        if hasattr(function, f"{hookspecs.PROJECT}_spec"):
            yield show_function(name, function, 3)
    yield "## What `register` takes"
    for protocol in (hookspecs.Register, hookspecs.RegisterPrice):
        call = stub("register", protocol.__call__)
        yield f"### {protocol.__name__}\n\n```python\n{call}\n```\n\n{doc(protocol)}"


def _api() -> Iterator[str]:
    yield "## filterkit"
    for name in filterkit.__all__:
        if name != "__version__":
            yield show_function(f"filterkit.{name}", getattr(filterkit, name), 3)
    yield "### filterkit.__version__\n\nThe version, as text."
    yield "## What they give back"
    yield from _outline(filters.Filter)
    yield from _outline(spec.FilterSpec)
    yield from _outline(student.Student)
    yield show_dataclass(student.Verdict, 3)
    yield show_dataclass(validate.Evaluation, 3)
    for model in dict.fromkeys(
        one for root in (metrics.Metrics, calibrator.Calibrator, calibrator.OverallInterval) for one in models_in(root)
    ):
        yield show_model(model, 3)
    for method in (calibrator.Calibrator.apply, calibrator.Calibrator.interval):
        yield f"### {method.__qualname__}\n\n" + doc(method)
    yield "## filterkit.api"
    yield "What plugins import. More on each in [contracts](contracts.md) and [errors](errors.md)."
    rows = []
    for name in api.__all__:
        thing = getattr(api, name)
        words = "" if name in ("F32", "API") else doc(thing).split("\n\n")[0]
        rows.append([code(name), {"F32": "`NDArray[np.float32]`", "API": "version of the contracts"}.get(name, words)])
    yield table(["name", "what it is"], rows)
    yield "## filterkit.testing"
    testing = importlib.import_module("filterkit.testing")
    made = {"HOSTILE_TEXTS": "Texts that articles do hold, and that break what was only tried on nice ones."}
    yield table(
        ["name", "what it is"],
        [[code(n), made.get(n) or doc(getattr(testing, n)).split("\n\n")[0]] for n in testing.__all__],
    )


def _outline(kind: type[Any]) -> Iterator[str]:
    """A class by its public members, a line each."""
    yield f"### {kind.__name__}\n\n{doc(kind)}"
    rows = []
    if dataclasses.is_dataclass(kind):
        rows = [[code(f"{f.name}: {f.type}"), ""] for f in dataclasses.fields(kind)]
    for name, member in vars(kind).items():
        if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        call = name if isinstance(member, property) else name + signature(member)
        rows.append([code(call), doc(member).split("\n\n")[0]])
    yield table(["member", "what it is"], rows)


def _errors() -> Iterator[str]:
    yield f"```text\n{inspect.cleandoc(errors.__doc__ or '')}\n```"
    rows = []
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, Exception):
            rows.append([code(name), str(getattr(kind, "exit_code", 1)), doc(kind).replace("\n", " ")])
    yield table(["exception", "exit code", "when"], rows)


def _files() -> Iterator[str]:
    yield "## data.json\n\nBeside the splits that `filterkit prepare` wrote."
    yield show_model(data.DataFile, 3)
    ELSEWHERE.update(FilterSpec="filter-yaml.md", Calibrator="api.md", OverallInterval="api.md")
    yield "## filterkit.json\n\nThe manifest of a student's folder."
    for model in models_in(manifest.Manifest):
        if model.__module__ not in ("filterkit.spec", "filterkit.calibrator"):
            yield show_model(model, 3)
    ELSEWHERE.clear()
    yield "## job.json\n\nThe first file of a sealed job (`filterkit train --pack`), a tar."
    yield show_model(jobs.SealedJob, 3)
    yield "## The run folder of `score`\n\n" + doc(score).partition("\n\n")[2]
    for one in (*models_in(score.Plan), *models_in(shards.Counts)):
        yield show_model(one, 3)


def _backends() -> Iterator[str]:
    """The backends of this repository's own dists, whatever else is installed."""
    for entry in plugins().entries():
        if entry.dist not in own_dists():
            continue
        backend = plugins().load(entry.kind, entry.name)
        yield f"## {entry.kind} {entry.name}\n\n{entry.summary[:1].upper()}{entry.summary[1:]}. From `{entry.dist}`."
        yield doc(backend)
        inner = models_in(backend.Options)
        yield show_fields(backend.Options) if backend.Options.model_fields else "It has no options."
        yield from (show_model(model, 3) for model in inner[1:])


def own_dists() -> set[str]:
    """The dists of backends whose source lies in this repository."""
    files = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    projects = [tomllib.loads(f.read_text(encoding="utf-8"))["project"] for f in files]
    return {p["name"] for p in projects if "filterkit" in p["entry-points"]}


def main() -> None:
    """Write every page."""
    missing = own_dists() - {plugin.dist for plugin in plugins().found if plugin.state == "ok"}
    if missing:
        sys.exit(f"install {', '.join(sorted(missing))} first: the reference tells their options")
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(REFERENCE / name)


if __name__ == "__main__":
    main()
