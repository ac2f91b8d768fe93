"""What every contract suite has in common: the fixtures, and the promises of all backends."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from filterkit.contracts import API, Backend, Context
from filterkit.records import Article
from filterkit.spec import FilterSpec
from filterkit.testing.samples import fake_context, sample_articles, tiny_spec

_SECRET_NAME = re.compile(  # but for the name of an environment variable
    r"^(?!.*_env$).*(secret|passw|credential|(api|access)_?key|(^|auth_|access_|bearer_|api_|hf_)token$)"
)
_NETWORK_EVENTS = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"}
_FILE_EVENTS = {"open"}

_watchers: list[tuple[set[str], list[str]]] = []
_hooked = threading.Lock()
_hook_added = False


@contextmanager
def watch(events: set[str]) -> Iterator[list[str]]:
    """The first argument of every audit event of these names, in this process, while the block runs.

    The interpreter itself raises them (PEP 578), so no library can go around it.
    """
    global _hook_added
    with _hooked:
        if not _hook_added:
            sys.addaudithook(_hear)
            _hook_added = True
    seen: list[str] = []
    watcher = (events, seen)
    _watchers.append(watcher)
    try:
        yield seen
    finally:
        _watchers.remove(watcher)


def _hear(event: str, args: tuple[Any, ...]) -> None:
    for events, seen in _watchers:
        if event in events:
            seen.append(f"{event} {args[1 if event.startswith('socket.connect') else 0]!r}" if args else event)


@contextmanager
def no_network(what: str) -> Iterator[None]:
    """Fails when the block reaches for the network, be it for a name or a connection."""
    with watch(_NETWORK_EVENTS) as seen:
        yield
    assert not seen, f"{what} must not use the network, but did: {seen[0]}"


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """The files that the block opens."""
    with watch(_FILE_EVENTS) as seen:
        yield seen


class BackendContract:
    """The promises of every backend. A suite per kind inherits it."""

    kind: ClassVar[type[Backend[Any]]] = Backend

    @pytest.fixture
    def backend(self) -> type[Backend[Any]]:
        """The class under test: the one fixture that you must supply."""
        raise NotImplementedError("supply the fixture `backend`: return the class to be tested")

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """The options the backend is made with; override where it needs any."""
        return {}

    @pytest.fixture
    def spec(self) -> FilterSpec:
        """The filter the backend is made for."""
        return tiny_spec()

    @pytest.fixture
    def articles(self) -> list[Article]:
        """Ordinary articles."""
        return sample_articles()

    @pytest.fixture
    def context(self, tmp_path: Path) -> Context:
        """The backend's way to the outside; its secrets are all `contract-suite-secret`."""
        workdir = tmp_path / "workdir"
        workdir.mkdir(exist_ok=True)
        return fake_context(workdir)

    @pytest.fixture
    def make(
        self, backend: type[Backend[Any]], options: dict[str, Any], spec: FilterSpec, context: Context
    ) -> Iterator[Callable[..., Any]]:
        """Makes backends, each closed after the test. Keywords replace `spec` or `ctx`."""
        made: list[Backend[Any]] = []

        def build(*, spec: FilterSpec = spec, ctx: Context = context) -> Backend[Any]:
            one = backend(backend.Options.model_validate(options), spec, ctx)
            made.append(one)
            return one

        yield build
        for one in made:
            one.close()

    def test_it_is_a_backend_of_this_kind(self, backend: type[Backend[Any]]) -> None:
        assert issubclass(backend, self.kind), f"derive it from filterkit.api.{self.kind.__name__}"

    def test_it_speaks_this_contract_version(self, backend: type[Backend[Any]]) -> None:
        assert backend.api == API, f"api is {backend.api}, the contract of this filterkit is {API}"

    def test_unknown_options_are_refused(self, backend: type[Backend[Any]], options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            backend.Options.model_validate({**options, "no_such_option": 1})

    def test_options_are_documented(self, backend: type[Backend[Any]]) -> None:
        bare = [name for name, field in backend.Options.model_fields.items() if not (field.description or "").strip()]
        assert not bare, f"give these options a Field(description=…): {bare}"

    def test_options_can_be_printed(self, backend: type[Backend[Any]], options: dict[str, Any]) -> None:
        json.dumps(backend.Options.model_json_schema())
        made = backend.Options.model_validate(options)
        again = backend.Options.model_validate(json.loads(made.model_dump_json()))
        assert again == made, "options must survive being written as JSON and read back"

    def test_options_hold_no_secrets(self, backend: type[Backend[Any]]) -> None:
        found = [name for name in backend.Options.model_fields if _SECRET_NAME.search(name)]
        assert not found, f"secrets come from ctx.secret(NAME), never from options: {found}"

    def test_the_constructor_stays_offline(self, make: Callable[..., Any]) -> None:
        with no_network("the constructor"):
            make()

    def test_close_can_be_called_twice(self, make: Callable[..., Any]) -> None:
        one = make()
        one.close()
        one.close()


def same_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` with its content, to compare before and after."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
