"""A workspace that labels in batches, and the provider on the other side, which outlives us."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from helpers import TOYS, Inside, Said, Workspace, article, unlabelled, write_jsonl

from filterkit.filters import load_filter
from filterkit.store import Store

sys.path.insert(0, str(TOYS))
from batch import Provider

SETTINGS = "prices:\n  model-1: {input: 1.0, output: 4.0, as_of: 2026-01-31, source: test}\nlabel: {settle_s: 0.1}\n"
LABEL = ["label", "tiny/v1", "--articles", "in.jsonl", "--oracle", "toy-batch", "-O", "oracle.model=model-1"]
BATCH = [*LABEL, "--batch"]


class Bench:
    """A workspace, the command line in this process, and the other side."""

    def __init__(self, workspace: Workspace, filterkit: Inside) -> None:
        self.workspace, self.filterkit, self.root = workspace, filterkit, workspace.root
        self.provider = Provider(workspace.root / "provider")
        (self.root / "filterkit.yaml").write_text(SETTINGS)

    def articles(self, count: int, words: dict[int, str] | None = None) -> None:
        rows = [dict(row) for row in unlabelled(count)]
        for number, word in (words or {}).items():
            rows[number]["content"] += f" {word}"
        write_jsonl(self.root / "in.jsonl", rows)

    def batch(self, *more: object, code: int = 0) -> dict[str, Any]:
        said = self.filterkit(*BATCH, *more, "--json", code=code)
        report: dict[str, Any] = json.loads(said.out)
        return report

    def refused(self, *command: object, code: int, says: str | Iterable[str]) -> str:
        said: Said = self.filterkit(*command, code=code)
        lines = [line for line in said.err.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, said.err
        for text in [says] if isinstance(says, str) else says:
            assert text in lines[0], lines[0]
        return lines[0]

    def jobs(self, *more: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.filterkit("jobs", "--json", *more).out)
        return found

    def settle_up(self, count: int) -> None:
        """All is right: each article has its one true label and was charged once; the ledger is what was charged."""
        filter = load_filter(self.root / "tiny" / "v1")
        with Store(self.root / "labels.db", create=False) as store:
            rows = list(store.labelled(filter.request_hash()))
            spent = store.spent()
        for row in rows:
            assert row.scores == article(int(row.article.id[1:]), seed=1)["scores"]
        assert len({row.article.id for row in rows}) == len(rows) == count
        times = self.provider.rows("SELECT count(*) FROM charged GROUP BY article")
        assert [one for (one,) in times] == [1] * count
        assert spent.held_usd == 0
        assert spent.usd == pytest.approx(self.charged(), abs=1e-12)

    def charged(self) -> float:
        share = {True: 1.0, False: 0.5}
        rows = self.provider.rows("SELECT handle, input, output FROM charged")
        return sum(share[handle == "live"] * (sent + 4 * got) / 1e6 for handle, sent, got in rows)
