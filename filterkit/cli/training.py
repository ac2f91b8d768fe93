"""How far training is: a live line on a terminal, a line per epoch or half minute elsewhere; all of it on stderr."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Any

import click

from filterkit.cli.progress import REDRAWS_A_SECOND, can_draw, duration

if TYPE_CHECKING:
    from rich.text import Text

LINE_EVERY_S = 30.0
_KNOWN = ("step", "steps", "epoch", "loss", "examples_per_s", "eta_s")
_MOST_OTHERS = 4


class TrainingProgress:
    """Shows what a trainer emits for as long as its block lasts: `train(…, progress=this)`.

    step of steps, epoch, loss, examples_per_s and eta_s are shown as such, other figures by their name. What came
    with a figure of the val split (val_…) at an epoch's end stays on the screen.
    """

    def __init__(self, *, every_s: float = LINE_EVERY_S) -> None:
        self._every_s = every_s
        self._values: dict[str, float] = {}
        self._heard = self._said = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> TrainingProgress:
        if can_draw():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                get_renderable=self._draw,
                console=Console(stderr=True),
                refresh_per_second=REDRAWS_A_SECOND,
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, values: dict[str, Any]) -> None:
        """The newest values. Never raises: what a plugin sends may be anything."""
        self._values = {k: float(v) for k, v in values.items() if k.isidentifier() and _is_number(v)}
        self._heard = time.monotonic()
        ends_epoch = "epoch" in self._values and any(name.startswith("val_") for name in self._values)
        due = self._live is None and self._heard - self._said >= self._every_s
        line = self._line()
        if line and (ends_epoch or due):
            self._said = self._heard
            self._say(line)

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # whoever read it went away; training goes on
            if self._live is None:
                click.echo(f"training: {line}", err=True)
            else:
                self._live.console.print(f"training: {line}", markup=False, highlight=False)

    def _draw(self) -> Text:
        from rich.text import Text

        return Text(f"training: {self._line() or '…'}", no_wrap=True, overflow="ellipsis")

    def _line(self) -> str:
        values = self._values
        parts = []
        if "step" in values:
            parts.append(_steps(values["step"], values.get("steps", 0)))
        if "epoch" in values:
            parts.append(f"epoch {values['epoch']:.4g}")
        if "loss" in values:
            parts.append(f"loss {values['loss']:.4g}")
        others = [name for name in values if name not in _KNOWN]
        parts += [f"{name} {values[name]:.4g}" for name in others[:_MOST_OTHERS]]
        if "examples_per_s" in values:
            parts.append(f"{values['examples_per_s']:,.3g} articles a second")
        if "eta_s" in values:
            left = max(0.0, values["eta_s"] - (time.monotonic() - self._heard))
            parts.append(f"{duration(left)} left")
        return " · ".join(parts)


def _steps(step: float, steps: float) -> str:
    return f"step {step:,.0f} of {steps:,.0f} ({step / steps:.0%})" if steps > 0 else f"step {step:,.0f}"


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str | bytes | bool) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False
