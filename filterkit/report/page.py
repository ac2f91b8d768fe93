"""The report as one page: the verdict first, then what a reviewer looks at, in the order of the questions."""

from __future__ import annotations

from pathlib import Path

from filterkit.report.calibration import calibration
from filterkit.report.comparisons import comparison, references, slices
from filterkit.report.contents import Contents
from filterkit.report.dimensions import residuals, scores
from filterkit.report.elements import el, page
from filterkit.report.misses import misses
from filterkit.report.provenance import cost, provenance
from filterkit.report.section import Maker
from filterkit.report.tiers import flags, tiers
from filterkit.report.training import learning, prevalence, uncertainty
from filterkit.report.verdict import gates, headline, top

_SECTIONS: tuple[Maker, ...] = (
    gates, scores, residuals, calibration, tiers, flags, uncertainty, learning, prevalence, slices, references,
    comparison, misses, cost, provenance,
)  # fmt: skip


def render(contents: Contents) -> bytes:
    """report.html: one self-contained file, UTF-8, without script, that requests nothing when it is opened.

    Every text that is drawn (articles, labels, names, notes) counts as hostile: it is escaped by the serialiser,
    loses its control characters and is bounded, so the size depends on dimensions and slices, hardly on articles.
    """
    made = [section for section in (make(contents) for make in _SECTIONS) if section is not None]
    links = [el("li", el("a", section.title, href=f"#{section.id}")) for section in made]
    spec = contents.spec
    about = f"{spec.name} {spec.version}"
    return page(
        f"{headline(contents)}: {about}",
        (Path(__file__).parent / "report.css").read_text(encoding="utf-8"),
        el("a", "Skip to the sections", href=f"#{made[0].id}", class_="skip"),
        el("header", el("p", "Validation of ", el("b", spec.name), f" version {spec.version}")),
        el(
            "main",
            top(contents),
            el("nav", el("ul", links), aria_label="Sections"),
            *(section.drawn() for section in made),
        ),
        el("footer", el("p", f"filterkit report on {about}. This file holds everything it shows and loads nothing.")),
    )
