"""How far labelling is: a live panel on a terminal, plain lines now and then elsewhere.

Rich is imported only where there is a terminal to draw on.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from filterkit.cli.common import counted, on_terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

    from filterkit.io import Rejects
    from filterkit.pipeline.tally import LabelReport

T = TypeVar("T")

LINE_EVERY_S = 10.0
RATE_OVER_S = 30.0
REDRAWS_A_SECOND = 4
# control characters (terminals obey them), bidi marks and line separators (they rearrange what stands around them)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")


def plain(text: str, most: int = 300) -> str:
    """Words of others, made fit for a terminal: one line, no control characters, not too long."""
    text = _UNSAFE.sub(" ", text)
    return text if len(text) <= most else text[: most - 1] + "…"


class Total:
    """How many articles there are, counted on the side; lines found to be none (`rejects`) are taken off, and so many
    that are left out."""

    def __init__(
        self,
        files: Sequence[str | Path],
        limit: int | None = None,
        rejects: Rejects | None = None,
        left_out: int = 0,
    ) -> None:
        self._left_out = left_out
        self._lines: int | None = None
        self._files, self._limit, self._rejects = files, limit, rejects
        threading.Thread(target=self._count, name="filterkit-count", daemon=True).start()

    @property
    def articles(self) -> int | None:
        """None until it is known."""
        if self._lines is None:
            return None
        articles = self._lines - self._left_out - (self._rejects.count if self._rejects else 0)
        return articles if self._limit is None else min(articles, self._limit)

    def _count(self) -> None:
        from filterkit.errors import FilterkitError
        from filterkit.io import expand
        from filterkit.rows import count_rows

        total = 0
        with contextlib.suppress(FilterkitError, OSError):  # the reader says what is wrong
            for path in expand(self._files):
                total += count_rows(path)
                if self._limit is not None and total - self._left_out >= self._limit:
                    break
            self._lines = total


class LabelProgress:
    """Shows the reports of a labelling run for as long as its block lasts: `label(…, progress=this)`.

    total: how many articles there are, if that can be told; title: what is being done; budget: (dollars spent before,
    dollars at most); stopping: whether the run was asked to stop.
    """

    def __init__(
        self,
        total: Total | None = None,
        *,
        title: str = "label",
        budget: tuple[float, float] | None = None,
        stopping: Callable[[], bool] = lambda: False,
        every_s: float = LINE_EVERY_S,
    ) -> None:
        self._total, self._title, self._budget, self._stopping = total, title, budget, stopping
        self._every_s = every_s
        self._report: LabelReport | None = None
        self._started = time.monotonic()
        self._points: deque[tuple[float, int, int]] = deque([(self._started, 0, 0)])
        self._over = threading.Event()
        self._live: Any = None
        self._lines = 0
        self._complete = False

    def __call__(self, report: LabelReport) -> None:
        """The newest report. Cheap: it is looked at only when something is drawn."""
        self._report = report

    def __enter__(self) -> LabelProgress:
        if can_draw():
            self._live = self._panel()
            self._live.start()
        else:
            self._ticker = threading.Thread(target=self._tick, name="filterkit-progress", daemon=True)
            self._ticker.start()
        return self

    def __exit__(self, error: object, *_: object) -> None:
        self._over.set()
        self._complete = error is None and self._report is not None and self._report.stopped is None
        if self._live is not None:
            self._live.stop()
            return
        self._ticker.join()
        if self._lines:  # a log that was begun ends with how it ended
            self._say()

    # Lines

    def _tick(self) -> None:
        while not self._over.wait(self._every_s):
            self._lines += 1
            self._say()

    def _say(self) -> None:
        report = self._report
        if report is None:
            return
        left = self._eta(report)
        parts = [
            self._done_of(report),
            f"{report.new:,} labelled, {report.already:,} already, {report.failed:,} failed",
            self._speed(report),
            self._money(report),
            f"{left} left" if left else "",
        ]
        click.echo("; ".join(part for part in parts if part), err=True)

    # The panel

    def _panel(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        return Live(
            get_renderable=self._draw,
            console=Console(stderr=True),
            refresh_per_second=REDRAWS_A_SECOND,
            transient=True,
        )

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        report = self._report
        if report is None:
            return Text(f"{self._title}: reading …", no_wrap=True, overflow="ellipsis")

        def line(text: str, style: str = "") -> Text:
            return Text(text, style, no_wrap=True, overflow="ellipsis")

        total, left = self._total_of(report), self._eta(report)
        failed = "red" if report.failed else ""
        rows: list[RenderableType] = [
            Padding(ProgressBar(total=total, completed=done(report), pulse=total is None), 0),  # ends the bar's line
            line(f"{self._done_of(report)}{f' · {left} left' if left else ''}", "bold"),
            line(f"{report.new:,} labelled · {report.already:,} already · {report.duplicates:,} same text"),
            line(f"{report.failed:,} failed", failed),
            line(self._speed(report)),
            line(self._money(report)),
        ]
        if report.errors:
            kinds = ", ".join(f"{kind} {count:,}×" for kind, count in sorted(dict(report.errors).items()))
            rows.append(line(f"errors: {kinds}", "yellow"))
            if report.last_error:
                rows.append(line(f"newest: {plain(report.last_error)}", "yellow"))
        rows.append(Text(self._hint(report), "dim"))  # wrapped where it must be: somebody waits for it
        return Panel(Group(*rows), title=Text(self._title), title_align="left")

    def _hint(self, report: LabelReport) -> str:
        if self._stopping():
            return f"Stopping: waiting for {report.in_flight:,} in flight. Ctrl-C again stops at once."
        return "Ctrl-C finishes what is in flight and stops."

    # What both say

    def _total_of(self, report: LabelReport) -> int | None:
        if self._complete:  # empty lines were counted too
            return done(report)
        total = None if self._total is None else self._total.articles
        return None if total is None else max(total, done(report))

    def _done_of(self, report: LabelReport) -> str:
        total = self._total_of(report)
        if not total:
            return counted(done(report), "article")
        return f"{done(report):,} of {counted(total, 'article')} ({done(report) / total:.0%})"

    def _speed(self, report: LabelReport) -> str:
        answered, _ = self._rates(report)
        speed = f"{answered:,.1f} a second · " if answered > 0 else ""  # none yet, or nothing is asked
        return f"{speed}{report.in_flight:,} of {report.window:,} in flight"

    def _money(self, report: LabelReport) -> str:
        tokens = f"{short(report.input_tokens)} tokens in, {short(report.output_tokens)} out"
        if report.cost_usd is None:
            return f"cost unknown · {tokens}"
        if self._budget is None:
            return f"{usd(report.cost_usd)} · {tokens}"
        before, most = self._budget
        return f"{usd(before + report.cost_usd)} of {usd(most)} · {tokens}"

    def _rates(self, report: LabelReport) -> tuple[float, float]:
        """Questions answered, and articles done with, a second, over the last while."""
        now = time.monotonic()
        if now - self._points[-1][0] >= 0.2:
            self._points.append((now, report.new + report.failed - report.failed_before, done(report)))
        while len(self._points) > 2 and self._points[1][0] <= now - RATE_OVER_S:
            self._points.popleft()
        (then, answered, finished), (last, answered_now, finished_now) = self._points[0], self._points[-1]
        took = max(last - then, 1e-9)
        return (answered_now - answered) / took, (finished_now - finished) / took

    def _eta(self, report: LabelReport) -> str:
        """How long the rest takes at the recent rate; empty while that cannot be told."""
        total = self._total_of(report)
        _, rate = self._rates(report)
        if total is None or total == done(report) or rate <= 0 or time.monotonic() - self._started < 1.0:
            return ""
        return duration((total - done(report)) / rate)


def can_draw() -> bool:
    """Whether a live panel makes sense."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("", "dumb", "unknown")


def done(report: LabelReport) -> int:
    """Articles whose question is settled, or left to a batch job."""
    return report.already + report.new + report.duplicates + report.failed + report.in_jobs


def usd(amount: float) -> str:
    """Dollars, with as many digits as say something: $12.35, $0.30, $0.0042."""
    digits = 2 if amount >= 0.1 or amount <= 0 else min(9, 1 - floor(log10(amount)))
    return f"${amount:,.{digits}f}"


def short(count: float) -> str:
    """A large number in few characters: 950, 12.3k, 4.56M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:,.0f}"


def duration(seconds: float) -> str:
    """A time in the two units that matter."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def watched(articles: Iterable[T]) -> Iterator[T]:
    """The same articles; on a terminal, somebody sees that they are being read."""
    live, said, last = on_terminal(), False, time.monotonic()
    for number, article in enumerate(articles, 1):
        if live and number % 1000 == 0 and time.monotonic() - last > 0.5:
            last, said = time.monotonic(), True
            click.echo(f"\r\x1b[Klooked at {number:,} articles", err=True, nl=False)
        yield article
    if said:
        click.echo("\r\x1b[K", err=True, nl=False)
