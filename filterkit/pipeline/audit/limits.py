"""Where the audit draws its lines, and why there."""

from __future__ import annotations

STOP_LABELS = 50
"""Fewer leave 5 for the test: nothing could be shown of a student."""
ENOUGH_LABELS = 1_000
"""A test split of 100, in which a mean absolute error is known to about a tenth of itself."""
FEW = 20
"""Fewer scores of a dimension say nothing about how they lie."""

UNKNOWN_SHARE = 0.05
"""More scores missing than that, and those that are there may be a choice."""

WINDOW = 0.1
"""A tenth of the scale: one point of ten."""
ALIKE_STOP = 0.98
"""A filter whose labels lay 98.6 % within one point had an MAE of 0.54 and told nothing apart."""
ALIKE_WARN = 0.90
"""The other tenth is all that there is to learn from."""
DISTINCT_VALUES = 3
"""A score that takes no more values than low, middle, high is a class, not a score."""
AT_END = 0.75
"""Labels exactly at one end of the scale: the best constant is that end, and a student drifts there."""
FLAG_EXAMPLES = 20
"""A flag set (or unset) for fewer: two in the test."""

BEST_TIER = 100
"""Examples of the best tier to learn it from and to prove it by: 10 are in the test, the least that a recall says
anything about."""
BEST_TIER_SPLIT = 10
"""Fewer cannot put one into each split for sure."""
TYPICAL_RECALL = 0.7
"""For which the interval of the recall is told beforehand."""

CORRELATED = 0.95
"""Two dimensions that agree so well are one question asked twice."""
EXPLAINED = 0.95
"""A dimension that the others predict so well (R², cross-validated) carries nothing new."""
ONE_COMPONENT = 0.80
"""One principal component with so much of the variance: the oracle gives one verdict in several columns."""

DUPLICATE_SHARE = 0.10
"""Paid for twice, and worth one example."""
LARGE_GROUP_SHARE, LARGE_GROUP = 0.02, 10
"""So large a group of near-duplicates is a wall, a template or a feed, not news."""
SAME_TEXT = 0.85
"""Near-duplicates that share so much of their shingles should get the same scores."""
NEAR_PAIRS = 10
"""Pairs of them to tell from how consistent the oracle is."""
INCONSISTENT = 0.1
"""Mean difference of two labels of one text, as a share of the scale: a student cannot come closer than that."""
FAR_APART, FAR_SHARE = 0.3, 0.05
"""A difference that nobody calls noise, as a share of the scale; and the share of pairs in which it may happen."""

PASSAGE_CHARS, PASSAGE_CHARS_UNSPACED = 30, 12
"""Shorter sentences are repeated by chance. The second is for writing without spaces."""
PASSAGE_ARTICLES, PASSAGE_SHARE = 5, 0.001
"""A sentence in so many articles under different titles is not theirs."""
MOSTLY = 0.5
"""An article of which so much is boilerplate is a shell: a consent wall, a newsletter's footer, an error page."""
SHELL_SHARE = 0.01
BOILERPLATE_SHARE = 0.10
"""Articles that carry some boilerplate: it takes room in what the student reads."""
SHORT_BYTES = 200
"""UTF-8 bytes. A text below this is seldom an article: a teaser, a cookie notice, an error page."""
SHORT_SHARE = 0.02
CUT_SHARE = 0.10
"""Articles of which the oracle saw only a part."""
BYTES_PER_TOKEN = 4.0
"""A rule of thumb for UTF-8 in any language, as in the estimate of a labelling."""
STUDENT_SHARE, STUDENT_CUT = 0.5, 0.5
"""More than half of the articles lose more than half of what the oracle read before the student reads them."""

LANGUAGE_EXAMPLES = 50
"""Five in the test: a student may fail in that language and nobody would see it."""
NO_LANGUAGE_SHARE = 0.5
ONE_SOURCE_SHARE = 0.5
SKEW = 0.15
"""The mean overall of a language that lies so far from that of the others, as a share of the scale, …"""
SKEW_Z = 4.0
"""… and so many standard errors."""
SKEW_EXAMPLES = 30
SOURCE_EXPLAINS = 0.5
"""Share of the overall's variance that the source alone explains: a student may learn the source."""

FOLDS = 5
SUSPECT_ROWS = 100
"""Fewer texts teach nothing that a label could be doubted by."""
KNOWS = 0.1
"""A dimension whose out-of-fold R² is lower is not understood well enough to doubt its labels."""
SUSPECT_Z, SUSPECT_LEAST = 4.0, 0.1
"""Robust standard deviations from what similar texts got, one being no less than a tenth of the scale, …"""
SUSPECT_POINTS = 0.3
"""… and so much of the scale."""
SUSPECT_SHARE = 0.01
"""More than that is no longer a slip here and there: a student's error will be made of them."""

SELF_MAE = 0.1
"""Mean absolute difference of two samples of one question, as a share of the scale: the floor of any student."""
SELF_PAIRS = 20

HIGH_QUANTILE = 0.9
"""Where a filter has neither threshold nor tiers, the upper tenth is what it looks for."""
HELD_SHARE = 0.05
"""Of the articles scored high. A prefilter saves work on the others; each of these is lost for good."""
HELD_LANGUAGE, HELD_EXAMPLES = 0.10, 10
"""In one language, of so many scored high or more: rules written in one language fail in the others first."""
