"""Plugins join lazily, one by one; what is wrong with one of them is told and stays its own affair."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

import pytest

from filterkit.api import hookimpl
from filterkit.contracts import API, KINDS
from filterkit.errors import PluginError, Veto
from filterkit.plugins import KNOWN_DISTS, Plugins

HEAD = "from filterkit.api import hookimpl\n"
BACKENDS = {
    "oracle": "filterkit.testing.toys:ToyOracle",
    "trainer": "filterkit.testing.toys:ToyTrainer",
    "model": "filterkit.testing.toys:ToyModel",
    "embedder": "filterkit.testing.toys:ToyEmbedder",
    "deployer": "filterkit.builtin.local:LocalDeployer",
    "prefilter": "filterkit.testing.toys:ToyPrefilter",
    "postfilter": "filterkit.builtin.overall:OverallPostfilter",
    "executor": "filterkit.builtin.executor:LocalExecutor",
}


def registers(kind: str, name: str, target: str) -> str:
    """The source of a plugin that registers one backend."""
    return f"{HEAD}@hookimpl\ndef register_{kind}s(register):\n    register({name!r}, {target!r}, summary='a test')\n"


def load_quietly() -> Plugins:
    """All plugins; a warning fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Plugins()


def test_the_built_ins_join_by_the_same_route() -> None:
    found = {(e.kind, e.name): e.dist for e in load_quietly().entries()}
    for key in (("oracle", "replay"), ("deployer", "local"), ("executor", "local"), ("postfilter", "overall")):
        assert found[key] == "filterkit"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_registered_and_loaded(local_site: Any, kind: str) -> None:
    local_site.add("acme-kit", "2.1", plugin=registers(kind, "acme", BACKENDS[kind]))
    plugins = load_quietly()
    (entry,) = plugins.claims(kind, "acme")
    assert (entry.dist, entry.version, entry.summary) == ("acme-kit", "2.1", "a test")
    assert issubclass(plugins.load(kind, "acme"), KINDS[kind])
    assert "acme" in plugins.names(kind)


def test_a_backend_is_imported_only_when_it_is_asked_for(local_site: Any) -> None:
    backend = "from filterkit.testing.toys import ToyOracle\nclass Mine(ToyOracle): pass\n"
    source = registers("oracle", "mine", "acme_lazy.heavy:Mine")
    local_site.add("acme-lazy", plugin=source, files={"acme_lazy/heavy.py": backend})
    plugins = load_quietly()
    assert plugins.listed()
    assert "acme_lazy.heavy" not in sys.modules
    assert plugins.load("oracle", "mine").__name__ == "Mine"


BROKEN = {
    "import error": ("import no_such_sdk", "no_such_sdk"),
    "exit at import": ("import sys; sys.exit(3)", "SystemExit"),
    "error at import": ("raise RuntimeError('no licence')", "no licence"),
    "syntax error": ("def (", "SyntaxError"),
    "misspelt hook": (
        f"{HEAD}@hookimpl\ndef register_oracels(register): pass",
        "unknown hook 'register_oracels'; did you mean 'register_oracles'?",
    ),
    "unknown argument": (f"{HEAD}@hookimpl\ndef deployed(filter_name, colour): pass", "colour"),
    "error in a hook": (f"{HEAD}@hookimpl\ndef register_models(register): 1 / 0", "division by zero"),
    "target without a class": (registers("oracle", "bad", "acme_broken"), "package.module:Class"),
    "no name": (registers("oracle", "", "a.b:C"), "package.module:Class"),
    "undated price": (
        f"{HEAD}@hookimpl\ndef register_prices(register): register('m', input=1, output=2)",
        "as_of",
    ),
    "no price": (
        f"{HEAD}@hookimpl\ndef register_prices(register):\n"
        "    register('m', input=float('nan'), output=2, as_of='2026-01-01', source='x')",
        "the price of m: input is nan",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_one_warning_and_nothing_else(local_site: Any, case: str) -> None:
    source, expected = BROKEN[case]
    local_site.add("acme-broken", "0.3", plugin=source)
    local_site.add("acme-sound", plugin=registers("oracle", "sound", BACKENDS["oracle"]))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        plugins = Plugins()
    assert len(heard) == 1
    assert "acme-broken 0.3" in str(heard[0].message)
    assert expected in str(heard[0].message)
    assert "\n" not in str(heard[0].message)
    (line,) = [x for x in plugins.listed() if x.dist == "acme-broken"]
    assert line.state == "broken"
    assert expected in line.about
    assert plugins.load("oracle", "sound")
    assert plugins.load("oracle", "replay")
    plugins.observe("run_finished", command="x", filter_name="y", summary={})


def test_a_broken_plugin_leaves_nothing_behind(local_site: Any) -> None:
    local_site.add(
        "acme-broken",
        plugin=f"""{HEAD}
@hookimpl
def register_oracles(register): register("half", "a.b:C")
@hookimpl
def run_finished(command): raise AssertionError("called though broken")
@hookimpl
def register_prices(register):
    register("half", input=1, output=1, as_of="2026-01-01", source="x")
    register("other")
""",
    )
    with pytest.warns(UserWarning, match="acme-broken"):
        plugins = Plugins()
    assert not plugins.claims("oracle", "half")
    assert not {"half", "other"} & set(plugins.prices)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plugins.observe("run_finished", command="x", filter_name="y", summary={})


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("acme_gone.oracle:Gone", "cannot be imported from acme_gone.oracle:Gone: ModuleNotFoundError"),
        ("filterkit.testing.toys:NoSuchClass", "NoSuchClass"),
        ("filterkit.testing.toys:ToyModel", "is no Oracle"),
        ("filterkit.testing.toys:make_student", "is no Oracle"),
    ],
)
def test_a_backend_that_cannot_be_had_says_whose_it_is(local_site: Any, target: str, expected: str) -> None:
    local_site.add("acme-kit", "4.2", plugin=registers("oracle", "acme", target))
    plugins = load_quietly()
    with pytest.raises(PluginError) as caught:
        plugins.load("oracle", "acme")
    assert "oracle 'acme' of acme-kit 4.2" in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(("api", "upgrade"), [(API - 1, "acme-kit"), (API + 1, "filterkit")])
def test_another_contract_version_is_one_line_that_names_both(local_site: Any, api: int, upgrade: str) -> None:
    backend = f"from filterkit.testing.toys import ToyOracle\nclass Mine(ToyOracle):\n    api = {api}\n"
    local_site.add(
        "acme-kit",
        "4.2",
        plugin=registers("oracle", "acme", "acme_kit.oracle:Mine"),
        files={"acme_kit/oracle.py": backend},
    )
    with pytest.raises(PluginError) as caught:
        load_quietly().load("oracle", "acme")
    text = str(caught.value)
    assert f"contract {api}" in text
    assert f"contract {API}" in text
    assert text.endswith(f"Upgrade {upgrade}")
    assert "\n" not in text


def test_a_name_that_two_dists_claim_is_an_error_that_names_both(local_site: Any) -> None:
    for dist, version in (("acme-one", "1.1"), ("acme-two", "2.2")):
        local_site.add(dist, version, plugin=registers("oracle", "acme", BACKENDS["oracle"]))
    plugins = load_quietly()
    with pytest.raises(PluginError, match=r"claimed by acme-one 1\.1 and acme-two 2\.2"):
        plugins.load("oracle", "acme")
    states = {x.dist: (x.state, x.about) for x in plugins.listed() if x.name == "acme"}
    assert states["acme-one"] == ("conflict", "claimed by acme-two 2.2 too")
    assert states["acme-two"] == ("conflict", "claimed by acme-one 1.1 too")


def test_one_name_in_two_kinds_is_no_conflict(local_site: Any) -> None:
    local_site.add("acme-kit", plugin=registers("trainer", "local", BACKENDS["trainer"]))
    plugins = load_quietly()
    assert plugins.load("trainer", "local")
    assert {x.state for x in plugins.listed() if x.name == "local"} == {"ok"}


@pytest.mark.parametrize("named", ["acme-kit", "acme_kit", "Acme.Kit", "other, acme-kit ,"])
def test_a_plugin_can_be_switched_off(local_site: Any, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("FILTERKIT_DISABLE_PLUGINS", named)
    module = local_site.add("acme-kit", plugin=registers("oracle", "acme", BACKENDS["oracle"]))
    plugins = load_quietly()
    assert f"{module}.plugin" not in sys.modules
    (line,) = [x for x in plugins.listed() if x.dist == "acme-kit"]
    assert line.state == "off"
    with pytest.raises(PluginError, match="there is no oracle 'acme'"):
        plugins.load("oracle", "acme")


def test_a_dist_can_be_switched_off_by_any_spelling_of_its_name(
    local_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILTERKIT_DISABLE_PLUGINS", "acme-odd-name")
    source = registers("oracle", "acme", BACKENDS["oracle"])
    local_site.add("Acme_Odd.name", entry_points={"filterkit": {"p": "acme_odd"}}, files={"acme_odd.py": source})
    assert not load_quietly().claims("oracle", "acme")


def test_switching_one_off_ends_a_conflict(local_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for dist in ("acme-one", "acme-two"):
        local_site.add(dist, plugin=registers("oracle", "acme", BACKENDS["oracle"]))
    monkeypatch.setenv("FILTERKIT_DISABLE_PLUGINS", "acme-two")
    assert load_quietly().load("oracle", "acme")


def test_an_unknown_name_gets_a_guess_and_the_list() -> None:
    with pytest.raises(PluginError) as caught:
        Plugins().load("oracle", "repaly")
    assert "there is no oracle 'repaly'. Did you mean 'replay'? Installed: " in str(caught.value)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dist of ours that is certainly not installed."""
    monkeypatch.setitem(KNOWN_DISTS, "acme", "filterkit-acme")


def test_an_address_is_read_by_the_model_that_says_so(local_site: Any) -> None:
    source = registers("model", "acme", BACKENDS["model"]).replace("summary='a test'", "schemes=('acme', 'acmes')")
    local_site.add("acme-kit", plugin=source)
    assert load_quietly().reader_of("ACMES://there") == "acme"
    local_site.add("other-kit", plugin=source.replace("'acme', 'filter", "'other', 'filter"))
    with pytest.raises(PluginError, match=r"acme and other.*remote\.use"):
        load_quietly().reader_of("acme://there")


@pytest.mark.usefixtures("known")
def test_a_known_backend_that_is_not_there_says_what_to_install() -> None:
    with pytest.raises(PluginError, match="pip install filterkit-acme"):
        Plugins().load("oracle", "acme")


@pytest.mark.usefixtures("known")
def test_asking_for_a_broken_plugins_backend_says_that_it_is_broken(local_site: Any) -> None:
    local_site.add("filterkit-acme", "9.9", plugin="import no_such_sdk")
    with pytest.warns(UserWarning, match="broken"):
        plugins = Plugins()
    with pytest.raises(PluginError, match=r"filterkit-acme 9\.9 is broken .*no_such_sdk"):
        plugins.load("oracle", "acme")


def test_metadata_without_a_name_does_not_stop_anything(local_site: Any) -> None:
    module = local_site.add("acme-kit", plugin=registers("oracle", "acme", BACKENDS["oracle"]))
    (local_site.path / f"{module}-1.0.dist-info" / "METADATA").unlink()
    assert load_quietly().load("oracle", "acme")


def test_prices_are_registered_with_their_date(local_site: Any) -> None:
    call = "register('big-1', input=1.0, output=4.0, cached_input=0.1, as_of='2026-10-01', source='price list')"
    local_site.add("acme-kit", plugin=f"{HEAD}@hookimpl\ndef register_prices(register): {call}\n")
    plugins = load_quietly()
    price = plugins.prices["big-1"]
    assert (price.input, price.output, price.cached_input, price.as_of) == (1.0, 4.0, 0.1, "2026-10-01")
    assert [x.kind for x in plugins.listed() if x.dist == "acme-kit"] == ["plugin"]


def observer(name: str, **functions: Any) -> ModuleType:
    """A plugin module made here."""
    module = ModuleType(name)
    for hook, function in functions.items():
        setattr(module, hook, hookimpl(function))
    return module


def test_an_observer_gets_the_arguments_that_it_names() -> None:
    heard: list[Any] = []

    def labels_committed(count: int) -> None:
        heard.append(count)

    def run_finished() -> None:
        heard.append("finished")

    plugins = load_quietly()
    plugins.add(observer("listener", labels_committed=labels_committed, run_finished=run_finished))
    plugins.observe("labels_committed", filter_name="f", oracle="o", count=7)
    plugins.observe("run_finished", command="label", filter_name="f", summary={})
    assert heard == [7, "finished"]


def test_an_observers_error_is_one_warning_and_the_others_still_hear() -> None:
    heard: list[str] = []

    def fails(filter_name: str) -> None:
        raise RuntimeError("the dashboard is down")

    def hears(filter_name: str) -> None:
        heard.append(filter_name)

    plugins = load_quietly()
    plugins.add(observer("first", deployed=hears))
    plugins.add(observer("second", deployed=fails))
    plugins.add(observer("third", deployed=hears))
    with pytest.warns(UserWarning, match="the dashboard is down") as warned:
        plugins.observe("deployed", filter_name="f", deployment=None)
    assert len(warned) == 1
    assert "second" in str(warned[0].message)
    assert heard == ["f", "f"]


def test_an_observer_may_not_veto() -> None:
    def deployed(filter_name: str) -> None:
        raise Veto("too late")

    plugins = load_quietly()
    plugins.add(observer("late", deployed=deployed))
    with pytest.warns(UserWarning, match="too late"):
        plugins.observe("deployed", filter_name="f", deployment=None)


ASK = {"filter_name": "f", "student": "s", "student_hash": "h", "target": "t"}


def test_a_veto_goes_through_with_its_plugins_name() -> None:
    def before_deploy(target: str) -> None:
        raise Veto(f"{target} is frozen until Monday")

    plugins = load_quietly()
    plugins.ask("before_deploy", **ASK)
    plugins.add(observer("freeze", before_deploy=before_deploy), dist="acme-freeze")
    with pytest.raises(Veto, match=r"acme-freeze.*t is frozen until Monday"):
        plugins.ask("before_deploy", **ASK)


def test_a_question_that_fails_stops_what_was_about_to_happen() -> None:
    def before_deploy(target: str) -> None:
        raise KeyError("owner")

    plugins = load_quietly()
    plugins.add(observer("freeze", before_deploy=before_deploy), dist="acme-freeze")
    with pytest.raises(PluginError, match=r"acme-freeze.*before_deploy failed.*owner"):
        plugins.ask("before_deploy", **ASK)


def test_a_plugin_added_by_hand_must_be_sound() -> None:
    plugins = load_quietly()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PluginError, match="did you mean 'register_oracles'"):
            plugins.add(observer("by_hand", register_oracels=lambda register: None))
