"""`filterkit audit --learning-curve`: how many labels are enough."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from filterkit.cli.common import Stop, counted, print_table
from filterkit.cli.label_sources import given_labels
from filterkit.cli.progress import duration, plain, usd
from filterkit.cli.steps import before_labelling
from filterkit.cli.training import TrainingProgress
from filterkit.config import Config
from filterkit.errors import PluginError
from filterkit.filters import Filter
from filterkit.io import Rejects
from filterkit.pipeline.curve import Curve, Floor, Job, LabelPrice, prepare_job
from filterkit.pipeline.curve.price import listed, paid
from filterkit.pipeline.curve.report import LEARNT, NEXT, floor
from filterkit.pipeline.train import TrainRequest
from filterkit.prompt import sent_text
from filterkit.store import Store

TRAINER = "lite"
QUICK: Mapping[str, Any] = {"search_rows": 300}
"""Its options here, under those of the workspace. The search for hyper-parameters on more articles takes most of a
training and changes the error by less than a hundredth of it."""
OVERHEAD = 100
"""Articles that take about as long to learn from as all of a training that does not grow with them."""
PRICED = 200
"""Texts that a price is estimated for."""


def learning_curve(
    filter: Filter,
    config: Config,
    figures: Mapping[str, Any],
    *,
    store_file: Path,
    files: Sequence[str],
    oracle: str | None,
    model: str | None,
    draws: int | None,
) -> tuple[Curve, LabelPrice, Floor | None]:
    """Measure it on the labels that were audited, whose figures are given. Progress goes to stderr.

    InputError for too few labels, ConfigError for those of several oracles, KeyboardInterrupt after Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="filterkit-curve-") as scratch:
        rows, variant = given_labels(filter, config, store_file, files, oracle, model, Rejects())
        job = prepare_job(filter, rows, _request(config), Path(scratch), variant=variant, draws=draws)
        _say_what_it_takes(job)
        with Stop() as stop, TrainingProgress() as progress:
            curve = job.run(lambda: _interrupted(stop), _tells(job, progress))
        return curve, _price(job, config, store_file), floor(figures, job.info)


def _request(config: Config) -> TrainRequest:
    name, options = config.backend("trainer")
    own = options if name == TRAINER else {}
    return TrainRequest(TRAINER, {**QUICK, **own}, root=config.workspace)


def _interrupted(stop: Stop) -> bool:
    """A stop ends it at once: nothing is kept, so there is nothing to bring to a good end."""
    if stop():
        raise KeyboardInterrupt
    return False


def _say_what_it_takes(job: Job) -> None:
    took = "" if job.seconds is None else f", about {duration(max(1.0, job.seconds))} by the trainer's reckoning"
    sizes = job.plan.sizes
    click.echo(
        f"learning curve: {counted(job.plan.trainings, 'student')} of {job.request.trainer}, of {sizes[0]:,} to "
        f"{sizes[-1]:,} articles, in {counted(len(job.plan.held), 'draw')} (--curve-draws){took}",
        err=True,
    )


def _tells(job: Job, progress: TrainingProgress) -> Callable[[int, int, float], None]:
    started = time.monotonic()
    copies = zip(job.plan.sizes, job.plan.copies, strict=True)
    todo = len(job.plan.held) * sum((size + OVERHEAD) * some for size, some in copies)
    spent = 0

    def tell(done: int, size: int, error: float) -> None:
        nonlocal spent
        spent += size + OVERHEAD
        left = (time.monotonic() - started) * (todo - spent) / spent
        progress({"step": done, "steps": job.plan.trainings, "articles": size, "mae": error, "eta_s": left})

    return tell


def _price(job: Job, config: Config, store_file: Path) -> LabelPrice:
    with contextlib.ExitStack() as stack:
        if store_file.is_file():
            store = stack.enter_context(Store(store_file, create=False))
            found = paid(job.info, store)
            if found is not None:
                return found
    if not config.backends.get("oracle", {}).get("use"):
        return LabelPrice(None, "no oracle is configured")
    try:
        with before_labelling(job.filter, config, store_file) as labelling:
            used = None if labelling.store is None else labelling.store.usage(labelling.question)
            texts = [sent_text(job.filter.spec, article) for article in job.rows.articles[:PRICED]]
            return listed(labelling.pricing, texts, used)
    except PluginError as error:
        return LabelPrice(None, str(error))


def show_curve(curve: Curve, price: LabelPrice, floor: Floor | None) -> None:
    """In words and two tables."""
    click.echo(f"\nlearning curve of {curve.trainer}: MAE on articles that a student did not see, with 90 % intervals")
    rows = ((f"{s.learnt_from:,}", f"{s.mae:.3f}", f"{s.low:.3f}–{s.high:.3f}", str(s.students)) for s in curve.sizes)
    print_table(("learnt from", "MAE", "90 %", "students"), rows)
    law = curve.law
    click.echo(
        f"MAE(n) ≈ {law.a:.3g} + {law.b:.3g} · n^-{law.c:.2g} describes it best; the rest is an average of shapes"
    )
    if curve.used < curve.labels:
        click.echo(f"measured with {curve.used:,} of the labels, drawn at random: beyond them it is extrapolated")
    now = curve.today
    click.echo(
        f"\ntoday's {curve.labels:,} labels, {LEARNT:.0%} of them learnt from: MAE {now.mae:.2f} "
        f"({now.low:.2f}–{now.high:.2f}). More of them would buy:"
    )
    print_table(("labels more", "in all", "MAE", "90 %", "lower by", "90 %", "costs"), _nexts(curve, price))
    for line in _in_words(curve, price, floor):
        click.echo(line)


def _nexts(curve: Curve, price: LabelPrice) -> Iterator[tuple[str, ...]]:
    for one in curve.nexts:
        of = one.forecast
        yield (
            f"{one.more:,}",
            f"{one.labels:,}",
            f"{of.mae:.2f}",
            f"{of.low:.2f}–{of.high:.2f}",
            f"{of.gain:.2f}",
            f"{of.gain_low:.2f}–{of.gain_high:.2f}",
            "unknown" if price.usd is None else usd(one.more * price.usd),
        )


def _in_words(curve: Curve, price: LabelPrice, floor: Floor | None) -> Iterator[str]:
    one = next(one for one in curve.nexts if one.more == NEXT)
    of = one.forecast
    cost = "at an unknown price" if price.usd is None else f"for {usd(NEXT * price.usd)}"
    yield (
        f"the next {NEXT:,} labels would take the MAE from {curve.today.mae:.2f} to {of.mae:.2f} "
        f"({of.low:.2f}–{of.high:.2f}) {cost}"
    )
    if one.doublings > 1:
        times = f"{one.labels / curve.labels:.1f} times"
        yield f"  that is {times} today's labels: a guess, for a curve tells of about twice as many"
    yield f"  a label costs {'an unknown sum' if price.usd is None else usd(price.usd)}: {plain(price.how)}"
    if floor is not None:
        yield f"the oracle differs from itself by {floor.mae:.2f} on average ({floor.pairs:,} repeated samples)" + (
            "; the labels are medians of such answers, and no student can err less than these do"
            if floor.perfect is None
            else f": no number of labels brings a student far below {floor.perfect:.2f}, that over √2"
        )
