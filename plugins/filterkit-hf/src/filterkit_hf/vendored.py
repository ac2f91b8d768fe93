"""What is uploaded beside a student so that it answers where no filterkit is installed.

handler.py        what Inference Endpoints start
requirements.txt  the dists that it needs
runtime/          exact copies of the modules that it runs, their licences, and filter.json, whose policy it applies;
                  only filterkit/__init__.py and filterkit/api.py are written anew, without what needs plugins
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import filterkit
from filterkit import api
from filterkit.api import ConfigError, FilterSpec, Manifest, target_of
from filterkit_hf import handler, serving
from filterkit_hf.closure import Closure, find_closure, locate
from filterkit_hf.requirements import requirements

_NOT_COPIED = ("filterkit", "filterkit.api")
_READS_DATA = re.compile(rb"\b__file__\b|importlib[. ]+(import +)?resources|\bpkgutil\b")
"""How a module gets at files that lie beside it."""
_NO_DATA = {".py", ".pyi", ".pyc", ".typed", ".so", ".pyd", ".dll", ".dylib"}
_MOST_DATA = 50 * 2**20


def endpoint_files(student: Path, manifest: Manifest, spec: FilterSpec | None = None) -> dict[str, bytes]:
    """Relative path -> content of all that is added to the student in the folder `student`; equal for equal inputs.

    spec: the filter whose policy is applied, where that is newer than the one in the manifest. PluginError: a backend
    is not installed; ConfigError names what cannot be shipped.
    """
    applied = spec or manifest.spec
    targets = {
        "MODEL": target_of("model", manifest.format),
        "POSTFILTER": target_of("postfilter", applied.postfilter.use),
        "PREFILTER": target_of("prefilter", applied.prefilter.use) if applied.prefilter else "",
    }
    roots = [serving.__name__, *(target.partition(":")[0] for target in targets.values() if target)]
    closure = _closure(roots)
    files = {_place(module, path): path.read_bytes() for module, path in closure.modules.items()}
    files |= _data(closure)
    files |= _licences(module.partition(".")[0] for module in closure.modules)
    files["filterkit/__init__.py"] = _package().encode()
    files["filterkit/api.py"] = _api(closure.names["filterkit.api"]).encode()
    runtime = {f"runtime/{name}": content for name, content in files.items()}
    policy = json.dumps(applied.to_dict(), indent=1, sort_keys=True, allow_nan=False) + "\n"
    added = {
        "handler.py": _handler(targets).encode(),
        "requirements.txt": requirements(closure.outside, student),
        serving.FILTER: policy.encode(),
    }
    return dict(sorted((runtime | added).items()))


def _closure(roots: Iterable[str]) -> Closure:
    """The modules behind `roots`, and those behind the names of filterkit.api that these import."""
    ours = {"filterkit", *(root.partition(".")[0] for root in roots), *_plugin_packages()}
    wanted = set(roots)
    while True:
        found = find_closure(wanted, ours.__contains__, _NOT_COPIED)
        homes = {_home(name) for name in found.names["filterkit.api"]}
        if homes <= found.modules.keys():
            break
        wanted |= homes
    unknown = sorted(found.names["filterkit"] - {"__version__"})
    if unknown:
        raise ConfigError(
            f"cannot be shipped: a plugin imports {unknown[0]} from filterkit itself",
            fix="Plugins import from filterkit.api",
        )
    return found


def _plugin_packages() -> set[str]:
    """Top-level packages of everything that joins filterkit as a plugin: no index needs to have them."""
    return {e.value.partition(":")[0].partition(".")[0] for e in importlib.metadata.entry_points(group="filterkit")}


def _home(name: str) -> str:
    """The module that a name of filterkit.api comes from."""
    for home, names in api._HOMES.items():
        if name in names.split():
            return home
    if name == "hookimpl":
        return "filterkit.hookspecs"
    raise ConfigError(f"cannot be shipped: a plugin imports {name} from filterkit.api, which has no such name")


def _place(module: str, path: Path) -> str:
    """Where a module's copy lies in runtime/."""
    base = module.replace(".", "/")
    return f"{base}/__init__.py" if path.name == "__init__.py" else f"{base}.py"


def _data(closure: Closure) -> dict[str, bytes]:
    """The data files of plugin packages in which a copied module looks for files beside itself."""
    found: dict[str, bytes] = {}
    for top in sorted({module.partition(".")[0] for module in closure.modules} - {"filterkit", "filterkit_hf"}):
        own = [path for module, path in closure.modules.items() if module.partition(".")[0] == top]
        package = locate(top)
        if package is None or package.name != "__init__.py" or not any(_READS_DATA.search(p.read_bytes()) for p in own):
            continue
        for path in sorted(package.parent.rglob("*")):
            if path.is_file() and path.suffix not in _NO_DATA:
                found[f"{top}/{path.relative_to(package.parent).as_posix()}"] = path.read_bytes()
        size = sum(map(len, found.values()))
        if size > _MOST_DATA:
            raise ConfigError(
                f"cannot be shipped: the data files of {top} and others have {size:,} bytes, more than {_MOST_DATA:,}",
                fix="Let the trainer write what the model needs into the student's folder",
            )
    return found


def _licences(packages: Iterable[str]) -> dict[str, bytes]:
    """The licences under which the copied packages may be passed on, as their dists carry them."""
    points = importlib.metadata.entry_points(group="filterkit")
    owners = {e.value.partition(":")[0].partition(".")[0]: e.dist for e in points if e.dist is not None}
    found: dict[str, bytes] = {}
    for package in set(packages):
        dist = owners.get(package)
        for file in (dist.files or []) if dist is not None else []:
            path = Path(str(file.locate()))
            if ".dist-info/licenses/" in file.as_posix() and path.is_file():
                found[f"licenses/{package}/{path.name}"] = path.read_bytes()
    return found


def _package() -> str:
    return f'"""The parts of filterkit that a shipped student needs."""\n\n__version__ = "{filterkit.__version__}"\n'


def _api(names: Iterable[str]) -> str:
    """filterkit.api with no more than `names`, each from its home."""
    lines = [f"from {_home(name)} import {name} as {name}" for name in sorted(names)]
    return "\n".join(['"""What plugins import, without what needs plugins."""', "", *sorted(lines), ""])


def _handler(targets: Mapping[str, str]) -> str:
    """The source of filterkit_hf.handler with its constants filled in."""
    text = Path(handler.__file__).read_text(encoding="utf-8")
    for name, target in targets.items():
        line = f'{name} = ""\n'
        if text.count(line) != 1:
            raise RuntimeError(f"handler.py must have the line {line!r} once")
        text = text.replace(line, f'{name} = "{target}"\n')
    return text
