"""What the filter's prefilter would have held back of the articles that the oracle scored high, by language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterkit.errors import FilterkitError, PluginError
from filterkit.pipeline.audit import limits
from filterkit.pipeline.audit.amounts import Found
from filterkit.pipeline.audit.records import Finding, number
from filterkit.pipeline.audit.table import Table
from filterkit.pipeline.split import tiers
from filterkit.policy import make_prefilter
from filterkit.records import Article, Block, Label
from filterkit.spec import FilterSpec

LISTED = 1000


class Watch:
    """Runs the prefilter over articles on their way into the table, where their texts are not kept."""

    def __init__(self, spec: FilterSpec) -> None:
        self.blocks: list[Block | None] = []
        self.why_not = ""
        try:
            self._prefilter = make_prefilter(spec)
        except FilterkitError as error:
            self._prefilter, self.why_not = None, str(error)

    def over(self, labelled: Iterable[tuple[Article, Label]]) -> Iterator[tuple[Article, Label]]:
        """The labelled articles as they are; `blocks` has an entry for each that has gone by."""
        for article, label in labelled:
            if self._prefilter is not None:
                [answer] = self._prefilter.judge([article])
                self.blocks.append(answer if isinstance(answer, Block) else None)
            yield article, label
        if self._prefilter is not None:
            self._prefilter.close()


def check(table: Table, watch: Watch) -> Found:
    """Finding prefilter, where the filter has one. Rules in shadow mode count: may they be trusted?"""
    prefilter = table.spec.prefilter
    if prefilter is None:
        return [], {"prefilter": None}
    if watch.why_not:
        what = f"the prefilter {prefilter.use} was left out: it cannot be made"
        return [Finding(check="prefilter", level="pass", what=what, do=watch.why_not)], {"prefilter": None}
    high, meaning = _high(table)
    blocks = [watch.blocks[row] for row in table.first]
    held = np.array([block is not None for block in blocks], dtype=np.bool_)
    lost = [(row, block) for row, block, is_high in zip(table.first, blocks, high, strict=True) if block and is_high]
    languages = [table.languages[row].strip().lower() for row in table.first]
    by_language = _shares(languages, high, held)
    figures = {
        "high": meaning,
        "labels": len(held),
        "held_back": int(held.sum()),
        "labels_high": int(high.sum()),
        "held_back_high": len(lost),
        "languages": by_language,
        "sources": _shares([table.sources[row].strip() for row in table.first], high, held),
        "rules": dict(Counter(block.rule + (" (shadow)" if block.shadow else "") for _, block in lost).most_common()),
        "ids": [table.ids[row] for row, _ in lost[:LISTED]],
    }
    return [_finding(figures, by_language)], {"prefilter": figures}


def _high(table: Table) -> tuple[NDArray[np.bool_], str]:
    """Which rows that count [m] the oracle scored high, and what that means."""
    spec = table.spec
    if spec.threshold is not None:
        return table.overall >= spec.threshold, f"an overall of {spec.threshold:g} or more"
    try:
        names, which = tiers(spec, table.scores[table.rows])
    except PluginError:
        names, which = (), []
    if len(names) > 1:
        tier = np.array(which)
        return (tier >= 0) & (tier < len(names) - 1), f"a tier above {names[-1]}"
    bound = float(np.nanquantile(table.overall, limits.HIGH_QUANTILE))
    return table.overall >= bound, f"an overall in the upper {1 - limits.HIGH_QUANTILE:.0%}, {bound:.2f} or more"


def _shares(names: list[str], high: NDArray[np.bool_], held: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """For each name, the most frequent first: how many labels, how many are high, and what is held back of them."""
    kinds, which, counts = np.unique(np.array(names, dtype=str), return_inverse=True, return_counts=True)
    of_high = np.bincount(which, high, minlength=len(kinds)).astype(int)
    of_held = np.bincount(which, held, minlength=len(kinds)).astype(int)
    of_both = np.bincount(which, high & held, minlength=len(kinds)).astype(int)
    return [
        {
            "name": str(kinds[k]) or "unknown",
            "labels": int(counts[k]),
            "held_back": int(of_held[k]),
            "labels_high": int(of_high[k]),
            "held_back_high": int(of_both[k]),
            "share_high": number(of_both[k] / of_high[k]) if of_high[k] else None,
        }
        for k in np.argsort(-counts, kind="stable").tolist()
    ]


def _finding(figures: dict[str, Any], by_language: list[dict[str, Any]]) -> Finding:
    high, lost = figures["labels_high"], figures["held_back_high"]
    share = lost / high if high else 0.0
    what = f"the prefilter would hold back {figures['held_back']:,} of {figures['labels']:,} labelled articles, "
    what += f"{lost:,} of the {high:,} with {figures['high']} ({share:.1%})"
    worst = [
        row
        for row in by_language
        if row["labels_high"] >= limits.HELD_EXAMPLES and row["share_high"] > limits.HELD_LANGUAGE
    ]
    shown = {key: figures[key] for key in ("labels", "held_back", "labels_high", "held_back_high", "rules")}
    if share <= limits.HELD_SHARE and not worst:
        return Finding(check="prefilter", level="pass", what=what, figures=shown)
    if worst:
        told = (f"{row['name']} {row['held_back_high']} of {row['labels_high']}" for row in worst[:5])
        what += f"; most in {', '.join(told)}"
    rules = ", ".join(f"{rule} {count}" for rule, count in list(figures["rules"].items())[:3])
    do = f"These are what the filter is for. By rule: {rules}. Give the rules exceptions, or set shadow: true meanwhile"
    return Finding(check="prefilter", level="warn", what=what, do=do, figures=shown)
