"""Contents of a report, invented: articles, an oracle, a student that is near it, and all that was measured of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from filterkit.calibrator import Calibrator, DimensionMap
from filterkit.manifest import DataInfo, FileEntry, Gate, GateRecord, Manifest, student_hash
from filterkit.metrics.records import (
    Band,
    BinaryMetrics,
    Comparison,
    CoverageMetrics,
    Cut,
    Difference,
    DimensionMetrics,
    Interval,
    Metrics,
    Reference,
    Slice,
    TierMetrics,
)
from filterkit.records import F32, Article
from filterkit.report import Contents, Judged, LabelCost
from filterkit.spec import FilterSpec

DAY = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
NAMES = ("agency", "progress", "collective_benefit", "connection", "innovation", "justice", "resilience", "wonder")
TIERS = ("high", "medium", "low")
_WORDS = (
    "mill",
    "opened",
    "again",
    "after",
    "people",
    "of",
    "both",
    "villages",
    "repaired",
    "its",
    "wheel",
    "together",
)


def spec(names: Sequence[str] = NAMES, *, flag: bool = True) -> FilterSpec:
    """A filter with tiers, a threshold, and (last) a flag."""
    scored = [{"name": name, "weight": 1 / len(names), "description": f"how much {name}"} for name in names]
    flags = [{"name": "is_advert", "role": "flag"}] if flag else []
    return FilterSpec.model_validate(
        {
            "schema": 1,
            "name": "tiny",
            "version": "1",
            "dimensions": [*scored, *flags],
            "postfilter": {"use": "tiers", "tiers": [{"name": t} for t in TIERS]},
            "threshold": 5,
        }
    )


def articles(n: int, seed: int = 0) -> list[Article]:
    """Invented articles of three languages and two sources."""
    random = np.random.default_rng(seed)
    return [
        Article(
            id=f"a{i}",
            title=" ".join(random.choice(_WORDS, 7)).capitalize(),
            content=". ".join(" ".join(random.choice(_WORDS, 12)).capitalize() for _ in range(25)),
            url=f"https://news.example/{i}",
            source=("courier", "herald")[i % 2],
            published_date="2026-01-02",
            language=("en", "de", "fr")[i % 3],
        )
        for i in range(n)
    ]


def contents(
    n: int = 200, names: Sequence[str] = NAMES, *, passed: bool = True, seed: int = 0, **more: Any
) -> Contents:
    """A whole validation of `n` articles. `more` replaces fields of the contents."""
    filter_, random = spec(names), np.random.default_rng(seed)
    d = len(filter_.names)
    kind = random.beta(1.1, 2.2, (n, 1)) * 10
    labels = np.clip(np.rint(kind + random.normal(0, 1.6, (n, d))), 0, 10).astype(np.float32)
    raw = np.clip(2 + 0.6 * labels + random.normal(0, 0.55 if passed else 1.6, (n, d)), 0, 10).astype(np.float32)
    scores = np.clip((raw - 1.6) / 0.68, 0, 10).astype(np.float32)
    weights = np.array(filter_.weights)
    total, oracle_total = (scores @ weights).astype(np.float32), (labels @ weights).astype(np.float32)
    tier, oracle_tier = (np.where(t >= 6, 0, np.where(t >= 3, 1, 2)).astype(np.int16) for t in (total, oracle_total))
    judged = Judged(
        articles=articles(n, seed),
        labels=labels,
        scores=scores,
        raw=raw,
        intervals=np.stack([scores - 1.8, scores + 1.8], axis=-1),
        overall=total,
        oracle_overall=oracle_total,
        overall_intervals=np.stack([total - 1, total + 1], axis=-1),
        tiers=TIERS,
        tier=tier,
        oracle_tier=oracle_tier,
        sure=np.abs(total - 5) > 1,
        evidence=[{name: f"quoted for {name}" for name in filter_.names[:3]} for _ in range(n)],
    )
    metrics = measured(filter_, judged)
    fields: dict[str, Any] = {
        "spec": filter_,
        "manifest": manifest(filter_, metrics),
        "metrics": metrics,
        "judged": judged,
        "slices": slices(metrics),
        "references": references(filter_.names),
        "comparison": comparison(n),
        "cost": LabelCost(articles=n * 5, requests=n * 5 + 12, usd=1.25, input_tokens=4_000_000, output_tokens=250_000),
        "prevalence": {
            "train": {"high": 40, "medium": 300, "low": 460},
            "val": {"high": 5, "medium": 40, "low": 55},
            "test": {"high": 6, "medium": 36, "low": 58},
        },
    }
    return Contents(**{**fields, **more})


def _around(value: float, half: float) -> Interval:
    return Interval(low=value - half, high=value + half)


def column(label: F32, score: F32) -> DimensionMetrics:
    """Figures of one column, with rough intervals; what is undefined says why."""
    known = np.isfinite(label) & np.isfinite(score)
    t, p = label[known].astype(float), score[known].astype(float)
    if not len(t):
        names = ("mae", "rmse", "r2", "bias", "spearman", "within_1", "median", "median_mae", "median_gain")
        return DimensionMetrics(n=0, undefined=dict.fromkeys(names, "no article has both scores"))
    error, half = p - t, 1.5 / np.sqrt(len(t))
    mae, median = float(np.abs(error).mean()), float(np.median(t))
    median_mae = float(np.abs(t - median).mean())
    varied = t.std() > 0 and p.std() > 0
    ranks = [np.argsort(np.argsort(v)) for v in (t, p)]
    rho = float(np.corrcoef(*ranks)[0, 1]) if varied else None
    undefined = (
        {} if varied else {"spearman": "the oracle's scores are constant", "r2": "the oracle's scores are constant"}
    )
    return DimensionMetrics(
        n=len(t),
        mae=mae,
        rmse=float(np.sqrt((error**2).mean())),
        r2=float(1 - (error**2).sum() / ((t - t.mean()) ** 2).sum()) if varied else None,
        bias=float(error.mean()),
        spearman=rho,
        within_1=float((np.abs(error) <= 1).mean()),
        median=median,
        median_mae=median_mae,
        median_gain=1 - mae / median_mae if median_mae else None,
        bands=tuple(_band(t, error, low, low + 2) for low in (0, 2, 4, 6, 8)),
        intervals={
            **{name: _around(mae, half) for name in ("mae", "rmse", "within_1", "median_gain")},
            "bias": _around(-1.25, half),
            **({"spearman": _around(rho, half / 2), "r2": _around(-0.25, half)} if rho is not None else {}),
        },
        undefined=undefined,
    )


def _band(label: np.ndarray[Any, Any], error: np.ndarray[Any, Any], low: float, high: float) -> Band:
    here = error[(label >= low) & ((label < high) | (high == 10))]
    if not len(here):
        return Band(low=low, high=high, n=0, mae=None, bias=None, undefined={"mae": "no article", "bias": "no article"})
    bias = float(here.mean())
    half = 2.0 / np.sqrt(len(here))
    return Band(
        low=low,
        high=high,
        n=len(here),
        mae=float(np.abs(here).mean()),
        bias=bias,
        intervals={"bias": _around(bias, half)},
    )


def measured(filter_: FilterSpec, judged: Judged) -> Metrics:
    """Metrics of what was judged."""
    each = {name: column(judged.labels[:, i], judged.scores[:, i]) for i, name in enumerate(filter_.names)}
    scored = [each[filter_.names[i]] for i in filter_.scored]

    def mean(field: str) -> float | None:
        known = [v for one in scored if (v := getattr(one, field)) is not None]
        return float(np.mean(known)) if known else None

    n, mae, rho = len(judged.labels), mean("mae"), mean("spearman")
    half = 0.8 / np.sqrt(max(n, 1))
    confusion = np.zeros((3, 3), dtype=int)
    for row, col in zip(judged.oracle_tier, judged.tier, strict=True):
        confusion[row, col] += 1
    return Metrics(
        n=n,
        failed=0,
        unknown=0,
        mae=mae,
        rmse=mean("rmse"),
        r2=mean("r2"),
        bias=mean("bias"),
        spearman=rho,
        within_1=mean("within_1"),
        median_mae=mean("median_mae"),
        median_gain=mean("median_gain"),
        per_dimension=each,
        overall=column(judged.oracle_overall, judged.overall),
        flags={"is_advert": binary(5.0, n)},
        at_threshold=binary(5.0, n),
        tiers=tier_metrics(confusion),
        cuts=tuple(
            Cut(k=k, recall=0.7, ndcg=0.9, intervals={"recall": _around(0.7, 0.1), "ndcg": _around(0.9, 0.05)})
            for k in (10, 50)
            if k <= n
        ),
        coverage=CoverageMetrics(
            nominal=0.9,
            mean=0.89,
            overall=0.91,
            per_dimension={name: 0.9 - 0.01 * i / len(each) for i, name in enumerate(filter_.names)},
            width=3.6,
            intervals={"mean": _around(0.89, 0.03), "overall": _around(0.91, 0.03)},
        ),
        rounds=1000,
        rank_rounds=500,
        small="40 articles prove little: intervals are wide." if n < 50 else None,
        intervals={
            **({"mae": _around(mae, half)} if mae is not None else {}),
            **({"spearman": _around(rho, half / 2)} if rho is not None else {}),
        },
        undefined={name: "no article has both scores" for name in ("mae", "spearman") if not n},
    )


def binary(threshold: float, n: int) -> BinaryMetrics:
    """Yes or no, invented."""
    return BinaryMetrics(
        threshold=threshold, n=n, positives=n // 5, predicted=n // 6, precision=0.8, recall=0.7, f1=0.75,
        intervals={"precision": _around(0.8, 0.1), "recall": _around(0.7, 0.1), "f1": _around(0.75, 0.08)},
    )  # fmt: skip


def tier_metrics(confusion: np.ndarray[Any, Any]) -> TierMetrics:
    """Recall and precision out of a confusion."""
    right, rows, cols = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = {t: float(right[i] / rows[i]) if rows[i] else None for i, t in enumerate(TIERS)}
    precision = {t: float(right[i] / cols[i]) if cols[i] else None for i, t in enumerate(TIERS)}
    both = {"recall": recall, "precision": precision}
    intervals = {f"{k}:{t}": _around(v, 0.08) for k, values in both.items() for t, v in values.items() if v is not None}
    undefined = {f"{k}:{t}": f"no article is in {t}" for k, v in both.items() for t in TIERS if v[t] is None}
    total = int(confusion.sum())
    return TierMetrics(
        names=TIERS,
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        accuracy=float(right.sum() / total) if total else None,
        recall=recall,
        precision=precision,
        average_precision=0.84,
        intervals={**intervals, "accuracy": _around(0.8, 0.05), "average_precision": _around(0.84, 0.06)},
        undefined=undefined,
    )


def gates(metrics: Metrics) -> tuple[Gate, ...]:
    """The answers of some gates to these metrics."""
    tiers, coverage = metrics.tiers, metrics.coverage
    assert tiers is not None
    assert coverage is not None
    found = (
        ("mae", metrics.mae, metrics.intervals.get("mae"), 1.0, "mean over scored dimensions"),
        (
            "spearman",
            metrics.spearman,
            metrics.intervals.get("spearman"),
            0.3,
            "mean over scored dimensions",
        ),
        ("top_recall", tiers.recall["high"], tiers.intervals.get("recall:high"), 0.3, "share of the best tier found"),
        ("coverage", coverage.mean, coverage.intervals.get("mean"), 0.8, "share of scores inside of their intervals"),
    )
    return tuple(gate(name, value, interval, limit, why) for name, value, interval, limit, why in found)


def gate(name: str, value: float | None, interval: Interval | None, limit: float, why: str) -> Gate:
    """One gate that compares the worse end of its interval."""
    if value is None or interval is None:
        return Gate(name=name, value=value, bound=None, limit=limit, passed=False, why=f"undefined: {why}")
    bound = interval.high if name == "mae" else interval.low
    passed = bound < limit if name == "mae" else bound >= limit
    return Gate(name=name, value=value, bound=bound, limit=limit, passed=passed, why=why)


def manifest(filter_: FilterSpec, metrics: Metrics) -> Manifest:
    """A student's manifest with a calibrator, a history and a gate record."""
    d = len(filter_.names)
    lines = DimensionMap(method="shift", x=(1.6, 8.4), y=(0.0, 10.0))
    maps = tuple(lines if i % 4 else DimensionMap() for i in range(d))
    calibrator = Calibrator(maps=maps, gain=tuple(0.0 if m.method == "none" else 0.12 for m in maps))
    files = {"weights.safetensors": FileEntry(size=16_000_000, sha256="ab" * 32)}
    hash_ = student_hash(files, filter_.target_hash, calibrator)
    steps = range(10, 210, 10)
    return Manifest(
        spec=filter_,
        request_hash="cd" * 32,
        target_hash=filter_.target_hash,
        policy_hash=filter_.policy_hash,
        student_hash=hash_,
        run_id="20260304-093000",
        format="toy",
        files=files,
        trainer="toy",
        trainer_options={"epochs": 3, "nested": {"deep": [1, 2]}},
        seed=7,
        hyperparameters={"lr": 3e-4},
        history=[
            {"step": s, "train_loss": 2 / s**0.5, "val_loss": 2.2 / s**0.48, "val_mae": 2 / s**0.2, "lr": 1e-4}
            for s in steps
        ],
        base_model="example/base-135m",
        trainable=1_000_000,
        total=135_000_000,
        calibrator=calibrator,
        data=DataInfo(
            fingerprint="ef" * 32,
            request_hash="cd" * 32,
            oracles=("replay/model-1",),
            train=800,
            val=100,
            test=metrics.n,
        ),
        gates=GateRecord(
            student_hash=hash_,
            policy_hash=filter_.policy_hash,
            data_fingerprint="ef" * 32,
            method=f"test split, {metrics.n} articles",
            at=DAY,
            gates=gates(metrics),
            left_out={"f1": "the filter asks for none"},
        ),
        packages={"python": "3.11", "filterkit": "0.1.0", "numpy": "2.0"},
        created=DAY,
    )


def slices(metrics: Metrics) -> list[Slice]:
    """A few slices, of which French is surely worse."""
    groups: Mapping[str, Sequence[str]] = {
        "language": ("en", "de", "fr"), "source": ("courier", "herald"), "length": ("up to 500", "more than 500")
    }  # fmt: skip
    return [
        Slice(
            kind=kind,  # type: ignore[arg-type]
            name=name,
            n=max(metrics.n // 3, 1),
            mae=0.8 + 0.3 * (name == "fr"),
            bias=0.1,
            rest=0.8,
            worse=0.3 * (name == "fr"),
            intervals={
                "mae": _around(0.8 + 0.3 * (name == "fr"), 0.15),
                "worse": _around(0.3 * (name == "fr"), 0.2),
                "bias": _around(0.1, 0.1),
            },
        )
        for kind, names in groups.items()
        for name in names
    ]


def references(names: Sequence[str]) -> list[Reference]:
    """A second model and people."""
    each = dict.fromkeys(names, 0.6)
    return [
        Reference(who="model-2", kind="oracle", n=90, mae=0.6, spearman=0.9, student_mae=0.8, per_dimension=each),
        Reference(
            who="two readers", kind="people", n=40, mae=0.95, spearman=None, student_mae=1.0,
            undefined={"spearman": "too few articles"},
        ),
    ]  # fmt: skip


def comparison(n: int) -> Comparison:
    """Better than another student, as far as can be told."""
    mae = Difference(
        name="mae", first=0.81, second=0.93, difference=-0.12, lower_is_better=True, better="first",
        intervals={"difference": _around(-0.12, 0.05)},
    )  # fmt: skip
    rho = Difference(
        name="spearman", first=0.82, second=0.81, difference=0.01, lower_is_better=False, better=None,
        intervals={"difference": _around(0.01, 0.03)},
    )  # fmt: skip
    return Comparison(other="students/older", other_hash="12" * 32, n=n, differences=(mae, rho), better="first")
