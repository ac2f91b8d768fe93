"""Everything that a user can name is named in the documentation, as code, on the page where one would look.

What there is is found anew here, and not through docs/generate.py: a hole in that would be a hole in this.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pages import DOCS, ROOT, all_pages, section, spoken_code
from pydantic import BaseModel

import filterkit
from filterkit import api, config, contracts, errors, hookspecs, testing
from filterkit.cli import main
from filterkit.cli.main import COMMANDS, cli
from filterkit.manifest import Manifest
from filterkit.pipeline.data import DataFile
from filterkit.pipeline.score import Plan
from filterkit.plugins import plugins
from filterkit.spec import FilterSpec

REFERENCE = DOCS / "reference"


def missing(names: Iterable[str], text: str) -> list[str]:
    """The names that do not stand in the code of `text` as whole words."""
    spoken = spoken_code(text)
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", spoken)]


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def keys(model: type[BaseModel]) -> Iterator[str]:
    """The keys of a model and of those in it."""
    seen: set[type[BaseModel]] = set()

    def visit(kind: Any) -> Iterator[str]:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in seen:
            seen.add(kind)
            for name, field in kind.model_fields.items():
                yield field.alias or name
                yield from visit(field.annotation)
        for inner in typing.get_args(kind):
            yield from visit(inner)

    return visit(model)


def members(kind: type[Any]) -> list[str]:
    """The public names of a class's own body, annotated attributes included."""
    return [name for name in {**kind.__dict__, **inspect.get_annotations(kind)} if not name.startswith("_")]


HOOKS = {name: f for name, f in vars(hookspecs).items() if hasattr(f, f"{hookspecs.PROJECT}_spec")}
CONTRACTS = [contracts.Backend, contracts.Scorer, *contracts.KINDS.values()]


def commands(group: click.Group, path: tuple[str, ...] = ("filterkit",)) -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name."""
    context = click.Context(group, info_name=path[-1])
    names = COMMANDS if group is cli else group.list_commands(context)
    for name in names:
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join([*path, name]), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_there_is_something_to_look_for() -> None:
    assert len(HOOKS) >= 15
    assert len(list(commands(cli))) > len(COMMANDS)
    assert {"schema", "weight", "max_tokens", "median_gain", "use"} <= set(keys(FilterSpec))
    assert {"store", "concurrency", "mae", "as_of"} <= set(keys(config.Settings))


@pytest.mark.parametrize("name", HOOKS)
def test_hooks(name: str) -> None:
    text = section(page("hooks.md"), name)
    assert text, f"hooks.md has no section {name}"
    assert not missing([name, *inspect.signature(HOOKS[name]).parameters], text)


@pytest.mark.parametrize("kind", CONTRACTS, ids=lambda k: k.__name__)
def test_contract_members(kind: type[Any]) -> None:
    text = page("contracts.md")
    here = "\n".join([section(text, kind.__name__), *re.findall(rf"^### {kind.__name__}\.(\w+)$", text, re.M)])
    spoken = spoken_code(here) + "\n" + "\n".join(re.findall(rf"^### {kind.__name__}\.(\w+)$", text, re.M))
    assert not missing(members(kind), f"```\n{spoken}\n```"), kind
    for name in members(kind):
        if inspect.isfunction(kind.__dict__.get(name)):
            parameters = [p for p in inspect.signature(kind.__dict__[name]).parameters if p != "self"]
            assert not missing(parameters, section(text, f"{kind.__name__}.{name}")), name


@pytest.mark.parametrize("kind", [contracts.Context, contracts.TrainJob], ids=lambda k: k.__name__)
def test_what_contracts_are_given(kind: type[Any]) -> None:
    assert not missing([f.name for f in dataclasses.fields(kind)], section(page("contracts.md"), kind.__name__))


def test_filter_yaml() -> None:
    assert not missing(keys(FilterSpec), page("filter-yaml.md"))


def test_filterkit_yaml() -> None:
    assert not missing([*config.KINDS, *keys(config.Settings)], page("config.md"))


def test_environment_variables() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "filterkit").rglob("*.py"))
    names = {name for name in re.findall(r"FILTERKIT_[A-Z]+(?:_[A-Z]+)*", source) if "__" not in name}
    assert "FILTERKIT_DISABLE_PLUGINS" in names
    assert not missing(names - {"FILTERKIT_ORACLE"}, page("config.md"))


@pytest.mark.parametrize("model", [Manifest, DataFile, Plan], ids=lambda m: m.__name__)
def test_files(model: type[BaseModel]) -> None:
    own = [k for k in keys(model) if k not in set(keys(FilterSpec))]
    assert not missing(own, page("files.md") + page("api.md"))


@pytest.mark.parametrize(("name", "command"), list(commands(cli)), ids=lambda v: v if isinstance(v, str) else "")
def test_commands_and_options(name: str, command: click.Command) -> None:
    text = section(page("cli.md"), name)
    assert text, f"cli.md has no section {name}"
    options = [o for p in command.params if isinstance(p, click.Option) and not p.hidden for o in p.opts]
    assert not missing([*options, *(o for o in ["-O"] if o in options)], text)


def test_exit_codes() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, errors.FilterkitError)]
    codes = {kind.exit_code for kind in kinds} | {0, 3, main.BUG, main.INTERRUPTED, main.PIPE_CLOSED}
    rows = re.findall(r"^\| (\d+) \|", page("cli.md"), re.M)
    assert {int(row) for row in rows} == codes


def test_exceptions() -> None:
    names = [n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)]
    assert not missing(names, page("errors.md"))


def test_what_is_exported() -> None:
    assert not missing(api.__all__, page("api.md"))
    assert not missing(testing.__all__, page("api.md"))
    headings = re.findall(r"^### filterkit\.(\w+)$", page("api.md"), re.M)
    assert set(headings) == set(filterkit.__all__)


def test_options_of_our_backends() -> None:
    text = page("backends.md")
    for entry in plugins().entries():
        if entry.dist in ("filterkit", "filterkit-lite", "filterkit-postfilter"):
            here = section(text, f"{entry.kind} {entry.name}")
            assert here, f"backends.md has no section {entry.kind} {entry.name}"
            backend = plugins().load(entry.kind, entry.name)
            assert not missing([f.alias or n for n, f in backend.Options.model_fields.items()], here)


def test_kinds_have_a_page_in_extend() -> None:
    assert not [kind for kind in contracts.KINDS if not (DOCS / "extend" / f"{kind}.md").is_file()]


MADE_UP = ["register_teapots", "brew_strength", "--with-milk"]


@pytest.mark.parametrize("name", MADE_UP)
def test_the_check_sees_what_is_not_named(name: str) -> None:
    everything = "\n".join(path.read_text(encoding="utf-8") for path in all_pages())
    assert missing([name, "store"], everything) == [name]


def test_the_check_wants_whole_words_in_code() -> None:
    text = "Prose may say brew_strength.\n\n`brew_strength_max` and `--with-milk-foam`\n"
    assert missing(MADE_UP[1:], text) == MADE_UP[1:]
    assert missing(MADE_UP[1:], text + "`brew_strength` and\n```sh\npour --with-milk\n```\n") == []


def test_a_section_ends_where_the_next_begins(tmp_path: Path) -> None:
    text = "## one\n\n`a`\n\n### inner\n\n`b`\n\n## two\n\n`c`\n"
    assert missing(["a", "b", "c"], section(text, "one")) == ["c"]
    assert section(text, "three") == ""
