"""The gates: what a student must show, asked of the worse end of each figure's interval."""

from __future__ import annotations

import math

from filterkit.manifest import Gate
from filterkit.metrics.records import Metrics
from filterkit.spec import Gates

MORE = "label more"
"""What helps when the reason is too little data."""


def ask(
    metrics: Metrics, gates: Gates, *, missing_intervals: str | None = None
) -> tuple[tuple[Gate, ...], dict[str, str]]:
    """Every gate's answer, and by name why those were left out that mean nothing here.

    A gate that is asked fails where its figure could not be measured or is not finite. Two are always asked: that
    every article was scored, and that no two dimensions are exchanged. `missing_intervals`: why there are no
    prediction intervals although there should be; then the gate of their coverage fails.
    """
    left_out: dict[str, str] = {}
    found = [_all_scored(metrics)]
    if gates.unknown_labels is not None:
        found.append(_unknown_labels(metrics, gates.unknown_labels))
    if gates.mae is not None:
        found.append(_mae(metrics, gates.mae))
    if gates.median_gain is not None:
        found.append(_median_gain(metrics, gates.median_gain))
    if gates.spearman is not None:
        found.append(_spearman(metrics, gates.spearman))
    found.append(_in_place(metrics))
    if gates.top_recall is not None:
        if metrics.tiers is None:
            left_out["top_recall"] = metrics.tiers_left_out or "the filter has no tiers"
        else:
            found.append(_top_recall(metrics, gates.top_recall))
    if gates.coverage is not None:
        if metrics.coverage is None and missing_intervals is None:
            left_out["coverage"] = "no prediction intervals were given"
        else:
            found.append(_coverage(metrics, gates.coverage, missing_intervals))
    if gates.f1 is not None:
        found.append(_f1(metrics, gates.f1))
    return tuple(found), left_out


def _all_scored(metrics: Metrics) -> Gate:
    why = "articles that the student could not score"
    if not metrics.n:
        why = f"there is no article to judge by: {MORE}"
    passed = metrics.failed == 0 and metrics.n > 0
    return Gate(name="all_scored", value=float(metrics.failed), bound=None, limit=0.0, passed=passed, why=why)


def _unknown_labels(metrics: Metrics, limit: float) -> Gate:
    cells = metrics.n * len(metrics.per_dimension)
    share = metrics.unknown / cells if cells else None
    why = "share of the labels of the judged articles that are missing"
    if share is None:
        why = f"there is no label to judge by: {MORE}"
    elif share > limit:
        why = f"{metrics.unknown:,} of {cells:,} labels are missing: label these articles again, or leave them out"
    passed = share is not None and share <= limit
    return Gate(name="unknown_labels", value=share, bound=None, limit=limit, passed=passed, why=why)


def _compared(
    name: str, value: float | None, bound: float | None, limit: float, passed: bool, why: str, none: str
) -> Gate:
    """A gate on one end of an interval. `none`: why there is no figure, or no interval of it."""
    value, bound = (v if v is not None and math.isfinite(v) else None for v in (value, bound))
    measured = value is not None and bound is not None
    return Gate(
        name=name,
        value=value,
        bound=bound,
        limit=limit,
        passed=measured and passed,
        why=why if measured else none,
    )


def _few(metrics: Metrics, figure: str) -> str:
    """Why a figure of all articles cannot be judged."""
    reason = metrics.undefined.get(figure)
    if reason is not None:
        return reason
    return f"too few to be sure of it ({_articles(metrics.n)}): {MORE}"


def _articles(n: int) -> str:
    return f"{n} article{'s' * (n != 1)}"


def _mae(metrics: Metrics, limit: float) -> Gate:
    interval = metrics.intervals.get("mae")
    bound = interval.high if interval else None
    why = "mean absolute error over the scored dimensions, in scale units"
    if metrics.mae is not None and bound is not None and metrics.mae < limit <= bound:
        why = f"the error is below the limit, but {_articles(metrics.n)} cannot make that certain: {MORE}"
    passed = bound is not None and bound < limit
    return _compared("mae", metrics.mae, bound, limit, passed, why, _few(metrics, "mae"))


def _median_gain(metrics: Metrics, limit: float) -> Gate:
    interval = metrics.intervals.get("median_gain")
    bound = interval.low if interval else None
    why = "share by which the error is below that of always answering the median"
    if metrics.median_gain is not None and bound is not None and bound < limit <= metrics.median_gain:
        why = f"the gain reaches the limit, but {_articles(metrics.n)} cannot make that certain: {MORE}"
    passed = bound is not None and bound >= limit and bound > 0
    return _compared("median_gain", metrics.median_gain, bound, limit, passed, why, _few(metrics, "median_gain"))


def _spearman(metrics: Metrics, limit: float) -> Gate:
    """A dimension whose labels differ while its predictions never do counts as 0: it tells nothing apart."""
    scored = {name: m for name, m in metrics.per_dimension.items() if name not in metrics.flags}
    defined = sum(m.spearman is not None for m in scored.values())
    blind = [name for name, m in scored.items() if m.spearman is None and m.median_mae]
    why = "rank correlation with the oracle, mean over the scored dimensions"
    if blind:
        why += f"; always answered alike, which counts as 0: {', '.join(blind)}"
    if not defined:
        value = bound = 0.0 if blind else None
    else:
        share = defined / (defined + len(blind))
        interval = metrics.intervals.get("spearman")
        value = None if metrics.spearman is None else metrics.spearman * share
        bound = None if interval is None else interval.low * share
    passed = bound is not None and bound >= limit
    return _compared("spearman", value, bound, limit, passed, why, _few(metrics, "spearman"))


def _in_place(metrics: Metrics) -> Gate:
    why = "pairs of dimensions that fit each other's labels better than their own"
    if metrics.mixed_up:
        first = metrics.mixed_up[0]
        rest = len(metrics.mixed_up) - 1
        more = f", and {rest} more pair{'s' * (rest > 1)}" if rest else ""
        why = (
            f"the predictions of {first.dimension} and {first.other} fit each other's labels better than their own"
            f"{more}: check the order of the dimensions"
        )
    value = float(len(metrics.mixed_up))
    return Gate(name="dimensions_in_place", value=value, bound=None, limit=0.0, passed=not metrics.mixed_up, why=why)


def _top_recall(metrics: Metrics, limit: float) -> Gate:
    assert metrics.tiers is not None
    best = metrics.tiers.names[0]
    value = metrics.tiers.recall.get(best)
    interval = metrics.tiers.intervals.get(f"recall:{best}")
    bound = interval.low if interval else None
    judged = sum(metrics.tiers.confusion[0])
    why = f"share of the oracle's {best} articles that the student puts there"
    if value is not None and bound is not None and bound < limit <= value:
        why = f"only {_articles(judged)} of the best tier, {best}, can be judged by: {MORE}"
    passed = bound is not None and bound >= limit
    none = f"no article of the best tier, {best}, was judged: {MORE}"
    return _compared("top_recall", value, bound, limit, passed, why, none)


def _coverage(metrics: Metrics, limit: float, missing: str | None) -> Gate:
    found = metrics.coverage
    value = None if found is None else found.mean
    interval = None if found is None else found.intervals.get("mean")
    bound = interval.low if interval else None
    why = "share of labels inside of the 90 % prediction intervals, mean over the scored dimensions"
    if value is not None and bound is not None and bound < limit <= value:
        why = f"the share reaches the limit, but {_articles(metrics.n)} cannot make that certain: {MORE}"
    reason = missing or (found.undefined.get("mean") if found is not None else None)
    none = f"there are no prediction intervals: {reason}" if reason else f"nothing could be measured: {MORE}"
    passed = bound is not None and bound >= limit
    return _compared("coverage", value, bound, limit, passed, why, none)


def _f1(metrics: Metrics, limit: float) -> Gate:
    found = metrics.at_threshold
    value = None if found is None else found.f1
    interval = None if found is None else found.intervals.get("f1")
    bound = interval.low if interval else None
    if found is None:
        why = none = "the filter names no threshold: give it one, or switch the gate off"
    else:
        why = f"F1 of an overall of {found.threshold:g} or more"
        none = f"{found.undefined.get('f1', 'nothing could be measured')}: {MORE}"
        if value is not None and bound is not None and bound < limit <= value:
            why = f"only {_articles(found.positives)} reach the threshold by the oracle: {MORE}"
    passed = bound is not None and bound >= limit
    return _compared("f1", value, bound, limit, passed, why, none)
