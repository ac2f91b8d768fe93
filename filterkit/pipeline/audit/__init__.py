"""audit: what the labels look like, and what is wrong with them, before anybody learns from them."""

from __future__ import annotations

from collections.abc import Iterable

from filterkit.errors import InputError
from filterkit.pipeline.audit import amounts, held_back, prevalence, skew, spread, structure, suspects, texts
from filterkit.pipeline.audit.features import hashed_ngrams
from filterkit.pipeline.audit.records import LEVELS, Audit, Finding, Level, Suspect
from filterkit.pipeline.audit.table import Embed, gather
from filterkit.records import Article, Label
from filterkit.spec import FilterSpec

__all__ = ["Audit", "Finding", "Level", "Suspect", "audit"]

NGRAMS = "hashed character n-grams"


def audit(
    spec: FilterSpec, labelled: Iterable[tuple[Article, Label]], embed: Embed = hashed_ngrams, features: str = NGRAMS
) -> Audit:
    """Look at labelled articles, which are read once; texts are not kept.

    `embed` gives vectors [n, k] of texts, rows of about unit length, and `features` is what it is called. A repeated
    sample of one question has its number in the article's field `sample`. Raises InputError where there is no label.
    """
    watch = held_back.Watch(spec)
    table = gather(spec, watch.over(labelled), embed)
    if not len(table):
        raise InputError("there is no label to audit", fix="Label first: filterkit label")
    findings: list[Finding] = []
    figures: dict[str, object] = {}
    for look in (amounts, spread, prevalence, structure, texts, skew):
        found, of = look.check(table)
        findings += found
        figures |= of
    found, of = held_back.check(table, watch)
    findings += found
    figures |= of
    found, of, doubted = suspects.check(table, features)
    findings += found
    figures |= of
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return Audit(findings, figures, doubted)
