"""One section of the report, and what sections need of the contents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from filterkit.report.contents import Contents
from filterkit.report.elements import Child, el

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, its heading, what it is about in one sentence, and its content."""

    id: str
    title: str
    lead: Child
    content: tuple[Child, ...]

    def drawn(self) -> Element:
        """The section as an element that is named by its heading."""
        heading = el("h2", self.title, id=f"{self.id}-title")
        lead = el("p", self.lead, class_="lead") if self.lead is not None else None
        return el("section", heading, lead, *self.content, id=self.id, aria_labelledby=f"{self.id}-title")


Maker = Callable[[Contents], Section | None]


def pairs(contents: Contents, column: int) -> tuple[F64, F64]:
    """The oracle's and the student's scores of one dimension, where both are known: two arrays [m]."""
    label = contents.judged.labels[:, column].astype(np.float64)
    score = contents.judged.scores[:, column].astype(np.float64)
    both = np.isfinite(label) & np.isfinite(score)
    return label[both], score[both]


def overall_pairs(contents: Contents) -> tuple[F64, F64]:
    """The oracle's and the student's weighted overall, before caps, where both are known: two arrays [m]."""
    weights = np.asarray(contents.spec.weights)
    counted = np.flatnonzero(weights)
    label, score = (
        values[:, counted].astype(np.float64) @ weights[counted]
        for values in (contents.judged.labels, contents.judged.scores)
    )
    both = np.isfinite(label) & np.isfinite(score)
    return label[both], score[both]
