"""What is wrong with the texts: copies, boilerplate, shells, and what of them is never read."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterkit.pipeline.audit import limits
from filterkit.pipeline.audit.amounts import Found
from filterkit.pipeline.audit.records import Finding, Level, number
from filterkit.pipeline.audit.table import I64, Table
from filterkit.pipeline.nearby import agreement

LISTED = 20


def check(table: Table) -> Found:
    """Findings duplicates, contradictions, boilerplate, short and shortened."""
    duplicates, of_duplicates = _duplicates(table)
    contradictions, of_contradictions = _contradictions(table)
    boilerplate, of_boilerplate = _boilerplate(table)
    short, of_short = _short(table)
    figures = {
        "duplicates": of_duplicates,
        "contradictions": of_contradictions,
        "boilerplate": of_boilerplate,
        "lengths": of_short,
    }
    return [*duplicates, contradictions, *boilerplate, *short], figures


def _duplicates(table: Table) -> Found:
    texts = len(table.signed)
    leaders, sizes = np.unique(table.groups, return_counts=True)
    near = texts - len(leaders)
    exact = len(table.same)
    total = texts + exact
    large: list[dict[str, Any]] = [
        {"articles": int(sizes[i]), "id": table.ids[row], "title": table.titles[row]}
        for i in np.argsort(-sizes, kind="stable")[:LISTED].tolist()
        if sizes[i] > 1
        for row in [int(table.row_of[leaders[i]])]
    ]
    share = (near + exact) / total if total else 0.0
    figures = {"exact": exact, "near": near, "share": number(share), "groups": large}
    found = []
    copies = "1 exact copy" if exact == 1 else f"{exact:,} exact copies"
    words = f"{copies} and {_counted(near, 'near-duplicate')} of other texts ({share:.1%})"
    if share > limits.DUPLICATE_SHARE:
        do = "`prepare` keeps copies together; take them out before you label the next time, they are paid for twice"
        found.append(Finding(check="duplicates", level="warn", what=words, do=do, figures=figures))
    else:
        found.append(Finding(check="duplicates", level="pass", what=words, figures=figures))
    for group in large:
        if group["articles"] >= max(limits.LARGE_GROUP, limits.LARGE_GROUP_SHARE * total):
            what = (
                f"{group['articles']:,} texts are nearly the same ({group['articles'] / total:.1%}), "
                f"for example {group['id']}: {group['title']}"
            )
            do = (
                "Look at one: a consent wall, an error page or a template is no article; take them out and label others"
            )
            found.append(Finding(check="duplicates", level="warn", what=what, do=do, figures=dict(group)))
    if table.conflicts:
        ids = table.conflicts[:LISTED]
        what = f"{_counted(len(table.conflicts), 'row')} with the id of another text, for example {ids[0]}"
        do = "Give each article an id of its own; `prepare` keeps one text of an id"
        found.append(
            Finding(
                check="duplicates", level="warn", what=what, do=do, figures={"rows": len(table.conflicts), "ids": ids}
            )
        )
    return found, figures


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _contradictions(table: Table) -> tuple[Finding, dict[str, Any]]:
    """How differently the oracle judged texts that are the same, or nearly."""
    one, other = _pairs(table)
    apart = np.abs(table.scores[one].astype(np.float64) - table.scores[other])[:, list(table.spec.scored)]
    known = ~np.isnan(apart)
    pairs = int(known.any(axis=1).sum())
    if not pairs:
        what = "no two articles are alike enough to see how consistent the labels are"
        return Finding(check="contradictions", level="pass", what=what), {"pairs": 0, "mae": None, "worst": []}
    mean = float(apart[known].mean())
    most = np.where(known, apart, -1.0).max(axis=1)
    order = np.argsort(-most, kind="stable")
    worst: list[dict[str, Any]] = [
        {
            "ids": [table.ids[one[i]], table.ids[other[i]]],
            "dimension": table.spec.names[table.spec.scored[int(np.where(known[i], apart[i], -1.0).argmax())]],
            "difference": number(most[i]),
        }
        for i in order[:LISTED].tolist()
        if most[i] >= limits.FAR_APART * table.range
    ]
    far = int((most >= limits.FAR_APART * table.range).sum())
    figures = {"pairs": pairs, "mae": number(mean), "far_apart": far, "worst": worst}
    what = (
        f"{_counted(pairs, 'pair')} of the same or nearly the same text: their labels differ by {mean:.2f} on average, "
        f"by {limits.FAR_APART * table.range:g} or more somewhere in {far:,}"
    )
    uneven = pairs >= limits.NEAR_PAIRS and mean > limits.INCONSISTENT * table.range
    if not uneven and far <= limits.FAR_SHARE * pairs:
        return Finding(check="contradictions", level="pass", what=what, figures=figures), figures
    what += f", for example {worst[0]['ids'][0]} and {worst[0]['ids'][1]}" if worst else ""
    do = "Look at the pairs (--output): what a rubric leaves open cannot be learnt"
    return Finding(check="contradictions", level="warn", what=what, do=do, figures=figures), figures


def _equal(table: Table, a: int, b: int) -> bool:
    return np.array_equal(table.scores[a], table.scores[b], equal_nan=True)


def _pairs(table: Table) -> tuple[I64, I64]:
    """Rows of one oracle and the first row of their near-duplicates; and rows of one text that were judged apart."""
    place: dict[tuple[int, str], int] = {}
    pairs = [(a, b) for a, b in table.same if not _equal(table, a, b)]
    for row, group in zip(table.first, table.row_groups.tolist(), strict=True):
        leader = place.setdefault((group, table.who[row]), row)
        if leader != row and table.text[leader] != table.text[row]:
            signed = table.signed[[table.text[leader], table.text[row]]]
            if agreement(signed[0], signed[1:])[0] >= limits.SAME_TEXT:
                pairs.append((row, leader))
    one, other = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return one, other


def _boilerplate(table: Table) -> Found:
    texts = len(table.signed)
    least = max(limits.PASSAGE_ARTICLES, limits.PASSAGE_SHARE * texts)
    covered = np.zeros(texts)
    passages = []
    for passage in table.passages.repeated.values():
        if len(passage.texts) < least or _unrelated(table, passage.texts) < least:
            continue
        covered[passage.texts] += passage.chars
        passages.append((len(passage.texts), passage.words, passage.texts))
    chars = np.maximum(1, np.array(table.passages.chars, dtype=np.float64))
    share = np.minimum(1.0, covered / chars)
    shells = np.flatnonzero(share >= limits.MOSTLY)
    carrying = int((share > 0).sum())
    passages.sort(reverse=True, key=lambda p: (p[0], p[1]))
    listed = [
        {"words": words, "articles": count, "sources": len({table.sources[row] for row in table.row_of[of].tolist()})}
        for count, words, of in passages[:LISTED]
    ]
    figures = {
        "passages": listed,
        "articles": carrying,
        "share_of_characters": number(covered.sum() / chars.sum()) if texts else None,
        "shells": len(shells),
        "shell_ids": [table.ids[table.row_of[i]] for i in shells[:1000].tolist()],
    }
    if not passages:
        return [Finding(check="boilerplate", level="pass", what="no sentence stands in many articles")], figures
    example = f"most often: “{passages[0][1][:100]}” ({passages[0][0]:,} articles)"
    if len(shells) >= max(limits.PASSAGE_ARTICLES, limits.SHELL_SHARE * texts):
        what = f"{len(shells):,} texts ({len(shells) / texts:.1%}) are mostly boilerplate; {example}"
        do = "Take them out before labelling: a consent wall or a footer is no article (their ids: --output)"
        return [Finding(check="boilerplate", level="warn", what=what, do=do, figures={"shells": len(shells)})], figures
    what = f"{carrying:,} texts ({carrying / texts:.1%}) carry sentences that stand in many articles; {example}"
    bad = carrying > limits.BOILERPLATE_SHARE * texts
    do = (
        "Cut such sentences out where you collect the articles: a student reads them instead of the news" if bad else ""
    )
    figure = {"articles": carrying}
    return [Finding(check="boilerplate", level="warn" if bad else "pass", what=what, do=do, figures=figure)], figures


def _unrelated(table: Table, texts: list[int]) -> int:
    """In how many different articles a sentence stands: copies of one story under one title are one."""
    titles = table.passages.titles
    return len({f"group {table.groups[text]}" if titles[text] is None else f"title {titles[text]}" for text in texts})


def _short(table: Table) -> Found:
    texts = len(table.signed)
    sent = np.array(table.sent_bytes, dtype=np.float64)
    short = np.flatnonzero(sent < limits.SHORT_BYTES)
    cut = int((np.array(table.whole_chars) > table.spec.input.oracle.max_chars).sum())
    student = table.student_bytes
    lost = int((sent * limits.STUDENT_CUT > student).sum())
    beyond = int((sent > student).sum())
    ids = [table.ids[table.row_of[i]] for i in short[:1000].tolist()]
    figures = {
        "median_bytes": number(np.median(sent)) if texts else None,
        "short": len(short),
        "short_ids": ids,
        "cut_for_oracle": cut,
        "cut_for_student": beyond,
        "more_than_half_lost": lost,
    }
    found = []
    what = f"{_counted(len(short), 'text')} under {limits.SHORT_BYTES} bytes ({len(short) / max(1, texts):.1%})"
    if len(short) > limits.SHORT_SHARE * texts:
        do = "Look at some: teasers, notices and error pages are no articles; take them out (their ids: --output)"
        what += f", for example {', '.join(ids[:3])}"
        found.append(Finding(check="short", level="warn", what=what, do=do, figures={"texts": len(short)}))
    else:
        found.append(Finding(check="short", level="pass", what=what, figures={"texts": len(short)}))
    most = table.spec.input.oracle.max_chars
    what = f"{_counted(cut, 'text')} longer than the {most:,} characters that the oracle reads; "
    what += f"{beyond:,} longer than about the {table.spec.input.student.max_tokens:,} tokens that the student reads"
    figure = {"cut_for_oracle": cut, "cut_for_student": beyond, "more_than_half_lost": lost}
    reasons = []
    if cut > limits.CUT_SHARE * texts:
        reasons.append("Raise input.oracle.max_chars, or set keep: head+tail")
    if lost > limits.STUDENT_SHARE * texts:
        what += f", {lost:,} of them more than twice as long"
        reasons.append("raise input.student.max_tokens: labels of what a student never reads cannot be learnt")
    level: Level = "warn" if reasons else "pass"
    do = "; ".join(reasons)
    found.append(Finding(check="shortened", level=level, what=what, do=do[:1].upper() + do[1:], figures=figure))
    return found, figures
