"""The contract suites, tested: each of their tests must fail for a backend that breaks just that promise.

Every module in `broken/` holds such backends, each marked with the test that is there to catch it. The suite is
run over all of them in a process of its own, as a third party would run it.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest

from filterkit import testing

BROKEN = Path(__file__).parent / "broken"
MODULES = sorted(p.stem for p in BROKEN.glob("*.py") if p.stem != "catching")


@functools.cache
def load(name: str) -> ModuleType:
    """A module of broken backends, for what its backends are marked with."""
    sys.path.insert(0, str(BROKEN))
    try:
        spec = importlib.util.spec_from_file_location(f"broken_{name}", BROKEN / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BROKEN))
    return module


def variants(name: str) -> dict[str, str]:
    """Broken backend -> the test that must catch it."""
    found = [v for v in vars(load(name)).values() if isinstance(v, type) and "caught_by" in vars(v)]
    return {v.__name__: vars(v)["caught_by"] for v in found}


@functools.cache
def outcomes(name: str) -> dict[str, dict[str, bool]]:
    """Broken backend -> test of the suite -> whether it passed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", str(BROKEN / f"{name}.py"), "-q", "--tb=no", f"--junitxml={report}"]
        command += ["-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={BROKEN}", f"--basetemp={folder}/tmp"]
        environment = {**os.environ, "PYTHONPATH": str(BROKEN), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, f"pytest ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        cases = list(ElementTree.parse(report).iter("testcase"))
    found: dict[str, dict[str, bool]] = {}
    for case in cases:
        variant = case.attrib["classname"].rpartition(".Test")[2]
        test = case.attrib["name"].partition("[")[0]
        passed = case.find("failure") is None and case.find("error") is None
        results = found.setdefault(variant, {})
        results[test] = results.get(test, True) and passed
    return found


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n in MODULES for v in variants(n)])
def test_a_broken_backend_is_caught(name: str, variant: str) -> None:
    results = outcomes(name)[variant]
    expected = variants(name)[variant]
    failed = [test for test, passed in results.items() if not passed]
    assert expected in results, f"the suite has no test {expected}"
    assert expected in failed, f"{variant} broke its promise and {expected} passed; failed: {failed}"
    assert len(failed) <= len(results) * 0.6, f"{variant} is broken all over and shows nothing: {failed}"


def test_every_test_of_every_suite_has_been_seen_to_fail() -> None:
    suites = [value for name, value in vars(testing).items() if name.endswith("Contract")]
    promised = {test for suite in suites for test in dir(suite) if test.startswith("test_")}
    seen = {test for name in MODULES for test in variants(name).values()}
    assert len(suites) == 10
    assert promised - seen == set(), "no broken backend shows that these tests can fail"
