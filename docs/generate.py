"""Writes docs/reference/ from the code: `make docs`. A test fails when a committed page is not what this writes."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import annotated_types
import click
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import filterkit
from filterkit import api, calibrator, config, contracts, errors, hookspecs, manifest, metrics, records, spec, student
from filterkit.cli.main import COMMANDS, cli
from filterkit.pipeline import data, score, shards, validate
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


# Pieces


def _doc(thing: object) -> str:
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


def _shape(kind: Any) -> str:
    """A type in words that a person who writes YAML or JSON knows."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _shape(inner[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_shape(one) for one in inner if one is not type(None))
    if origin in (tuple, list) and (origin is list or Ellipsis in inner):
        return f"list of {_shape(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(_shape(one) for one in inner)}]"
    if isinstance(origin, type) and issubclass(origin, typing.Mapping):  # type: ignore[arg-type]
        return f"mapping of {_shape(inner[0])} to {_shape(inner[1])}"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything", dict: "mapping"}
    if kind in names:
        return names[kind]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return getattr(kind, "__name__", str(kind))


_BOUNDS = {
    annotated_types.Ge: ("ge", "at least {}"),
    annotated_types.Gt: ("gt", "above {}"),
    annotated_types.Le: ("le", "at most {}"),
    annotated_types.Lt: ("lt", "below {}"),
    annotated_types.MinLen: ("min_length", "at least {} long"),
    annotated_types.MaxLen: ("max_length", "at most {} long"),
}


def _bounds(metadata: Iterable[Any]) -> str:
    found = []
    for one in metadata:
        if type(one) in _BOUNDS:
            attribute, words = _BOUNDS[type(one)]
            found.append(words.format(f"{getattr(one, attribute):g}"))
        elif getattr(one, "pattern", None):
            found.append(f"matches `{one.pattern}`")
    return ", ".join(found)


def _default(field: Any) -> str:
    value = field.default
    if field.default_factory is not None:
        value = field.default_factory()
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "unset"
    if isinstance(value, BaseModel):
        return "its defaults" if value == type(value).model_construct() else f"`{value}`"
    if isinstance(value, bool):
        return _code(str(value).lower())
    return _code(f"{value:g}" if isinstance(value, float) else value or '""' if isinstance(value, str) else value)


def _fields(model: type[BaseModel]) -> str:
    """A table of a pydantic model's fields; the column of words only where any field has some."""
    described = any(f.description for f in model.model_fields.values())
    rows = []
    for name, field in model.model_fields.items():
        bounds = _bounds(field.metadata)
        shape = _shape(field.annotation) + (f", {bounds}" if bounds else "")
        row = [_code(field.alias or name), shape, _default(field)]
        rows.append([*row, field.description or ""] if described else row)
    return _table(["key", "what", "default", *(["meaning"] if described else [])], rows)


def _model(model: type[BaseModel], level: int = 2) -> str:
    return f"{'#' * level} {model.__name__}\n\n{_doc(model)}\n\n{_fields(model)}"


def _models_in(root: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and those that its fields hold, each once, outermost first."""
    found: dict[type[BaseModel], None] = {}

    def visit(kind: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind in found:
                return
            found[kind] = None
            for field in kind.model_fields.values():
                visit(field.annotation)
        for inner in typing.get_args(kind):
            visit(inner)

    visit(root)
    return list(found)


def _dataclass(kind: type[Any], level: int = 2) -> str:
    rows = [[_code(f.name), _code(f.type)] for f in dataclasses.fields(kind)]
    return f"{'#' * level} {kind.__name__}\n\n{_doc(kind)}\n\n{_table(['field', 'type'], rows)}"


class _Raw:
    """Prints as the annotation was written."""

    def __init__(self, text: Any) -> None:
        self.text = text if isinstance(text, str) else getattr(text, "__name__", str(text))

    def __repr__(self) -> str:
        return self.text


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    shown = [
        p if p.annotation is p.empty else p.replace(annotation=_Raw(p.annotation))
        for p in signature.parameters.values()
        if p.name != "self"
    ]
    returns = signature.return_annotation
    text = signature.replace(
        parameters=shown, return_annotation=returns if returns is signature.empty else _Raw(returns)
    )
    return str(text)


def _function(name: str, function: Any, level: int) -> str:
    prefix = "async " if inspect.iscoroutinefunction(function) else ""
    return f"{'#' * level} {name}\n\n```python no-run\n{prefix}{name}{_signature(function)}\n```\n\n{_doc(function)}"


def _attribute_docs(kind: type[Any]) -> dict[str, str]:
    """Words under a class attribute, as the source has them."""
    import ast
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    found: dict[str, str] = {}
    assert isinstance(body, ast.ClassDef)
    for before, node in zip(body.body, body.body[1:], strict=False):
        words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(words, str):
            found[before.target.id] = inspect.cleandoc(words)
    return found


def _class(kind: type[Any]) -> Iterator[str]:
    """A contract: its words, its attributes, its methods."""
    yield f"## {kind.__name__}\n\n{_doc(kind)}"
    words = _attribute_docs(kind)
    attributes = [n for n in kind.__dict__.get("__annotations__", {}) if not n.startswith("_")]
    rows = []
    for name in attributes:
        value = kind.__dict__.get(name, PydanticUndefined)
        shown = "required" if value is PydanticUndefined else value.__name__ if isinstance(value, type) else repr(value)
        rows.append([_code(name), _code(shown), words.get(name, "")])
    if rows:
        yield _table(["attribute", "unless you say otherwise", "meaning"], rows)
    for name, member in kind.__dict__.items():
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(member, property):
            must = " (you write it)" if getattr(member.fget, "__isabstractmethod__", False) else ""
            yield f"### {kind.__name__}.{name}\n\nA property{must}. {_doc(member)}"
        elif inspect.isfunction(member) and not (name == "__init__" and not member.__doc__):
            must = "You write it. " if getattr(member, "__isabstractmethod__", False) else ""
            text = _function(name, member, 3).replace(f"### {name}", f"### {kind.__name__}.{name}", 1)
            head, _, doc = text.rpartition("```\n\n")
            yield f"{head}```\n\n{must}{doc}"


# Pages


def _cli() -> Iterator[str]:
    context = click.Context(cli, info_name="filterkit")
    yield from (_command(["filterkit", name], cli.get_command(context, name), words) for name, words in COMMANDS.items())


def _command(path: list[str], command: click.Command | None, summary: str = "") -> str:
    assert command is not None, path
    usage = " ".join([*path, *command.collect_usage_pieces(click.Context(command))])
    parts = [f"## {' '.join(path)}", f"```text\n{usage}\n```", inspect.cleandoc(command.help or summary)]
    rows = [_parameter(p) for p in command.params if not getattr(p, "hidden", False)]
    if rows:
        parts.append(_table(["option", "default", "meaning"], rows))
    if isinstance(command, click.Group):
        parts += [_command([*path, name], one) for name, one in sorted(command.commands.items())]
    return "\n\n".join(parts)


def _parameter(parameter: click.Parameter) -> list[str]:
    if isinstance(parameter, click.Argument):
        return [_code(parameter.human_readable_name.strip("[]")), "required" if parameter.required else "", ""]
    assert isinstance(parameter, click.Option)
    value = "" if parameter.is_flag else " " + (parameter.metavar or parameter.type.name.upper())
    names = ", ".join(_code(name) for name in parameter.opts + parameter.secondary_opts)
    shown = parameter.default if parameter.show_default and not parameter.is_flag else ""
    default = "required" if parameter.required else _code(shown)
    return [names + (f" {_code(value.strip())}" if value else ""), default, parameter.help or ""]


def _config() -> Iterator[str]:
    rows = [
        [_code(kind), _code(config.DEFAULT_USE.get(kind, "")) or "the filter's", f"which {kind}, and its options"]
        for kind in config.KINDS
    ]
    yield "## Backends\n\n" + _table(["section", "`use` unless said otherwise", "meaning"], rows)
    for model in _models_in(config.Settings):
        yield _model(model)


def _filter_yaml() -> Iterator[str]:
    for model in _models_in(spec.FilterSpec):
        yield _model(model)


def _contracts() -> Iterator[str]:
    yield _dataclass(contracts.Context)
    for kind in (contracts.Backend, contracts.Options, *contracts.KINDS.values()):
        yield from _class(kind)
        if kind is contracts.Oracle:
            yield _model(contracts.OracleOptions)
        if kind is contracts.Trainer:
            yield _dataclass(contracts.TrainJob)
        if kind is contracts.Model:
            yield from _class(contracts.Scorer)
    yield _function("run_shard", contracts.run_shard, 2)
    yield "## What goes in and out"
    for name in ("Article", "Label", "Split", "Prediction", "Verdicts"):
        yield _dataclass(getattr(records, name), 3)
    names = "OracleRequest Reply Usage Price TrainedStudent Deployment Pass Block Shard ShardResult"
    for name in names.split():
        yield _model(getattr(records, name), 3)


def _hooks() -> Iterator[str]:
    yield "## Hooks"
    for name, function in vars(hookspecs).items():
        if hasattr(function, f"{hookspecs.PROJECT}_spec"):
            yield _function(name, function, 3)
    yield "## What `register` takes"
    for protocol in (hookspecs.Register, hookspecs.RegisterPrice):
        yield f"### {protocol.__name__}\n\n```python no-run\nregister{_signature(protocol.__call__)}\n```\n\n{_doc(protocol)}"


def _api() -> Iterator[str]:
    yield "## filterkit"
    for name in filterkit.__all__:
        if name != "__version__":
            yield _function(f"filterkit.{name}", getattr(filterkit, name), 3)
    yield "### filterkit.__version__\n\nThe version, as text."
    yield "## What they give back"
    yield from _outline(student.Student)
    yield _dataclass(student.Verdict, 3)
    yield _dataclass(validate.Evaluation, 3)
    for model in (*_models_in(metrics.Metrics), *_models_in(calibrator.Calibrator)):
        yield _model(model, 3)
    yield "### Calibrator.apply\n\n" + _doc(calibrator.Calibrator.apply)
    yield "## filterkit.api"
    yield "What plugins import. Contracts and records stand in [contracts](contracts.md), exceptions in [errors](errors.md)."
    rows = []
    for name in api.__all__:
        thing = getattr(api, name)
        words = "" if name in ("F32", "API") else _doc(thing).split("\n\n")[0]
        rows.append([_code(name), {"F32": "`NDArray[np.float32]`", "API": "version of the contracts"}.get(name, words)])
    yield _table(["name", "what it is"], rows)
    yield "## filterkit.testing"
    testing = importlib.import_module("filterkit.testing")
    made = {"HOSTILE_TEXTS": "Texts that articles do hold, and that break what was only tried on nice ones."}
    yield _table(
        ["name", "what it is"],
        [[_code(n), made.get(n) or _doc(getattr(testing, n)).split("\n\n")[0]] for n in testing.__all__],
    )


def _outline(kind: type[Any]) -> Iterator[str]:
    yield f"### {kind.__name__}\n\n{_doc(kind)}"
    rows = [
        [_code(name + _signature(member)), _doc(member).split("\n\n")[0]]
        for name, member in vars(kind).items()
        if inspect.isfunction(member) and not name.startswith("_")
    ]
    yield _table(["method", "what it does"], rows)


def _errors() -> Iterator[str]:
    yield f"```text\n{_doc(errors)}\n```"
    rows = []
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, Exception):
            rows.append([_code(name), str(getattr(kind, "exit_code", 1)), _doc(kind).replace("\n", " ")])
    yield _table(["exception", "exit code", "when"], rows)


def _files() -> Iterator[str]:
    yield "## data.json\n\nBeside the splits that `filterkit prepare` wrote."
    yield _model(data.DataFile, 3)
    yield "## filterkit.json\n\nThe manifest of a student's folder."
    for model in _models_in(manifest.Manifest):
        if model.__module__ not in ("filterkit.spec", "filterkit.calibrator"):
            yield _model(model, 3)
    yield "## The run folder of `score`\n\n" + _doc(score).partition("\n\n")[2]
    for model in (*_models_in(score.Plan), shards.Counts):
        yield _model(model, 3)


def _backends() -> Iterator[str]:
    """The backends of this repository's own dists, whatever else is installed."""
    for entry in plugins().entries():
        if entry.dist not in own_dists():
            continue
        backend = plugins().load(entry.kind, entry.name)
        yield f"## {entry.kind} {entry.name}\n\n{entry.summary[:1].upper()}{entry.summary[1:]}. From `{entry.dist}`."
        yield _doc(backend)
        inner = _models_in(backend.Options)
        yield _fields(backend.Options) if backend.Options.model_fields else "It has no options."
        yield from (_model(model, 3) for model in inner[1:])


def own_dists() -> set[str]:
    """The dists whose source lies in this repository."""
    files = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    return {tomllib.loads(f.read_text(encoding="utf-8"))["project"]["name"] for f in files}


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
