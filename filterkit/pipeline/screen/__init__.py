"""Screening before paying: near-duplicates, boilerplate and what the prefilter holds back are not asked about."""

from filterkit.pipeline.screen.records import LeftOut, ScreenReport
from filterkit.pipeline.screen.screening import (
    MOST_ARTICLES,
    TOO_MANY,
    WAY_OUT,
    Decision,
    Located,
    Screening,
    text_key,
)

__all__ = [
    "MOST_ARTICLES",
    "TOO_MANY",
    "WAY_OUT",
    "Decision",
    "LeftOut",
    "Located",
    "ScreenReport",
    "Screening",
    "text_key",
]
