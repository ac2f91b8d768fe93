"""prepare: labels in, splits out: train.jsonl, val.jsonl, test.jsonl and data.json, which says what they are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filterkit.errors import ConfigError, InputError
from filterkit.files import atomic_write, locked, sha256_file, write_json
from filterkit.filters import Filter
from filterkit.manifest import DataInfo
from filterkit.pipeline.data import INFO_NAME, SPLITS, DataFile, declared_group
from filterkit.pipeline.nearby import deal, groups
from filterkit.prompt import sent_text
from filterkit.records import Article, Label, canonical_json, sha256_text
from filterkit.rows import dump_line
from filterkit.spec import FilterSpec

SHARES = (8, 1, 1)
"""Tenths for train, val, test."""


@dataclass(frozen=True)
class PrepareReport:
    """What became of the labels."""

    info: DataInfo
    counts: Mapping[str, int]
    duplicates: Duplicates
    near_duplicates: int
    unchanged: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "splits": dict(self.counts),
            "duplicates": self.duplicates.same,
            "conflicting_ids": self.duplicates.conflicts,
            "contradicting_ids": self.duplicates.contradictions,
            "near_duplicates": self.near_duplicates,
            "oracles": list(self.info.oracles),
            "unchanged": self.unchanged,
            "fingerprint": self.info.fingerprint,
        }


def prepare(
    filter: Filter,
    labelled: Iterable[tuple[Article, Label]],
    output_dir: Path,
    *,
    variant: Mapping[str, Any] | None = None,
    mix_oracles: bool = False,
    seed: int = 0,
) -> PrepareReport:
    """Write the splits of `labelled` into `output_dir`: 80/10/10, stratified by the overall, fixed by `seed`.

    One text is kept once; near-duplicates, and articles that share a `group`, never straddle splits. The order of
    `labelled` does not matter. Labels of several oracles, or of several models, are refused unless `mix_oracles`.
    Raises InputError when there are fewer than 3 groups of texts.
    """
    given = list(labelled)
    oracles = _oracles([label for _, label in given], mix_oracles)
    rows, duplicates = _unique(filter.spec, given)
    group = groups((sent_text(filter.spec, a) for a, _ in rows), [declared_group(a) for a, _ in rows])
    if len(set(group)) < 3:
        different = f"{len(set(group))} different texts among {len(rows)} labelled articles"
        raise InputError(f"{different} are too few to split", fix="Label more: filterkit label")
    part = _split(filter.spec, rows, group, seed)
    with locked(output_dir / ".prepare.lock", f"the splits in {output_dir}"):
        return _write(filter, rows, group, part, output_dir, dict(variant or {}), oracles, seed, duplicates)


def _oracles(labels: Sequence[Label], mix_oracles: bool) -> list[str]:
    """Who gave the labels. ConfigError when that is more than one model of one oracle, unless `mix_oracles`."""
    count = Counter(f"{label.oracle or 'unknown'} {label.model or ''}".strip() for label in labels)
    if len(count) > 1 and not mix_oracles:
        several = ", ".join(f"{who}: {labels}" for who, labels in sorted(count.items()))
        raise ConfigError(
            f"the labels come from several oracles or models ({several})",
            fix="Choose one with --oracle and --model, or say --mix-oracles",
        )
    return sorted({label.oracle or "unknown" for label in labels})


@dataclass
class Duplicates:
    """What was left out: rows with the text of another; ids with a second text; ids whose text has other scores too."""

    same: int = 0
    conflicts: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)


def _unique(
    spec: FilterSpec, labelled: Iterable[tuple[Article, Label]]
) -> tuple[list[tuple[Article, Label]], Duplicates]:
    """Every text once, every id once, by id. Two texts under one id are a mistake in the data: one of them stays.

    What stays follows from the rows and not from their order, so that equal labels make equal splits.
    """
    keyed = [
        (a.id, sha256_text(sent_text(spec, a)), canonical_json([label.oracle, dict(label.scores)]), a, label)
        for a, label in labelled
    ]
    by_text: dict[str, tuple[Article, Label]] = {}
    text_of_id: dict[str, str] = {}
    out = Duplicates()
    for _, key, _, article, label in sorted(keyed, key=lambda row: row[:3]):
        known = text_of_id.setdefault(article.id, key)
        if known != key:
            out.conflicts.append(article.id)
        elif key in by_text:
            out.same += 1
            if dict(by_text[key][1].scores) != dict(label.scores):
                out.contradictions.append(article.id)
        else:
            by_text[key] = (article, label)
    return list(by_text.values()), out


def _split(spec: FilterSpec, rows: Sequence[tuple[Article, Label]], group: Sequence[int], seed: int) -> list[int]:
    """Part (0 train, 1 val, 2 test) of every row; a group stays together."""
    leaders = sorted(set(group))
    totals = {leader: _rough_overall(spec, rows[leader][1]) for leader in leaders}
    order = sorted(range(len(leaders)), key=lambda i: (totals[leaders[i]], rows[leaders[i]][0].id))
    if len(leaders) < sum(SHARES):
        parts = [0] * len(leaders)
        parts[order[len(order) // 3]], parts[order[2 * len(order) // 3]] = 1, 2
    else:
        parts = deal(order, SHARES, seed)
    part_of = dict(zip(leaders, parts, strict=True))
    return [part_of[leader] for leader in group]


def _rough_overall(spec: FilterSpec, label: Label) -> float:
    """The weighted mean of the scores that are known."""
    pairs = [(d.weight, label.scores[d.name]) for d in spec.dimensions if d.weight and d.name in label.scores]
    return sum(w * s for w, s in pairs) / sum(w for w, _ in pairs) if pairs else 0.0


def _write(
    filter: Filter,
    rows: Sequence[tuple[Article, Label]],
    group: Sequence[int],
    part: Sequence[int],
    out: Path,
    variant: dict[str, Any],
    oracles: Sequence[str],
    seed: int,
    duplicates: Duplicates,
) -> PrepareReport:
    before = sha256_file(out / INFO_NAME) if (out / INFO_NAME).is_file() else None
    lines: dict[str, list[bytes]] = {name: [] for name in SPLITS}
    for (article, label), leader, where in zip(rows, group, part, strict=True):
        lines[SPLITS[where]].append(dump_line(_row(filter.spec, article, label, rows[leader][0].id)))
    hashes = {name: hashlib.sha256(b"".join(lines[name])).hexdigest() for name in SPLITS}
    counts = Counter(SPLITS[p] for p in part)
    request_hash = filter.request_hash(variant)
    info = DataInfo(
        fingerprint=sha256_text(canonical_json([hashes, request_hash, filter.spec.target_hash])),
        request_hash=request_hash,
        variant=variant,
        oracles=tuple(oracles),
        **{name: counts[name] for name in SPLITS},
    )
    data = DataFile(
        filter=filter.name,
        version=filter.spec.version,
        target_hash=filter.spec.target_hash,
        seed=seed,
        files=hashes,
        info=info,
    )
    # first what they must be, then the splits: after a kill between them, nobody takes them for splits made elsewhere
    write_json(out / INFO_NAME, data.model_dump(mode="json"))
    for name in SPLITS:
        with atomic_write(out / f"{name}.jsonl") as file:
            file.writelines(lines[name])
    return PrepareReport(
        info=info,
        counts={name: counts[name] for name in SPLITS},
        duplicates=duplicates,
        near_duplicates=len(rows) - len(set(group)),
        unchanged=before == sha256_file(out / INFO_NAME),
    )


def _row(spec: FilterSpec, article: Article, label: Label, group: str) -> dict[str, Any]:
    row = article.to_dict()
    row["scores"] = {name: label.scores.get(name) for name in spec.names}
    if label.evidence:
        row["evidence"] = dict(label.evidence)
    row["oracle"], row["model"], row["group"] = label.oracle, label.model, group
    return row
