"""Plugins: found through the entry-point group `filterkit`, registered one by one, imported only when asked for.

A plugin that fails costs one warning. A backend that a run asks for by name and cannot have is an error.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from filterkit import hookspecs
from filterkit.errors import PluginError, Veto

if TYPE_CHECKING:
    from filterkit.contracts import Backend
    from filterkit.records import Price

GROUP = "filterkit"
DISABLE = "FILTERKIT_DISABLE_PLUGINS"

_HOOK_OF_KIND = {
    "oracle": "register_oracles",
    "trainer": "register_trainers",
    "model": "register_models",
    "embedder": "register_embedders",
    "deployer": "register_deployers",
    "prefilter": "register_prefilters",
    "postfilter": "register_postfilters",
    "executor": "register_executors",
}

KNOWN_DISTS = {
    "gemini": "filterkit-gemini",
    "openai": "filterkit-openai",
    "anthropic": "filterkit-anthropic",
    "lite": "filterkit-lite",
    "static": "filterkit-lite",
    "qwen-lora": "filterkit-qwen-lora",
    "hf-sequence-classification": "filterkit-qwen-lora",
    "huggingface": "filterkit-hf",
    "huggingface-endpoint": "filterkit-hf",
    "huggingface-hub": "filterkit-hf",
    "tiers": "filterkit-postfilter",
    "rules": "filterkit-postfilter",
}
"""Backends of filterkit's own dists, so that asking for one that is not there says what to install."""

KNOWN_SCHEMES = {"http": "filterkit-hf", "https": "filterkit-hf", "hf": "filterkit-hf"}
"""Addresses that remote models of filterkit's own dists read."""


@dataclass(frozen=True)
class Entry:
    """One backend as registered: where its class lives and who says so."""

    kind: str
    name: str
    target: str
    summary: str
    dist: str
    version: str
    schemes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """One line of what is installed: a backend, or a plugin that is broken, switched off or registers none.

    `state` is ok, conflict, broken or off; `about` is the backend's summary, or what is wrong.
    """

    kind: str
    name: str
    dist: str
    version: str
    state: str
    about: str


@dataclass
class Plugin:
    """One entry point of the group `filterkit`; `problem` is set when it is broken or switched off."""

    name: str
    dist: str
    version: str
    state: str = "ok"  # ok, broken, off
    problem: str = ""
    entries: list[Entry] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"{self.dist} {self.version}"


class Plugins:
    """All plugins of this environment. Made once per process by `plugins()`."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.found: list[Plugin] = []
        self._prices: dict[str, dict[str, Any]] = {}
        off = switched_off()
        for entry_point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
            dist = entry_point.dist
            plugin = Plugin(entry_point.name, (dist and dist.name) or "unknown", (dist and dist.version) or "?")
            self.found.append(plugin)
            if off & {plugin.name, plain_name(plugin.dist)}:
                plugin.state, plugin.problem = "off", f"switched off by {DISABLE}"
                continue
            self._load(plugin, entry_point.load)
            if plugin.state == "broken":
                warnings.warn(f"plugin {plugin.name!r} of {plugin.where} is broken: {plugin.problem}", stacklevel=2)

    def add(self, module: ModuleType, dist: str = "this process", version: str = "0") -> None:
        """Register a plugin module by hand (tests, notebooks); PluginError when it is broken."""
        plugin = Plugin(module.__name__, dist, version)
        self._load(plugin, lambda: module)
        if plugin.state != "ok":
            raise PluginError(plugin.problem, where=plugin.where)
        self.found.append(plugin)

    def _load(self, plugin: Plugin, load: Callable[[], Any]) -> None:
        """Import and register one plugin. Whatever goes wrong in it becomes its state and its problem."""
        module = None
        try:
            module = load()
            self._manager.register(module, name=f"{plugin.dist}:{plugin.name}")
            self._manager.check_pending()
            plugin.entries = list(_call_register_hooks(module, plugin))
            self._prices |= _call_price_hook(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may even call sys.exit
            if module is not None and self._manager.is_registered(module):
                self._manager.unregister(module)
            plugin.entries = []
            plugin.state, plugin.problem = "broken", _explain(error)

    @property
    def prices(self) -> dict[str, Price]:
        """The list prices that plugins name, by model. Made when asked for: listing plugins must stay fast."""
        from filterkit.records import Price

        return {model: Price(**values) for model, values in self._prices.items()}

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Every registered backend, by kind and name."""
        found = [e for p in self.found for e in p.entries if kind in (None, e.kind)]
        return sorted(found, key=lambda e: (e.kind, e.name, e.dist))

    def names(self, kind: str) -> list[str]:
        """Names one may ask for."""
        return sorted({e.name for e in self.entries(kind)})

    def claims(self, kind: str, name: str) -> list[Entry]:
        """Who claims a name: one entry is right, two are a conflict."""
        return [e for p in self.found for e in p.entries if (e.kind, e.name) == (kind, name)]

    def listed(self) -> list[Listed]:
        """What `filterkit plugins` shows: every backend, and every plugin without one. Imports no backend."""
        lines: list[Listed] = []
        for plugin in self.found:
            if not plugin.entries:
                about = plugin.problem or "observes events or names prices"
                lines.append(Listed("plugin", plugin.name, plugin.dist, plugin.version, plugin.state, about))
            for entry in plugin.entries:
                others = [f"{e.dist} {e.version}" for e in self.claims(entry.kind, entry.name) if e is not entry]
                state = "conflict" if others else "ok"
                about = f"claimed by {' and '.join(others)} too" if others else entry.summary
                lines.append(Listed(entry.kind, entry.name, entry.dist, entry.version, state, about))
        return sorted(lines, key=lambda line: (*_HOOK_OF_KIND, "plugin").index(line.kind))

    def load(self, kind: str, name: str) -> type[Backend[Any]]:
        """The class of a backend. PluginError: unknown, claimed twice, not importable, not of this kind or contract."""
        return _import_backend(self.entry(kind, name))

    def entry(self, kind: str, name: str) -> Entry:
        """The one backend of a name. PluginError: unknown, or claimed twice."""
        claims = self.claims(kind, name)
        if not claims:
            raise self.unknown(kind, name, self.names(kind))
        if len(claims) > 1:
            both = " and ".join(f"{e.dist} {e.version}" for e in claims)
            raise PluginError(
                f"{kind} {name!r} is claimed by {both}", fix=f"Uninstall one, or switch it off with {DISABLE}=NAME"
            )
        return claims[0]

    def reader_of(self, address: str) -> str:
        """The model that scores at an address (https://…, hf://…). PluginError: none, or two claim its scheme."""
        scheme = address.partition("://")[0].lower()
        names = [e.name for e in self.entries("model") if scheme in e.schemes]
        if len(set(names)) > 1:
            raise PluginError(f"{scheme}:// is read by {' and '.join(names)}", fix="Say which: -O remote.use=NAME")
        if not names:
            known = KNOWN_SCHEMES.get(scheme)
            raise PluginError(
                f"no model reads addresses that begin with {scheme}://",
                where=address,
                fix=f"Install it: pip install {known}" if known else "An address is https://… or hf://owner/name",
            )
        return names[0]

    def unknown(self, kind: str, name: str, names: Sequence[str]) -> PluginError:
        """The error that says what to do about a name that is not among `names`."""
        problem = f"there is no {kind} {name!r}"
        for plugin in self.found:
            claims_it = KNOWN_DISTS.get(name) == plugin.dist or name == plugin.name
            if plugin.state != "ok" and claims_it:
                return PluginError(f"{problem}: {plugin.where} is {plugin.state} ({plugin.problem})")
        if name in KNOWN_DISTS:
            dist = KNOWN_DISTS[name]
            older = next((p.where for p in self.found if p.dist == dist), None)
            if older:
                return PluginError(f"{problem} in {older}", fix=f"A newer one may have it: pip install -U {dist}")
            return PluginError(problem, fix=f"Install it: pip install {dist}")
        near = get_close_matches(name, [*names, *KNOWN_DISTS], 1)
        guess = f"Did you mean {near[0]!r}? " if near else ""
        return PluginError(problem, fix=f"{guess}Installed: {', '.join(names) or 'none'}")

    def observe(self, event: str, **values: Any) -> None:
        """Tell observers of an event. An observer's error is one warning, never ours."""
        for implementation in getattr(self._manager.hook, event).get_hookimpls():
            try:
                implementation.function(**{name: values[name] for name in implementation.argnames})
            except Exception as error:
                warnings.warn(f"{event} in plugin {implementation.plugin_name}: {_explain(error)}", stacklevel=2)

    def ask(self, event: str, **values: Any) -> None:
        """Call a `before_*` event; a Veto goes through, with the plugin's name, anything else is a PluginError."""
        for implementation in getattr(self._manager.hook, event).get_hookimpls():
            try:
                implementation.function(**{name: values[name] for name in implementation.argnames})
            except Veto as veto:
                raise Veto(f"{implementation.plugin_name}: {veto}") from veto
            except Exception as error:
                raise PluginError(
                    f"{event} failed: {_explain(error)}", where=f"plugin {implementation.plugin_name}"
                ) from error


def _call_register_hooks(module: ModuleType, plugin: Plugin) -> Iterator[Entry]:
    """Call one plugin's own register hooks, so that each entry is known to be its."""
    for kind, hook in _HOOK_OF_KIND.items():
        implementation = _implementation(module, hook)
        if implementation is None:
            continue
        entries: list[Entry] = []

        def register(
            name: str,
            target: str,
            *,
            summary: str = "",
            schemes: Sequence[str] = (),
            kind: str = kind,
            entries: list[Entry] = entries,
        ) -> None:
            if not name or target.count(":") != 1:
                raise ValueError(f"register({name!r}, {target!r}): the target must be 'package.module:Class'")
            entries.append(Entry(kind, name, target, summary, plugin.dist, plugin.version, tuple(schemes)))

        implementation(register)
        yield from entries


def _call_price_hook(module: ModuleType) -> dict[str, dict[str, Any]]:
    prices: dict[str, dict[str, Any]] = {}
    implementation = _implementation(module, "register_prices")

    def register(
        model: str,
        *,
        input: float,
        output: float,
        cached_input: float | None = None,
        as_of: str,
        source: str,
        until: str | None = None,
    ) -> None:
        for what, price in (("input", input), ("output", output), ("cached_input", cached_input or 0)):
            if not 0 <= price < math.inf:
                raise ValueError(f"the price of {model}: {what} is {price}")
        prices[model] = {
            "input": input,
            "output": output,
            "cached_input": cached_input,
            "as_of": as_of,
            "source": source,
            "until": until,
        }

    if implementation is not None:
        implementation(register)
    return prices


def _implementation(module: ModuleType, hook: str) -> Callable[..., Any] | None:
    """A module's own implementation of a hook, if it is marked as one."""
    function = getattr(module, hook, None)
    return function if hasattr(function, f"{hookspecs.PROJECT}_impl") else None


def _import_backend(entry: Entry) -> type[Backend[Any]]:
    from filterkit.contracts import API, KINDS

    where = f"{entry.kind} {entry.name!r} of {entry.dist} {entry.version}"
    module_name, _, attribute = entry.target.partition(":")
    try:
        loaded = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise PluginError(f"cannot be imported from {entry.target}: {_explain(error)}", where=where) from error
    if not (isinstance(loaded, type) and issubclass(loaded, KINDS[entry.kind])):
        raise PluginError(f"{entry.target} is no {KINDS[entry.kind].__name__}", where=where)
    if loaded.api != API:
        raise PluginError(
            f"was written for contract {loaded.api}, this filterkit speaks contract {API}",
            where=where,
            fix=f"Upgrade {entry.dist if loaded.api < API else 'filterkit'}",
        )
    return loaded


def _explain(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, pluggy.PluginValidationError):
        for word in text.replace("'", " ").split():
            near = get_close_matches(word, [n for n in dir(hookspecs) if not n.startswith("_")], 1, 0.8)
            if near and near[0] != word:
                return f"unknown hook {word!r}; did you mean {near[0]!r}?"
    return f"{type(error).__name__}: {text}"[:300]


def switched_off() -> set[str]:
    """The plugins and dists that FILTERKIT_DISABLE_PLUGINS names, the latter as `plain_name` writes them."""
    named = [name.strip() for name in os.environ.get(DISABLE, "").split(",") if name.strip()]
    return {*named, *map(plain_name, named)}


def plain_name(dist: str) -> str:
    """A dist's name in the one spelling that package indexes compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", dist).lower()


_plugins: Plugins | None = None


def plugins() -> Plugins:
    """The plugins of this process, loaded at the first call."""
    global _plugins
    if _plugins is None:
        _plugins = Plugins()
    return _plugins


def target_of(kind: str, name: str) -> str:
    """Where the class of a backend lives, as "package.module:Class". PluginError: unknown, or claimed twice."""
    return plugins().entry(kind, name).target
