"""How many labels each tier of the filter has, and what that lets one prove."""

from __future__ import annotations

import math

from filterkit.errors import PluginError
from filterkit.pipeline.audit import limits
from filterkit.pipeline.audit.amounts import Found
from filterkit.pipeline.audit.records import Finding, Level, number
from filterkit.pipeline.audit.table import Table
from filterkit.pipeline.split import tiers

TEST_SHARE = 0.1


def check(table: Table) -> Found:
    """Findings tiers: one about the best tier, one about each other tier that is empty."""
    spec = table.spec
    try:
        names, which = tiers(spec, table.scores[table.rows])
    except PluginError as error:
        what = f"tiers are left out: the postfilter {spec.postfilter.use} is not there"
        return [Finding(check="tiers", level="pass", what=what, do=str(error))], {"tiers": None}
    if not names:
        what = f"tiers are left out: the postfilter {spec.postfilter.use} has none"
        return [Finding(check="tiers", level="pass", what=what)], {"tiers": None}
    counts = {name: which.count(number_) for number_, name in enumerate(names)}
    if len(which) < limits.FEW:
        return [Finding(check="tiers", level="pass", what="too few labels to tell how frequent tiers are")], {
            "tiers": counts
        }
    best, *others = names
    found = [_best(best, counts[best], len(which))]
    for name in others:
        if not counts[name]:
            what = f"no label is in the tier {name}"
            do = "Look at the tier's bounds, and at whether the sample holds such articles"
            found.append(Finding(check="tiers", level="warn", what=what, do=do, figures={"tier": name, "labels": 0}))
    return found, {"tiers": counts}


def _best(name: str, count: int, labels: int) -> Finding:
    """Whether the best tier can be learnt and proved."""
    test = round(TEST_SHARE * count)
    figures = {"tier": name, "labels": count, "share": number(count / labels), "test": test, "recall": None}
    start = f"the best tier, {name}, has {count:,} of {labels:,} labels ({count / labels:.1%})"
    need = f"Label until it has {limits.BEST_TIER} or more; search for such articles, or look at the tier's bound"
    if not count:
        what = f"no label is in the best tier, {name}: nothing can be learnt or tested of it"
        return Finding(check="tiers", level="stop", what=what, do=need, figures=figures)
    if count < limits.BEST_TIER_SPLIT:
        what = f"{start}: too few to learn it, and to test whether a student finds it"
        return Finding(check="tiers", level="warn", what=what, do=need, figures=figures)
    low, high = _wilson(limits.TYPICAL_RECALL, test)
    figures["recall"] = [number(low), number(high)]
    what = (
        f"{start}, about {test:,} of them in the test split: a recall of {limits.TYPICAL_RECALL:.0%} will be known as "
        f"{low:.0%} to {high:.0%}"
    )
    level: Level = "warn" if count < limits.BEST_TIER else "pass"
    return Finding(check="tiers", level=level, what=what, do=need if level == "warn" else "", figures=figures)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share seen in n cases (Wilson 1927)."""
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half
