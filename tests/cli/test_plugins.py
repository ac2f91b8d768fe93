"""filterkit plugins: what is installed, whose it is, what is wrong with it, and which options it takes."""

from __future__ import annotations

import json
from typing import Any

HEAD = "from filterkit.api import hookimpl\n"
ORACLE = (
    HEAD + "@hookimpl\ndef register_oracles(register):\n    register('acme', 'acme_kit.oracle:Acme', summary='asks')\n"
)
BACKEND = """
from typing import ClassVar, Literal
from pydantic import BaseModel, Field
from filterkit.api import Oracle, OracleOptions

class Limit(BaseModel):
    per_minute: int = 5

class AcmeOptions(OracleOptions):
    level: Literal["low", "high"] = Field("low", description="how hard it thinks")
    limits: list[Limit] = Field([Limit()], description="its limits")
    region: str | None = Field(None, description="where\\n    it runs")
    account: int = Field(description="who pays")
    pass_: bool = Field(True, alias="pass", description="a word that Python keeps")

class Acme(Oracle[AcmeOptions]):
    Options: ClassVar[type[OracleOptions]] = AcmeOptions
    async def complete(self, request): ...
"""


def rows(result: Any) -> list[dict[str, Any]]:
    """The plugins as --json gives them."""
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_the_table_has_a_line_per_backend(cli: Any, site: Any) -> None:
    site.add("acme-kit", "3.1", plugin=ORACLE)
    result = cli("plugins")
    assert result.returncode == 0
    assert result.stderr == ""
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["KIND", "NAME", "DIST", "VERSION", "STATE"]
    (line,) = [x for x in lines if "acme" in x]
    assert line.split() == ["oracle", "acme", "acme-kit", "3.1", "ok", "asks"]
    assert line.index("acme-kit") == head.index("DIST")


def test_a_broken_plugin_is_one_warning_and_a_line(cli: Any, site: Any) -> None:
    site.add("acme-kit", "3.1", plugin="import no_such_sdk")
    result = cli("plugins", "--json")
    assert result.returncode == 0
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("Warning: plugin 'acme-kit' of acme-kit 3.1 is broken: ModuleNotFoundError")
    (line,) = [x for x in rows(result) if x["dist"] == "acme-kit"]
    assert line["state"] == "broken"
    assert "no_such_sdk" in line["about"]
    assert "replay" in [x["name"] for x in rows(result) if x["kind"] == "oracle"]


def test_a_plugin_that_exits_does_not_take_the_command_line_along(cli: Any, site: Any) -> None:
    site.add("acme-kit", "3.1", plugin="import sys; print('bye'); sys.exit(7)")
    result = cli("plugins")
    assert result.returncode == 0
    assert "SystemExit" in result.stderr


def test_a_conflict_is_shown_with_both_dists(cli: Any, site: Any) -> None:
    site.add("acme-kit", "3.1", plugin=ORACLE)
    site.add("acme-rival", "0.1", plugin=ORACLE)
    lines = {x["dist"]: x for x in rows(cli("plugins", "--json")) if x["name"] == "acme"}
    assert lines["acme-kit"]["state"] == lines["acme-rival"]["state"] == "conflict"
    assert "acme-rival 0.1" in lines["acme-kit"]["about"]
    shown = cli("plugins", "show", "acme")
    assert shown.returncode == 2
    assert "claimed by acme-kit 3.1 and acme-rival 0.1" in shown.stdout


def test_what_is_switched_off_is_shown_as_such(cli: Any, site: Any) -> None:
    site.add("acme-kit", "3.1", plugin="raise RuntimeError('imported')")
    result = cli("plugins", "--json", FILTERKIT_DISABLE_PLUGINS="acme-kit")
    assert result.stderr == ""
    (line,) = [x for x in rows(result) if x["dist"] == "acme-kit"]
    assert (line["state"], line["about"]) == ("off", "switched off by FILTERKIT_DISABLE_PLUGINS")


def test_show_prints_every_option(cli: Any, site: Any) -> None:
    site.add("acme-kit", "3.1", plugin=ORACLE, files={"acme_kit/oracle.py": BACKEND})
    result = cli("plugins", "show", "acme")
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0] == "oracle acme: asks"
    assert "from acme-kit 3.1, acme_kit.oracle:Acme" in lines
    assert "written for contract 1" in lines
    assert 'level  low or high, default "low"' in lines
    assert "how hard it thinks" in lines
    assert 'limits  list of {per_minute}, default [{"per_minute": 5}]' in lines
    assert "region  text or null, default null" in lines
    assert "where it runs" in lines
    assert "account  whole number, required" in lines
    assert "pass  true or false, default true" in lines
    assert "timeout_s  number, default 60.0" in lines


def test_show_as_json(cli: Any, site: Any) -> None:
    site.add("acme-kit", "3.1", plugin=ORACLE, files={"acme_kit/oracle.py": BACKEND})
    (backend,) = rows(cli("plugins", "show", "acme", "--json"))
    assert (backend["kind"], backend["dist"], backend["api"], backend["problem"]) == ("oracle", "acme-kit", 1, "")
    options = {o["name"]: o for o in backend["options"]}
    assert options["account"]["required"] is True
    assert options["limits"]["default"] == [{"per_minute": 5}]


def test_a_name_of_several_kinds_shows_all_of_them(cli: Any) -> None:
    assert [x["kind"] for x in rows(cli("plugins", "show", "local", "--json"))] == ["deployer", "executor"]
    assert [x["kind"] for x in rows(cli("plugins", "show", "local", "--kind", "executor", "--json"))] == ["executor"]


def test_a_backend_without_its_sdk_is_shown_with_its_problem(cli: Any, site: Any) -> None:
    site.add("acme-kit", "3.1", plugin=ORACLE, files={"acme_kit/oracle.py": "import no_such_sdk"})
    result = cli("plugins", "show", "acme")
    assert result.returncode == 2
    assert "Cannot be used: oracle 'acme' of acme-kit 3.1: cannot be imported" in result.stdout
    assert "no_such_sdk" in result.stdout
    assert "Traceback" not in result.stderr


def test_an_unknown_name_says_what_to_do(cli: Any) -> None:
    for arguments, expected in (
        (["repaly"], "Did you mean 'replay'?"),
        (["replay", "--kind", "trainer"], "there is no trainer 'replay'"),
        (["replay", "--kind", "oracel"], "there is no kind 'oracel'"),
    ):
        result = cli("plugins", "show", *arguments)
        assert result.returncode == 2
        assert expected in result.stderr
        assert len(result.stderr.splitlines()) == 1
