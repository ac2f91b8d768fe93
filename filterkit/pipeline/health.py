"""What the answers of a run say about the provider as a whole: limited, down, or an oracle that is broken."""

from __future__ import annotations

import time

from filterkit.errors import FilterkitError, PluginError, StoppedEarly
from filterkit.pipeline.asking import Answer
from filterkit.store import Key

DOWN_S = 15.0  # nothing but refusals for so long,
DOWN_QUESTIONS = 10  # of so many questions: the provider is down
BROKEN = 10  # so many errors of the oracle's own code before any label: all would fail
AGAIN = "Run the same command again then; what was labelled is kept"
LATER = "Run the same command again later; what was labelled is kept"


class Health:
    """Hears every answer. After `patience_s` seconds without a good one the run ends."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._limited_since: float | None = None
        self._down_since: float | None = None
        self._refused: set[Key] = set()  # the questions that were refused since then
        self._answered = False
        self._labelled = False
        self._broken = 0

    def hear(self, key: Key, answer: Answer) -> tuple[bool, FilterkitError | None]:
        """Whether the article may be to blame, so that its attempt counts; and what ends the run, if something does."""
        self._labelled = self._labelled or answer.label is not None
        if answer.ends_run is not None:
            return False, answer.ends_run
        if answer.result == "limited":
            return False, self._limited(answer)
        self._limited_since = None
        if answer.result == "transient" and answer.cost_usd is not None:  # what may be billed did reach it
            return self._refused_or_down(key, answer)
        self._down_since = None
        self._refused.clear()
        self._answered = self._answered or answer.result != "transient"
        self._broken += answer.result == "broken"
        if self._broken == BROKEN and not self._labelled:
            return True, PluginError(f"{answer.error}, at every article so far", fix="Mend it, then use --retry-failed")
        return True, None

    def _limited(self, answer: Answer) -> FilterkitError | None:
        now = time.monotonic()
        self._limited_since = self._limited_since or now
        if (answer.wait_s or 0.0) > self._patience_s:
            return StoppedEarly(f"the provider asks to wait for {answer.wait_s:,.0f} s ({answer.error})", fix=AGAIN)
        if now - self._limited_since > self._patience_s:
            only = f"nothing but 'too many requests' for {self._patience_s:g} s"
            return StoppedEarly(f"the provider has answered {only} ({answer.error})", fix=LATER)
        return None

    def _refused_or_down(self, key: Key, answer: Answer) -> tuple[bool, FilterkitError | None]:
        """A provider that cannot be reached, or has refused everything for a while, is down: no article is to blame.

        A few articles that it always refuses, at the end of a run, are no such case.
        """
        now = time.monotonic()
        self._refused.add(key)
        self._down_since = self._down_since or now
        down_s = now - self._down_since
        never = answer.unreachable and not self._answered and down_s > DOWN_S
        down = down_s > DOWN_S and len(self._refused) >= DOWN_QUESTIONS
        if never or (down_s > self._patience_s and (down or answer.unreachable)):
            what = f"the provider has answered nothing but errors for {down_s:.0f} s ({answer.error})"
            return False, StoppedEarly(what, fix=f"Check network and address. {LATER}")
        return not (answer.unreachable or down), None
