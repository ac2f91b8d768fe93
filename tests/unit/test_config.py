"""The layers of the configuration, and where each value came from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from filterkit.config import Config, load_config, parse_option, scalar
from filterkit.errors import ConfigError
from filterkit.spec import FilterSpec


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("FILTERKIT_")]:
        monkeypatch.delenv(name)


def spec(**changes: Any) -> FilterSpec:
    """A filter that names an oracle with options."""
    data = {
        "schema": 1,
        "name": "news",
        "version": "1",
        "dimensions": [{"name": "help", "weight": 1}],
        "oracle": {"use": "gemini", "model": "of-the-filter", "thinking": "low"},
    }
    return FilterSpec.model_validate({**data, **changes})


def config(folder: Path, text: str = "", spec: FilterSpec | None = None, **command_line: Any) -> Config:
    """The configuration of a workspace whose filterkit.yaml is `text`; `a__b` stands for the key a.b."""
    (folder / "filterkit.yaml").write_text(text, encoding="utf-8")
    return load_config(folder, spec, {k.replace("__", "."): v for k, v in command_line.items()})


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    found = load_config(tmp_path)
    assert found.settings.store == "labels.db"
    assert found.backend("trainer") == ("lite", {})
    assert found.origin("trainer.use") == "default"
    assert found.origin("store") == "default"


def test_no_oracle_is_a_default(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no oracle is configured\. Name one: --oracle NAME"):
        load_config(tmp_path).backend("oracle")


def test_the_layers_win_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILTERKIT_ORACLE__THINKING", "high")
    monkeypatch.setenv("FILTERKIT_ORACLE__TIMEOUT_S", "30")
    text = "store: mine.db\noracle:\n  model: of-the-workspace\n  thinking: none\n"
    found = config(tmp_path, text, spec(), oracle__timeout_s=5)
    assert found.backend("oracle") == ("gemini", {"model": "of-the-workspace", "thinking": "high", "timeout_s": 5})
    file = tmp_path / "filterkit.yaml"
    assert found.origins["oracle.use"] == "filter news"
    assert found.origins["oracle.model"] == f"{file}:3"
    assert found.origins["oracle.thinking"] == "FILTERKIT_ORACLE__THINKING"
    assert found.origins["oracle.timeout_s"] == "command line"
    assert found.origins["store"] == f"{file}:1"


def test_another_backend_drops_the_options_of_the_one_below(tmp_path: Path) -> None:
    found = config(tmp_path, "oracle: {use: openai}", spec())
    assert found.backend("oracle") == ("openai", {})
    assert [k for k in found.origins if k.startswith("oracle.")] == ["oracle.use"]


def test_the_same_backend_keeps_them(tmp_path: Path) -> None:
    found = config(tmp_path, "oracle: {use: gemini, model: x}", spec())
    assert found.backend("oracle") == ("gemini", {"model": "x", "thinking": "low"})


@pytest.mark.parametrize("option", ["LABELS", "ZEBRA"])
def test_a_backend_and_its_options_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("FILTERKIT_ORACLE__USE", "replay")
    monkeypatch.setenv(f"FILTERKIT_ORACLE__{option}", "[a.jsonl, b.jsonl]")
    assert config(tmp_path, "", spec()).backend("oracle") == ("replay", {option.lower(): ["a.jsonl", "b.jsonl"]})


def test_the_command_line_switches_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILTERKIT_ORACLE__MODEL", "of-the-environment")
    found = config(tmp_path, "", spec(), oracle__model="mine", oracle__use="openai")
    assert found.backend("oracle") == ("openai", {"model": "mine"})


def test_switching_one_kind_leaves_the_others(tmp_path: Path) -> None:
    found = config(tmp_path, "trainer: {use: lite, seed: 3}", spec(), oracle__use="openai")
    assert found.backend("trainer") == ("lite", {"seed": 3})


def test_an_option_may_be_a_mapping_that_later_layers_change_in_part(tmp_path: Path) -> None:
    found = config(tmp_path, "oracle: {limits: {rpm: 10, tpm: 100}}", spec(), oracle__limits__rpm=5)
    assert found.backend("oracle")[1]["limits"] == {"rpm": 5, "tpm": 100}
    assert found.origins["oracle.limits.rpm"] == "command line"


WRONG: dict[str, tuple[str, str, str]] = {
    "unknown key": ("store: a.db\noracel: {use: x}", ":2", "unknown key 'oracel'. Did you mean 'oracle'?"),
    "postfilter": ("postfilter: {use: tiers}", ":1", "unknown key 'postfilter'"),
    "number as key": ("1: x", ":1", "unknown key 1"),
    "true as key": ("yes: x", ":1", "unknown key True"),
    "unknown key below": ("label:\n  concurency: 3", ":2", "unknown key 'label.concurency'"),
    "unknown gate": ("gates: {maee: 1}", ":1", "unknown key 'gates.maee'"),
    "wrong type": ("label:\n  max_attempts: 3\n  concurrency: many", ":3", "label.concurrency"),
    "out of range": ("label: {concurrency: 0}", ":1", "label.concurrency"),
    "section without value": ("store: x\nlabel:", ":2", "label"),
    "backend without value": ("oracle:", ":1", "oracle must be a mapping with `use`"),
    "backend as text": ("oracle: gemini", ":1", "oracle must be a mapping with `use`, not 'gemini'"),
    "undated price": ("prices:\n  m: {input: 1, output: 2, source: x}", ":2", "'prices.m.as_of' is missing"),
    "NaN price": ("prices:\n  m: {input: .nan, output: 2, source: x, as_of: '1'}", ":2", "prices.m.input"),
    "duplicate key": ("store: a\nstore: b", ":2", "appears twice"),
    "secret": ("oracle:\n  use: gemini\n  api_key: hunter2", ":3", "oracle.api_key looks like a secret"),
    "secret below": ("deployer: {use: x, auth: {hf_token: hunter2}}", ":1", "deployer.auth.hf_token"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_the_file_has_its_line(tmp_path: Path, case: str) -> None:
    text, line, expected = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'filterkit.yaml'}{line}: ")
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("FILTERKIT_STROE", "x", "unknown key 'stroe'. Did you mean 'store'?"),
        ("FILTERKIT_LABEL__CONCURENCY", "3", "unknown key 'label.concurency'"),
        ("FILTERKIT_LABEL__CONCURRENCY", "many", "label.concurrency"),
        ("FILTERKIT_ORACLE__API_KEY", "hunter2", "looks like a secret"),
        ("FILTERKIT_ORACLE", "gemini", "oracle must be a mapping"),
    ],
)
def test_what_is_wrong_in_a_variable_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert str(caught.value).startswith(f"{name}: ")
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_value_and_keys_below_it_do_not_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILTERKIT_ORACLE", "gemini")
    monkeypatch.setenv("FILTERKIT_ORACLE__MODEL", "x")
    with pytest.raises(ConfigError, match=r"oracle has a value, so oracle\.model cannot be set below it"):
        load_config(tmp_path)


def test_the_name_of_a_secrets_variable_is_no_secret(tmp_path: Path) -> None:
    given = {"oracle.use": "openai", "oracle.api_key_env": "MY_KEY"}
    assert load_config(tmp_path, None, given).backend("oracle")[1] == {"api_key_env": "MY_KEY"}
    with pytest.raises(ConfigError, match="looks like a secret"):
        load_config(tmp_path, None, {"oracle.use": "openai", "oracle.api_key": "hunter2"})


def test_token_counts_are_no_secrets(tmp_path: Path) -> None:
    found = config(tmp_path, "oracle: {use: x, max_tokens: 5, tokenizer: y, key_field: z}")
    assert found.backend("oracle")[1] == {"max_tokens": 5, "tokenizer": "y", "key_field": "z"}


def test_variables_for_other_things_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILTERKIT_DISABLE_PLUGINS", "x")
    monkeypatch.setenv("FILTERKIT_WORKSPACE", str(tmp_path))
    assert load_config().workspace == tmp_path


def test_a_workspace_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="filterkit init"):
        load_config(tmp_path / "nowhere")


def test_paths_start_at_the_workspace(tmp_path: Path) -> None:
    found = config(tmp_path, "store: sub/mine.db")
    assert found.path(found.settings.store) == tmp_path / "sub" / "mine.db"
    assert found.path("/elsewhere/x.db") == Path("/elsewhere/x.db")


@pytest.mark.parametrize(
    ("workspace", "mae", "gain", "loosened"),
    [
        ("", 1.0, 0.05, []),
        ("gates: {mae: 0.8}", 0.8, 0.05, []),
        ("gates: {mae: 0.8, median_gain: 0.2}", 0.8, 0.2, []),
        ("gates: {mae: 1.5}", 1.5, 0.05, ["gate mae was loosened by the workspace from 1 to 1.5"]),
        ("gates: {median_gain: 0.01}", 1.0, 0.01, ["gate median_gain was loosened by the workspace from 0.05 to 0.01"]),
        ("gates: {mae: null}", None, 0.05, ["gate mae was loosened by the workspace from 1 to none"]),
        ("gates: {mae: 1.0}", 1.0, 0.05, []),
    ],
)
def test_gates_are_replaced_one_by_one_and_loosening_is_told(
    tmp_path: Path, workspace: str, mae: float | None, gain: float, loosened: list[str]
) -> None:
    gates, told = config(tmp_path, workspace).gates(spec())
    assert (gates.mae, gates.median_gain) == (mae, gain)
    assert told == loosened


def test_a_gate_that_the_filter_lacks_can_only_be_tightened(tmp_path: Path) -> None:
    gates, told = config(tmp_path, "gates: {mae: 5}").gates(spec(gates={"mae": None}))
    assert (gates.mae, told) == (5, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("[a, 1]", ["a", 1]),
        ("", None),
        ("null", None),
        ("gpt-4.1-mini", "gpt-4.1-mini"),
        ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("2026-10-18", "2026-10-18"),
        ("12:30", "12:30"),
        ("*.jsonl", "*.jsonl"),
        ("&x", "&x"),
        ("a: b: c", "a: b: c"),
        ("2026-13-45", "2026-13-45"),
        ("#", "#"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_in_text_is_read_as_one_would_expect(text: str, value: object) -> None:
    assert scalar(text) == value


def test_an_option_names_its_key() -> None:
    assert parse_option("model=x=y", "oracle") == ("oracle.model", "x=y")
    assert parse_option("trainer.epochs=3", "oracle") == ("trainer.epochs", 3)
    assert parse_option("limits.rpm=3", "oracle") == ("oracle.limits.rpm", 3)
    assert parse_option("oracle.model=x", None) == ("oracle.model", "x")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("model", "oracle", "-O takes key=value, not 'model'"),
        ("=x", "oracle", "-O takes key=value"),
        ("model=x", None, "Say whose: -O KIND.model="),
    ],
)
def test_an_option_that_cannot_be_read_is_refused(text: str, kind: str | None, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_option(text, kind)
    assert expected in str(caught.value)
