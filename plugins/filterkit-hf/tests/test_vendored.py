"""What is uploaded beside a student: the modules that it needs, no others, and what cannot be shipped is named."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filterkit_hf import requirements as requirements_module
from filterkit_hf import vendored
from filterkit_hf.closure import Import, find_closure, imports_of, locate
from filterkit_hf.requirements import requirements
from filterkit_hf.vendored import endpoint_files

import filterkit
import filterkit.plugins as core_plugins
from filterkit.api import ConfigError, FilterSpec, Manifest, PluginError, load_manifest
from filterkit.plugins import plugins
from filterkit.testing import fake_context, make_student, tiny_spec

PLUGIN = """\
from filterkit.api import hookimpl

@hookimpl
def register_postfilters(register):
    register("ours", "acme_policy.verdicts:Ours")
"""
POSTFILTER = """\
from __future__ import annotations

from typing import TYPE_CHECKING

from filterkit.api import F32, Options, Postfilter, Verdicts

if TYPE_CHECKING:
    import a_module_for_types_only
"""


@pytest.fixture
def student(tmp_path: Path) -> tuple[Path, Manifest]:
    make_student(tmp_path / "student", tiny_spec(), fake_context(tmp_path))
    return tmp_path / "student", load_manifest(tmp_path / "student")


@pytest.fixture
def lite(tmp_path: Path) -> tuple[Path, Manifest]:
    """A manifest that says lite; the folder is not looked into."""
    make_student(tmp_path / "student", tiny_spec(), fake_context(tmp_path))
    manifest = load_manifest(tmp_path / "student").model_copy(update={"format": "lite"})
    return tmp_path / "student", manifest


def with_tiers() -> FilterSpec:
    tiers = [{"name": "good", "at_least": 5}, {"name": "other"}]
    return tiny_spec(postfilter={"use": "tiers", "tiers": tiers})


def test_a_lite_student_needs_little(lite: tuple[Path, Manifest]) -> None:
    files = endpoint_files(*lite, with_tiers())
    assert files == endpoint_files(*lite, with_tiers()), "equal students make equal files"
    dists = [line.partition("==")[0] for line in files["requirements.txt"].decode().splitlines()]
    assert dists == ["numpy", "pydantic", "safetensors", "scipy", "threadpoolctl", "tokenizers"]
    assert not [n for n in files if "/cli/" in n or "/pipeline/" in n or "/store/" in n or n.endswith("/plugins.py")]
    assert sum(map(len, files.values())) < 300_000
    assert 'MODEL = "filterkit_lite.model:LiteModel"' in files["handler.py"].decode()
    assert 'POSTFILTER = "filterkit_postfilter.tiers:' in files["handler.py"].decode()
    assert 'PREFILTER = ""' in files["handler.py"].decode()


def test_copies_are_exact(lite: tuple[Path, Manifest]) -> None:
    files = endpoint_files(*lite, with_tiers())
    own = {"runtime/filterkit/__init__.py", "runtime/filterkit/api.py", "runtime/filter.json"}
    licences = {name for name in files if name.startswith("runtime/licenses/")}
    assert {f"runtime/licenses/{package}/LICENSE" for package in ("filterkit", "filterkit_lite")} <= licences
    copies = {name for name in files if name.startswith("runtime/")} - own - licences
    assert len(copies) > 20
    for name in copies:
        module = name.removeprefix("runtime/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        path = importlib.import_module(module).__file__
        assert path is not None
        assert files[name] == Path(path).read_bytes(), name
    for name, content in files.items():
        if name.endswith(".py"):
            compile(content, name, "exec")
    assert f'__version__ = "{filterkit.__version__}"' in files["runtime/filterkit/__init__.py"].decode()


def test_a_backend_that_is_not_installed(student: tuple[Path, Manifest]) -> None:
    with pytest.raises(PluginError, match="there is no postfilter 'tires'"):
        endpoint_files(*student, tiny_spec(postfilter={"use": "tires"}))
    with pytest.raises(PluginError, match="there is no model 'lyte'"):
        endpoint_files(student[0], student[1].model_copy(update={"format": "lyte"}))


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs the package acme_policy with these files besides its plugin, and registers it."""
    site = tmp_path / "site"

    def make(verdicts: str = POSTFILTER, **files: str | bytes) -> None:
        contents = {"__init__": "", "plugin": PLUGIN, "verdicts": verdicts, **files}
        for name, content in contents.items():
            path = site / "acme_policy" / (name if "." in name else f"{name}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        info = site / "acme_policy-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-policy\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[filterkit]\nacme = acme_policy.plugin\n")
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        monkeypatch.setattr(core_plugins, "_plugins", None)
        plugins()

    yield make  # type: ignore[misc]
    for name in [name for name in sys.modules if name.startswith("acme_policy")]:
        del sys.modules[name]


def ours() -> FilterSpec:
    return tiny_spec(postfilter={"use": "ours"})


def test_a_plugin_of_somebody_else(install: Install, lite: tuple[Path, Manifest]) -> None:
    more = "from acme_policy.deep import depth\nfrom . import tables\nimport yaml, json\n"
    install(
        POSTFILTER + more,
        deep="def depth():\n    from acme_policy import lazy\n    import a_module_that_is_not_there\n".replace(
            "    import a_module_that_is_not_there\n",
            "    try:\n        import a_module_that_is_not_there\n    except ImportError:\n        pass\n",
        ),
        lazy="",
        tables="from pathlib import Path\nROWS = Path(__file__).with_name('rows.csv')\n",
        **{"rows.csv": "a,b\n", "notes.pyc": b"\0"},
    )
    files = endpoint_files(*lite, ours())
    there = {name.removeprefix("runtime/acme_policy/") for name in files if "acme_policy" in name}
    assert there == {"__init__.py", "verdicts.py", "deep.py", "lazy.py", "tables.py", "rows.csv"}
    assert files["runtime/acme_policy/rows.csv"] == b"a,b\n"
    assert b"pyyaml==" in files["requirements.txt"]
    assert b"acme" not in files["requirements.txt"], "no index has it"
    assert b"import Postfilter as Postfilter" in files["runtime/filterkit/api.py"]
    assert b"hookimpl" not in files["runtime/filterkit/api.py"], "nobody looks for plugins there"


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [
        ("import filterkit\n", "imports filterkit or filterkit.api as a whole"),
        ("import filterkit.api\n", "as a whole"),
        ("from filterkit import api\n", "as a whole"),
        ("from filterkit.api import *\n", "as a whole"),
        ("from filterkit import load_student\n", "imports load_student from filterkit itself"),
        ("from filterkit.api import Teapot\n", "imports Teapot from filterkit.api, which has no such name"),
        ("from acme_policy import native\nfrom acme_policy.native import fast\n", r"native.abi3.so is compiled"),
        ("import acme_policy.gone\n", "there is no source of the module acme_policy.gone"),
        ("import a_module_that_is_not_there\n", "belongs to no installed package"),
        ("def broken(:\n", "is not valid Python"),
    ],
)
def test_what_cannot_be_shipped_is_named(
    verdicts: str, says: str, install: Install, lite: tuple[Path, Manifest]
) -> None:
    install(verdicts, **{"native.abi3.so": b"\x7fELF"})
    with pytest.raises(ConfigError, match=says):
        endpoint_files(*lite, ours())


def test_too_much_data(install: Install, lite: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendored, "_MOST_DATA", 1000)
    install("from importlib import resources\n", **{"big.bin": b"\0" * 1001})
    with pytest.raises(ConfigError, match="the data files of acme_policy and others have 1,001 bytes"):
        endpoint_files(*lite, ours())


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("from .a import x\nfrom . import b as c\n")
    (package / "a.py").write_text(
        "import typing\nif typing.TYPE_CHECKING:\n    import never\nelse:\n    import one\n"
        "class C:\n    def f(self):\n        from ..other import two\n"
        "try:\n    import three\nexcept (ImportError, OSError):\n    import four\n"
        "try:\n    import five\nexcept ValueError:\n    pass\n"
    )
    assert imports_of(package / "__init__.py", "pkg") == [Import("pkg", "b"), Import("pkg.a", "x")]
    found = {(one.module, one.name, one.optional) for one in imports_of(package / "a.py", "pkg.sub.a")}
    assert found == {
        ("typing", "", False),
        ("one", "", False),
        ("pkg.other", "two", False),
        ("three", "", True),
        ("four", "", False),
        ("five", "", False),
    }


def test_nothing_is_run_to_find_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "explosive"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('boom')\n")
    (package / "sub" / "leaf.py").write_text("raise SystemExit('boom')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    found = find_closure(["explosive.sub.leaf"], lambda top: top == "explosive")
    assert sorted(found.modules) == ["explosive", "explosive.sub.leaf"]
    assert locate("explosive.nowhere") is None
    assert locate("explosive.nowhere.at_all") is None


def test_requirements_name_what_was_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {
        "torch": "2.13.0+cpu",
        "numpy": "2.4.6",
        "sentencepiece": "0.2.1",
        "protobuf": "6.33",
        "transformers": "5.2",
    }
    monkeypatch.setattr(requirements_module.importlib.metadata, "version", versions.__getitem__)
    wanted = {Import("torch.nn"), Import("numpy"), Import("numpy.typing"), Import("no_such_module", optional=True)}
    assert requirements(wanted, tmp_path) == b"numpy==2.4.6\ntorch>=2.13,<3\n"
    (tmp_path / "spiece.model").touch()
    lines = requirements({Import("transformers")}, tmp_path).decode().split()
    assert lines == ["protobuf==6.33", "sentencepiece==0.2.1", "transformers==5.2"]
    (tmp_path / "tokenizer.json").touch()
    assert requirements({Import("transformers")}, tmp_path) == b"transformers==5.2\n"


def test_of_several_dists_with_one_name_the_one_that_has_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, module in (("acme-one", "acme_shared/one.py"), ("acme-two", "acme_shared/two.py")):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{module},,\n")
        (tmp_path / module).parent.mkdir(exist_ok=True)
        (tmp_path / module).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert requirements({Import("acme_shared.two")}, tmp_path) == b"acme-two==1.0\n"


def test_the_toys_ship_too(student: tuple[Path, Any]) -> None:
    """A backend of the core's own, in a package with much else."""
    files = endpoint_files(*student)
    assert "runtime/filterkit/testing/toys.py" in files
