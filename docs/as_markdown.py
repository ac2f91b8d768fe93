"""Python objects as Markdown: what docs/generate.py puts its pages together from."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import annotated_types
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

LINE = 120

ELSEWHERE: dict[str, str] = {}
"""Model -> the page that shows it, for those that the page at hand does not."""


def doc(thing: object) -> str:
    """A docstring; its lines of the form `name: words` become a list."""
    return re.sub(r"(?m)^([a-z_]+): ", r"- `\1`: ", inspect.cleandoc(getattr(thing, "__doc__", None) or ""))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


def shape(kind: Any) -> str:
    """A type in words that a person who writes YAML or JSON knows."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return shape(inner[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(shape(one) for one in inner if one is not type(None))
    if origin in (tuple, list) and (origin is list or Ellipsis in inner):
        return f"list of {shape(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(shape(one) for one in inner)}]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping of {shape(inner[0])} to {shape(inner[1])}"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "anything", dict: "mapping"}
    if kind in names:
        return names[kind]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{kind.__name__}]({ELSEWHERE.get(kind.__name__, '')}#{kind.__name__.lower()})"
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
            found.append(words.format(f"{getattr(one, attribute):,}"))
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
        return code(str(value).lower())
    return code(f"{value:g}" if isinstance(value, float) else value or '""' if isinstance(value, str) else value)


def show_fields(model: type[BaseModel]) -> str:
    """A table of a pydantic model's fields; the column of words only where any field has some."""
    described = any(f.description for f in model.model_fields.values())
    rows = []
    for name, field in model.model_fields.items():
        bounds = _bounds(field.metadata)
        null = " or null" if field.is_required() and type(None) in typing.get_args(field.annotation) else ""
        what = shape(field.annotation) + null + (f", {bounds}" if bounds else "")
        row = [code(field.alias or name), what, _default(field)]
        rows.append([*row, field.description or ""] if described else row)
    return table(["key", "what", "default", *(["meaning"] if described else [])], rows)


def show_model(model: type[BaseModel], level: int = 2) -> str:
    return f"{'#' * level} {model.__name__}\n\n{doc(model)}\n\n{show_fields(model)}"


def models_in(root: type[BaseModel]) -> list[type[BaseModel]]:
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


def show_dataclass(kind: type[Any], level: int = 2) -> str:
    rows = [[code(f.name), code(f.type)] for f in dataclasses.fields(kind)]
    return f"{'#' * level} {kind.__name__}\n\n{doc(kind)}\n\n{table(['field', 'type'], rows)}"


class _Raw:
    """Prints as the annotation was written."""

    def __init__(self, text: Any) -> None:
        self.text = text if isinstance(text, str) else getattr(text, "__name__", str(text))

    def __repr__(self) -> str:
        return self.text


class _Quoted:
    """Prints a default as the formatter writes it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return json.dumps(self.value) if isinstance(self.value, str) else repr(self.value)


def _parts(function: Any) -> tuple[list[str], str]:
    """The parameters of a function but `self`, and ` -> what it returns`, as the source has them."""
    found = inspect.signature(function)
    shown = []
    for parameter in found.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        annotation = parameter.empty if parameter.annotation is parameter.empty else _Raw(parameter.annotation)
        default = parameter.empty if parameter.default is parameter.empty else _Quoted(parameter.default)
        shown.append(str(parameter.replace(annotation=annotation, default=default)))
    returns = found.return_annotation
    return shown, "" if returns is found.empty else f" -> {_Raw(returns)!r}"


def signature(function: Any) -> str:
    """`(a: int, *, b: str = "c") -> float`"""
    parameters, returns = _parts(function)
    return f"({', '.join(parameters)}){returns}"


def stub(name: str, function: Any) -> str:
    """`def name(…) -> …: ...`, broken into lines as the formatter breaks it."""
    head = f"{'async ' if inspect.iscoroutinefunction(function) else ''}def {name}"
    parameters, returns = _parts(function)
    line = f"{head}({', '.join(parameters)}){returns}: ..."
    if len(line) <= LINE:
        return line
    inner = f"    {', '.join(parameters)}"
    if len(inner) > LINE:
        inner = "\n".join(f"    {one}," for one in parameters)
    return f"{head}(\n{inner}\n){returns}: ..."


def show_function(name: str, function: Any, level: int) -> str:
    return f"{'#' * level} {name}\n\n```python\n{stub(name.split('.')[-1], function)}\n```\n\n{doc(function)}"


def _attribute_docs(kind: type[Any]) -> dict[str, str]:
    """Words under a class attribute, as the source has them."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    found: dict[str, str] = {}
    assert isinstance(body, ast.ClassDef)
    for before, node in zip(body.body, body.body[1:], strict=False):
        words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(words, str):
            found[before.target.id] = inspect.cleandoc(words)
    return found


def show_class(kind: type[Any]) -> Iterator[str]:
    """A contract: its words, its attributes, its methods."""
    yield f"## {kind.__name__}\n\n{doc(kind)}"
    meanings = _attribute_docs(kind)
    attributes = [n for n in inspect.get_annotations(kind) if not n.startswith("_")]
    rows = []
    for name in attributes:
        value = kind.__dict__.get(name, PydanticUndefined)
        shown = "required" if value is PydanticUndefined else value.__name__ if isinstance(value, type) else repr(value)
        rows.append([code(name), code(shown), meanings.get(name, "")])
    if rows:
        yield table(["attribute", "unless you say otherwise", "meaning"], rows)
    for name, member in kind.__dict__.items():
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(member, property):
            must = " (you write it)" if getattr(member.fget, "__isabstractmethod__", False) else ""
            yield f"### {kind.__name__}.{name}\n\nA property{must}. {doc(member)}"
        elif inspect.isfunction(member) and not (name == "__init__" and not member.__doc__):
            must = "You write it. " if getattr(member, "__isabstractmethod__", False) else ""
            text = show_function(name, member, 3).replace(f"### {name}", f"### {kind.__name__}.{name}", 1)
            head, _, words = text.rpartition("```\n\n")
            yield f"{head}```\n\n{must}{words}"
