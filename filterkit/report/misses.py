"""The articles that the student got most wrong, with their text beside both scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

import numpy as np

from filterkit.records import Article
from filterkit.report.contents import Contents
from filterkit.report.elements import Child, clip, el
from filterkit.report.figures import digits_of, number, signed
from filterkit.report.section import Section
from filterkit.report.tables import Cell, Head, Range, breakable, scale_head, strip, table

_MOST = 12
_TEXT, _TITLE, _NAME, _EVIDENCE = 1_500, 200, 80, 300


def misses(contents: Contents) -> Section | None:
    """The articles with the largest error of the overall, the largest first."""
    judged = contents.judged
    error = np.abs(judged.overall.astype(np.float64) - judged.oracle_overall.astype(np.float64))
    known = np.flatnonzero(np.isfinite(error))
    if not len(known):
        return None
    rows = known[np.argsort(-error[known], kind="stable")][:_MOST]
    shown = [_miss(contents, int(row)) for row in rows if error[row] > 0]
    if not shown:
        return None
    many = "article" if len(shown) == 1 else f"{len(shown)} articles"
    lead = f"The {many} with the largest error of the overall, after caps. Is the student mistaken, or the oracle?"
    return Section("misses", "Worst misses", lead, (el("div", shown, class_="misses"),))


def _miss(contents: Contents, row: int) -> Element:
    judged, digits = contents.judged, digits_of(contents.spec.scale)
    article = judged.articles[row]
    oracle, student = float(judged.oracle_overall[row]), float(judged.overall[row])
    title = clip(article.title or article.id, _TITLE)
    summary = el(
        "summary",
        el("span", el("bdi", title), class_="title"),
        el("span", _about(article), class_="about"),
        el(
            "span",
            f"oracle {number(oracle, digits)} → student {number(student, digits)} ({signed(student - oracle, digits)})",
            class_="scores",
        ),
    )
    body = el("div", _scores(contents, row), _text(article), class_="side-by-side")
    return el("details", summary, _tiers(contents, row), body, class_="miss")


def _about(article: Article) -> list[Child]:
    """Source, language, day and host of an article; its address is told, never linked."""
    known = [
        article.source,
        article.language,
        article.published_date and article.published_date[:10],
        _host(article.url),
    ]
    parts: list[Child] = []
    for one in filter(None, known):
        parts += [" · " if parts else None, el("bdi", clip(one, _NAME))]
    return parts


def _host(url: str | None) -> str | None:
    try:
        return urlsplit(url[:2_000]).hostname if url else None
    except ValueError:
        return None


def _tiers(contents: Contents, row: int) -> Element | None:
    judged = contents.judged
    names = [
        judged.tiers[t] if 0 <= t < len(judged.tiers) else None for t in (judged.oracle_tier[row], judged.tier[row])
    ]
    if None in names:
        return None
    sure = "" if judged.sure is None or judged.sure[row] else "; the student is not sure"
    oracle, student = (clip(name or "", _NAME) for name in names)
    told = (
        f"Both put it into “{oracle}”{sure}."
        if oracle == student
        else (f"The oracle's scores put it into “{oracle}”; the student's into “{student}”{sure}.")
    )
    return el("p", told, class_="lead")


def _scores(contents: Contents, row: int) -> Element:
    judged, scale, digits = contents.judged, contents.spec.scale, digits_of(contents.spec.scale)
    evidence: Mapping[str, str] = judged.evidence[row] if row < len(judged.evidence) else {}
    across = Range(scale.min, scale.max)
    heads = [Head("Dimension", "name"), Head("oracle"), Head("student"), scale_head("○ oracle  ● student", across)]
    rows: list[list[Cell]] = []
    for column, name in enumerate(contents.spec.names):
        oracle, student = (_known(values[row, column]) for values in (judged.labels, judged.scores))
        said = evidence.get(name)
        quote = el("q", el("bdi", clip(said, _EVIDENCE)), class_="evidence") if said else None
        rows.append(
            [
                [*breakable(name), quote],
                number(oracle, digits),
                number(student, digits),
                strip(across, f"{name}: oracle {number(oracle)}, student {number(student)}", student, other=oracle),
            ]
        )
    return table("Scores of both, with what the oracle quotes", heads, rows)


def _known(value: np.float32) -> float | None:
    return float(value) if math.isfinite(value) else None


def _text(article: Article) -> Element:
    text = clip(article.content.strip(), _TEXT) if article.content.strip() else "(no text)"
    return el("blockquote", text, dir="auto", class_="text")
