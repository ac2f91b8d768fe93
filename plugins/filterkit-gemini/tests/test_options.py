"""Options, key, prices, and how the plugin joins."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from filterkit_gemini.generativeai_client import older_schema
from filterkit_gemini.oracle import GeminiOracle
from pydantic import ValidationError

from filterkit.contracts import Context
from filterkit.contracts.base import environment_secret
from filterkit.errors import ConfigError
from filterkit.plugins import Plugins
from filterkit.prompt import reply_schema
from filterkit.testing import fake_context, make_request, sample_articles, tiny_spec
from filterkit.testing.fake_llm import FakeLLM

Options = GeminiOracle.Options


def test_the_plugin_is_found() -> None:
    plugins = Plugins()
    assert [e.dist for e in plugins.claims("oracle", "gemini")] == ["filterkit-gemini"]
    assert plugins.load("oracle", "gemini") is GeminiOracle


def test_prices_are_dated_and_end_when_they_change() -> None:
    prices = Plugins().prices
    default = prices[Options().model]
    assert (default.input, default.output, default.cached_input, default.until) == (0.30, 2.50, 0.03, None)
    assert prices["gemini-3.8-flash"].until == "2026-12-31"
    assert all(date.fromisoformat(prices[m].as_of) for m in prices if m.startswith("gemini"))
    assert not [m for m in prices if m.startswith("gemini-2.5")], "from 2026-12-01 on other models answer"


def test_asking_for_the_name_imports_no_sdk() -> None:
    code = (
        "import sys, filterkit_gemini.plugin; assert 'pydantic' not in sys.modules;"
        "import filterkit_gemini.oracle; sdks = ('google.', 'aiohttp', 'requests');"
        "print([name for name in sys.modules if name.startswith(sdks)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"model": "gemini-3.5-flash-lite", "thinking": "off"}, "cannot switch thinking off"),
        ({"model": "gemini-3.8-flash", "thinking": "minimal"}, "does not have thinking=minimal"),
        ({"model": "gemini-2.5-pro", "thinking": "off"}, "cannot switch thinking off"),
        ({"model": "gemma-4", "thinking": "high"}, "not known to think"),
        ({"sdk": "generativeai", "thinking": "high"}, "cannot send thinking"),
        ({"sdk": "generativeai", "service_tier": "flex"}, "cannot send service_tier"),
        ({"base_url": "generativelanguage.googleapis.com"}, "http"),
        ({"base_url": "https://host/?key=abc"}, "api_key_env"),
        ({"model": ""}, "at least 1 character"),
        *(
            ({"model": name, "sdk": sdk}, "a model's name is made of")
            for name in (
                "x?y",
                "gemini-3.8-flash?x=1",
                "../x",
                "a/../x",
                "a//x",
                "/x",
                "a b",
                "a\r\nb",
                "modèle",
                "a#b",
            )
            for sdk in ("genai", "generativeai")
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_sent(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Options.model_validate(given)


@pytest.mark.parametrize("name", ["models/gemini-3.8-flash", "tunedModels/my_own-1.2", "gemma-4:27b"])
def test_names_of_models(name: str) -> None:
    assert Options(model=name).model == name


def test_flex_costs_half_and_waits_longer(context: Context) -> None:
    def made(**given: Any) -> GeminiOracle:
        return GeminiOracle(Options.model_validate(given), tiny_spec(), context)

    assert (made().list_price_share, made().options.timeout_s) == (1.0, 60)
    flex = made(service_tier="flex")
    assert (flex.list_price_share, flex.options.timeout_s) == (0.5, 900)
    assert made(service_tier="flex", timeout_s=30).options.timeout_s == 30


def test_only_thinking_makes_another_question() -> None:
    assert GeminiOracle.answer_options == ("thinking",)


def ask_with_environment(tmp_path: Path, key: str, **options: Any) -> str:
    """Asks with the environment's key a server that takes no other than `key`."""

    async def main(url: str) -> str:
        one = GeminiOracle(Options(base_url=url, **options), tiny_spec(), Context(tmp_path, secret=environment_secret))
        await one.open()
        try:
            return (await one.complete(make_request(tiny_spec(), sample_articles()[0]))).finish
        finally:
            await one.aclose()

    with FakeLLM(api_key=key) as server:
        return asyncio.run(main(server.url))


def test_which_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.setenv("GOOGLE_API_KEY", "key-google")
    assert ask_with_environment(tmp_path, "key-google") == "stop"
    monkeypatch.setenv("GEMINI_API_KEY", "key-gemini")
    assert ask_with_environment(tmp_path, "key-gemini") == "stop"
    monkeypatch.setenv("MY_KEY", "key-mine")
    assert ask_with_environment(tmp_path, "key-mine", api_key_env="MY_KEY") == "stop"


def test_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"GEMINI_API_KEY or GOOGLE_API_KEY.*export GEMINI_API_KEY"):
        ask_with_environment(tmp_path, "k")
    monkeypatch.setenv("GOOGLE_API_KEY", "not asked for")
    with pytest.raises(ConfigError, match="no API key in MY_KEY"):
        ask_with_environment(tmp_path, "k", api_key_env="MY_KEY")


@pytest.mark.parametrize("key", ["abc def", "abc\r\ndef", "abc\rdef", "schlüssel", "abc\x00", "abc\u2028d"])
def test_what_cannot_be_a_key_is_not_sent_and_not_shown(tmp_path: Path, sdk: str, key: str) -> None:
    context = Context(tmp_path, secret=lambda name: key)
    one = GeminiOracle(Options(sdk=sdk), tiny_spec(), context)
    with pytest.raises(ConfigError, match=r"GEMINI_API_KEY holds is no API key.*Copy") as caught:
        asyncio.run(one.open())
    assert key not in str(caught.value)
    assert repr(key)[1:-1] not in str(caught.value)


@pytest.mark.parametrize(
    "environment",
    [
        {"ALL_PROXY": "socks4://user:hunter2@127.0.0.1:1"},
        {"HTTPS_PROXY": "socks4://127.0.0.1:1"},
        {"SSL_CERT_FILE": "/there/is/no/such.pem"},
    ],
)
def test_an_environment_that_the_sdk_cannot_use(tmp_path: Path, environment: dict[str, str]) -> None:
    code = (
        "import asyncio, pathlib, sys; from filterkit.testing import fake_context, tiny_spec;"
        "from filterkit_gemini.oracle import GeminiOracle as O;"
        "one = O(O.Options(), tiny_spec(), fake_context(pathlib.Path(sys.argv[1])))\n"
        "from filterkit.errors import ConfigError\n"
        "try: asyncio.run(one.open())\n"
        "except ConfigError as error: print(error)"
    )
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", code, str(tmp_path)],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "oracle gemini: google-genai cannot be set up" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert "Unclosed" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_older_sdk_is_asked_for_by_its_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.generativeai", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "google.generativeai.protos", raising=False)
    one = GeminiOracle(Options(sdk="generativeai"), tiny_spec(), fake_context(tmp_path))
    with pytest.raises(ConfigError, match=r"pip install 'filterkit-gemini\[generativeai\]'"):
        asyncio.run(one.open())


@pytest.mark.parametrize("evidence", ["none", "short"])
def test_the_older_dialect_of_schemas(evidence: str) -> None:
    schema = older_schema(reply_schema(tiny_spec(evidence=evidence)))
    assert schema["type"] == "OBJECT"
    assert schema["required"] == ["help", "novelty", "is_advert"]
    first = schema["properties"]["help"]
    assert first["description"] == "people help each other"
    score = first["properties"]["score"] if evidence == "short" else first
    assert score["type"] == "NUMBER"
    assert "additionalProperties" not in str(schema)
    assert "maximum" not in str(schema)
