"""The modules that some modules need: found by reading their import statements, without running any of them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from filterkit.api import ConfigError

_LEAVES_OPEN = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
"""Exceptions that, caught around an import, mean that the code can do without."""


@dataclass(frozen=True, order=True)
class Import:
    """One import: the module, and for `from module import name` the name too. optional: its failure is caught."""

    module: str
    name: str = ""
    optional: bool = False


@dataclass
class Closure:
    """modules: name -> file of every module to be copied; outside: imports of other dists, standard library left out;
    names: what the copied modules take from the modules that are not followed."""

    modules: dict[str, Path] = field(default_factory=dict)
    outside: set[Import] = field(default_factory=set)
    names: dict[str, set[str]] = field(default_factory=dict)


def find_closure(roots: Iterable[str], inside: Callable[[str], bool], not_followed: Iterable[str] = ()) -> Closure:
    """All modules that importing `roots` may import, of the top-level packages for which `inside` is true.

    What is imported from the modules `not_followed` is only noted. ConfigError names what cannot be copied: a module
    that is compiled, or not there.
    """
    found = Closure(names={name: set() for name in not_followed})
    open_ones = sorted(set(roots))
    while open_ones:
        module = open_ones.pop()
        if module in found.modules or module in found.names:
            continue
        parent = module.rpartition(".")[0]
        if parent:
            open_ones.append(parent)
        path = locate(module)
        if path is None:
            raise ConfigError(f"cannot be shipped: there is no source of the module {module}", where=module)
        if not path.is_file():
            continue  # a folder without __init__.py
        found.modules[module] = path
        for one in imports_of(path, module):
            open_ones += _follow(one, inside, found, importer=module)
    return found


def _follow(one: Import, inside: Callable[[str], bool], found: Closure, importer: str) -> Iterator[str]:
    """The modules of our own that an import asks for; anything else is noted in `found`."""
    top = one.module.partition(".")[0]
    if top in sys.stdlib_module_names or one.module == "__future__":
        return
    if not inside(top):
        found.outside.add(one)
        return
    if one.module in found.names:
        submodule = f"{one.module}.{one.name}"
        if submodule in found.names or one.name in ("", "*"):
            raise ConfigError(
                f"cannot be shipped: it imports {' or '.join(found.names)} as a whole",
                where=importer,
                fix="Import by name: from filterkit.api import …",
            )
        if locate(submodule) is not None:
            yield submodule
        else:
            found.names[one.module].add(one.name)
        return
    if one.optional and locate(one.module) is None:
        return
    yield one.module
    if one.name not in ("", "*") and locate(f"{one.module}.{one.name}") is not None:
        yield f"{one.module}.{one.name}"


def locate(module: str) -> Path | None:
    """The source file of a module, or the folder of a package without one; None: there is no such module.

    ConfigError: it is compiled. Nothing of the module or its packages is run.
    """
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest:
        return _source(spec.origin, spec.submodule_search_locations, module)
    folders = [Path(p) for p in spec.submodule_search_locations or ()]
    for at, part in enumerate(rest):
        here = [folder / part for folder in folders]
        last = at == len(rest) - 1
        if last:
            for place in here:
                found = _module_at(place, module)
                if found is not None:
                    return found
            return None
        folders = [place for place in here if place.is_dir()]
    return None


def _source(origin: str | None, folders: Iterable[str] | None, module: str) -> Path | None:
    if origin is None or origin in ("namespace", "built-in", "frozen"):
        return next((Path(p) for p in folders or ()), None)
    _refuse_compiled(Path(origin), module)
    return Path(origin)


def _module_at(place: Path, module: str) -> Path | None:
    """What is at `place` (a path without suffix): a package's __init__.py, a module's file, a bare folder."""
    for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if file.is_file():
            return file
    for suffix in EXTENSION_SUFFIXES:
        for file in (place / f"__init__{suffix}", place.with_name(place.name + suffix)):
            if file.is_file():
                _refuse_compiled(file, module)
    return place if place.is_dir() and place.name.isidentifier() and place.name != "__pycache__" else None


def _refuse_compiled(file: Path, module: str) -> None:
    if file.suffix != ".py":
        raise ConfigError(
            f"cannot be shipped: {file.name} is compiled, and an endpoint gets Python sources only", where=module
        )


def imports_of(path: Path, module: str) -> list[Import]:
    """The imports in a module's source, those inside of functions too, but for `if TYPE_CHECKING:`; absolute."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"cannot be shipped: it is not valid Python ({error})", where=path) from error
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return sorted(set(_imports(tree, package, False)))


def _imports(node: ast.AST, package: str, optional: bool) -> Iterator[Import]:
    if isinstance(node, ast.If) and _is_type_checking(node.test):
        yield from _imports_of_all(node.orelse, package, optional)
        return
    if isinstance(node, ast.Try):
        caught = optional or any(_catches_import_error(h) for h in node.handlers)
        yield from _imports_of_all(node.body, package, caught)
        yield from _imports_of_all((*node.handlers, *node.orelse, *node.finalbody), package, optional)
        return
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, "", optional) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, package)
        yield from (Import(base, alias.name, optional) for alias in node.names)
    yield from _imports_of_all(ast.iter_child_nodes(node), package, optional)


def _imports_of_all(nodes: Iterable[ast.AST], package: str, optional: bool) -> Iterator[Import]:
    for node in nodes:
        yield from _imports(node, package, optional)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return str(node.module)
    parts = package.split(".")[: len(package.split(".")) - (node.level - 1)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(one, ast.Name) and one.id in _LEAVES_OPEN for one in caught)
