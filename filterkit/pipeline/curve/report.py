"""A learning curve from labels to what more of them would buy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.errors import InputError
from filterkit.filters import Filter
from filterkit.manifest import DataInfo
from filterkit.pipeline.curve.fit import LEVEL, Fit, Forecast, fit
from filterkit.pipeline.curve.measure import FOLDS, Measured, Plan, means, measure, noise, plan
from filterkit.pipeline.curve.price import LabelPrice
from filterkit.pipeline.curve.students import seconds_a_draw, students
from filterkit.pipeline.data import Rows, load_data
from filterkit.pipeline.folds import joined
from filterkit.pipeline.prepare import prepare
from filterkit.pipeline.train import TrainRequest
from filterkit.records import Article, Label

LEARNT = 1 - 1 / FOLDS
"""Share of the labels that a student learns from, in the curve as in the splits that prepare makes."""
NEXT = 1000
"""Labels that are always asked about; beside them shares of those that there are."""
SHARES = (0.25, 0.5, 1.0)
MOST = 20_000
"""Labels that a curve is measured with; of more, so many are drawn: training on them all would take too long."""
DRAWS = (5, 4, 3, 2)
"""As many as are foretold to take SECONDS at most."""
SECONDS = 150.0
Z = 1.6448536269514722
"""The normal distribution's 95 % point: 90 % intervals."""


@dataclass(frozen=True)
class Floor:
    """How far the oracle is from itself: the mean absolute difference of two of its answers, over so many pairs.

    perfect: the MAE of a student that answers what the oracle would say on average, if its noise is normal; None where
    labels are medians of several answers, which are less noisy than one.
    """

    pairs: int
    mae: float
    perfect: float | None


def floor(figures: Mapping[str, Any], info: DataInfo) -> Floor | None:
    """The floor in an audit's figures; None without repeated samples."""
    repeats = figures.get("repeats") or {}
    if not repeats.get("pairs") or repeats.get("mae") is None:
        return None
    mae = float(repeats["mae"])
    return Floor(int(repeats["pairs"]), mae, mae / sqrt(2) if info.judgement is None else None)


@dataclass(frozen=True)
class Job:
    """A curve about to be measured. labels: how many there are; rows: those that it is measured with.

    seconds: what it is foretold to take, None where the trainer does not say.
    """

    filter: Filter
    info: DataInfo
    labels: int
    rows: Rows
    request: TrainRequest
    plan: Plan
    seconds: float | None
    work: Path

    def run(
        self, stop: Callable[[], bool] = lambda: False, trained: Callable[[int, int, float], None] = lambda *_: None
    ) -> Curve:
        """Train the students. `trained` hears after each how many are done, its size and its MAE. StoppedEarly."""
        spec, split = self.filter.spec, self.rows.split
        learner = students(spec, split, self.request, self.work, stop)
        scored = list(spec.scored)
        found = measure(
            split.targets[:, scored],
            _numbers(self.rows),
            lambda learnt, held, seed: learner(learnt, held, seed)[:, scored],
            self.plan,
            seed=self.request.seed,
            trained=trained,
        )
        return curve(found, self.labels, self.request)


def prepare_job(
    filter: Filter,
    labelled: Iterable[tuple[Article, Label]],
    request: TrainRequest,
    work: Path,
    *,
    variant: Mapping[str, Any] | None = None,
    draws: int | None = None,
) -> Job:
    """The labels as `prepare` takes them, in the folder `work`, and the plan; nothing is trained.

    Without `draws`, as many as take a few minutes. Raises ConfigError for labels of several oracles, InputError for
    too few.
    """
    prepare(filter, labelled, work / "data", variant=variant, seed=request.seed)
    data = load_data(filter, work / "data")
    rows = joined(data)
    labels = len(rows)
    if labels > MOST:
        rows = rows.take(np.sort(np.random.default_rng(request.seed).permutation(labels)[:MOST]))
    planned = plan(_numbers(rows), draws or DRAWS[0], request.seed)
    seconds = seconds_a_draw(filter.spec, rows.split, request, planned, work)
    if draws is None and seconds is not None:
        fit_in = next((some for some in DRAWS if some * seconds <= SECONDS), DRAWS[-1])
        planned = plan(_numbers(rows), fit_in, request.seed)
    total = None if seconds is None else seconds * len(planned.held)
    return Job(filter, data.info, labels, rows, request, planned, total, work)


def _numbers(rows: Rows) -> Any:
    """Groups of the rows [n] as numbers."""
    return np.unique(np.array(rows.groups, dtype=object), return_inverse=True)[1].ravel()


@dataclass(frozen=True)
class Size:
    """What students that learnt from so many articles err, with the ends of a 90 % interval, and how many they were."""

    learnt_from: int
    mae: float
    low: float
    high: float
    students: int


@dataclass(frozen=True)
class Next:
    """What so many more labels would buy: `labels` in all, of which `learnt_from` are learnt from.

    doublings: how far that is from today; above 1 it is a guess.
    """

    more: int
    labels: int
    learnt_from: float
    doublings: float
    forecast: Forecast


@dataclass(frozen=True)
class Curve:
    """The measured sizes, the power law through them, today's MAE, and what more labels would buy."""

    trainer: str
    options: Mapping[str, Any]
    labels: int
    used: int
    draws: int
    sizes: tuple[Size, ...]
    law: Fit
    today: Forecast
    nexts: tuple[Next, ...]

    def to_dict(self, price: LabelPrice, floor: Floor | None) -> dict[str, Any]:
        """As plain data, ready for JSON; with dollars where the price is known."""
        return {
            "trainer": self.trainer,
            "options": dict(self.options),
            "labels": self.labels,
            "labels_used": self.used,
            "draws": self.draws,
            "level": LEVEL,
            "learnt_share": LEARNT,
            "sizes": [asdict(size) for size in self.sizes],
            "power_law": {"a": self.law.a, "b": self.law.b, "c": self.law.c},
            "today": _plain(self.labels, self.today),
            "next": [
                {
                    "more": one.more,
                    **_plain(one.labels, one.forecast),
                    "doublings": one.doublings,
                    "usd": None if price.usd is None else one.more * price.usd,
                }
                for one in self.nexts
            ],
            "usd_per_label": price.usd,
            "price": price.how,
            "floor": None if floor is None else asdict(floor),
        }


def _plain(labels: int, forecast: Forecast) -> dict[str, Any]:
    values = asdict(forecast)
    return {"labels": labels, "learnt_from": values.pop("size"), **values}


def curve(found: Measured, labels: int, request: TrainRequest) -> Curve:
    """What was measured, fitted. `labels`: how many there are, of which some may have been measured with.

    InputError where students make no error at all.
    """
    errors, covariance = means(found), noise(found)
    if not errors.min() > 0:
        raise InputError(
            "students make no error at all: no label would buy anything", fix="See the audit: are all labels the same?"
        )
    spread = np.sqrt(np.diag(covariance))
    copies = [sum(len(draw.errors[at]) for draw in found.draws) for at in range(len(found.sizes))]
    more = sorted({NEXT, *(round(share * labels) for share in SHARES)})
    law = fit(found.sizes, errors, covariance, LEARNT * labels, [LEARNT * (labels + one) for one in more])
    today, later = law.forecasts[0], law.forecasts[1:]
    return Curve(
        trainer=request.trainer,
        options=request.options,
        labels=labels,
        used=len(found.groups),
        draws=len(found.draws),
        sizes=tuple(
            Size(size, float(mae), float(max(0.0, mae - Z * off)), float(mae + Z * off), some)
            for size, mae, off, some in zip(found.sizes, errors, spread, copies, strict=True)
        ),
        law=law,
        today=today,
        nexts=tuple(
            Next(one, labels + one, LEARNT * (labels + one), float(np.log2(1 + one / labels)), forecast)
            for one, forecast in zip(more, later, strict=True)
        ),
    )
