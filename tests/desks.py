"""A workspace at a fake provider's desk, with the command line in this process: what tests of several answers share."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import Inside, Workspace, read_jsonl, unlabelled, write_jsonl

from filterkit.filters import load_filter
from filterkit.store import LabelRow, Store
from filterkit.testing.fake_llm import FakeLLM

SECRET = "sk-test-0123456789abcdef"
CONCURRENCY = 8


class Desk:
    """`models`: name -> dollars a million tokens. The first one is the configured oracle of `articles` articles."""

    def __init__(
        self,
        workspace: Workspace,
        server: FakeLLM,
        monkeypatch: pytest.MonkeyPatch,
        capture: pytest.CaptureFixture[str],
        models: Mapping[str, float],
        articles: int,
    ) -> None:
        self.workspace, self.server, self.models = workspace, server, models
        self.run = Inside(workspace.root, capture)
        workspace.env["OPENAI_API_KEY"] = SECRET
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        monkeypatch.chdir(workspace.root)
        self.settings()
        self.articles(unlabelled(articles))

    def settings(self, more: str = "", concurrency: int = CONCURRENCY) -> None:
        """filterkit.yaml anew, with `more` at its end."""
        price = "{{input: {0}, output: {0}, as_of: 2026-01-31, source: test}}"
        prices = "".join(f"  {model}: {price.format(usd)}\n" for model, usd in self.models.items())
        oracle = f"{{use: openai, model: {next(iter(self.models))}, base_url: '{self.server.openai_url}'}}"
        text = f"prices:\n{prices}label: {{concurrency: {concurrency}}}\noracle: {oracle}\n{more}"
        (self.workspace / "filterkit.yaml").write_text(text)

    def articles(self, rows: Iterable[Mapping[str, Any]], **added: str) -> list[dict[str, Any]]:
        """The articles to label; `added`: id -> words at the end of that one."""
        changed = [{**row, "content": row["content"] + added.get(row["id"], "")} for row in rows]
        write_jsonl(self.workspace / "in.jsonl", changed)
        return changed

    def arguments(self, *more: object) -> list[object]:
        return ["label", "tiny/v1", "--articles", "in.jsonl", *more]

    def label(self, *more: object, code: int = 0) -> dict[str, Any]:
        """What `filterkit label --json` says."""
        found: dict[str, Any] = json.loads(self.run(*self.arguments(*more), "--json", code=code).out)
        return found

    def words(self, *more: object) -> str:
        """What `filterkit label` says to people."""
        said = self.run(*self.arguments(*more))
        return said.out + said.err

    def refused(self, *arguments: object, says: str | Iterable[str], code: int = 2) -> str:
        """The one line of error that a command ends with."""
        last: str = self.run(*arguments, code=code).err.splitlines()[-1]
        assert last.startswith("Error: ")
        for text in [says] if isinstance(says, str) else says:
            assert text in last
        return last

    def killed(self, after: int, *more: object) -> None:
        """Label in a process of its own, which is killed when the provider has seen `after` requests."""
        process: subprocess.Popen[bytes] = self.workspace.start(*self.arguments(*more))
        while self.server.requests < after and process.poll() is None:
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.wait()

    def stored(self) -> list[LabelRow]:
        """The labels that the store holds of this rubric."""
        with Store(self.workspace / "labels.db", create=False) as store:
            return list(store.labelled(load_filter(self.workspace.filter).request_hash()))

    def prepare(self, *more: object) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """What prepare says to programs, and its rows by id."""
        said = json.loads(self.run("prepare", "tiny/v1", "--output-dir", "data", "--json", *more).out)
        files: Iterable[Path] = (self.workspace / f"data/{name}.jsonl" for name in ("train", "val", "test"))
        return said, {row["id"]: row for file in files for row in read_jsonl(file)}
