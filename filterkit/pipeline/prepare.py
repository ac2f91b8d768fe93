"""prepare: labels in, splits out: train.jsonl, val.jsonl, test.jsonl and data.json, which says what they are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from filterkit.errors import ConfigError, InputError
from filterkit.files import atomic_write, locked, read_json, sha256_file, write_json
from filterkit.filters import Filter
from filterkit.manifest import DataInfo, Judgement
from filterkit.pipeline.data import INFO_NAME, SPLITS, DataFile, declared_group
from filterkit.pipeline.judgement.consensus import Rule
from filterkit.pipeline.judgement.judged import Manner, judge, weigh
from filterkit.pipeline.judgement.samples import Rows, sample_of
from filterkit.pipeline.nearby import groups
from filterkit.pipeline.split import Piece, split, standing
from filterkit.prompt import sent_text
from filterkit.records import Article, Label, canonical_json, sha256_text
from filterkit.rows import dump_line
from filterkit.spec import FilterSpec

TEST = SPLITS.index("test")


@dataclass(frozen=True)
class PrepareReport:
    """What became of the labels. near_duplicates: rows that stay in one split with an earlier one."""

    info: DataInfo
    counts: Mapping[str, int]
    duplicates: Duplicates
    near_duplicates: int
    excluded: Excluded
    unchanged: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "splits": dict(self.counts),
            "duplicates": self.duplicates.same,
            "conflicting_ids": self.duplicates.conflicts,
            "contradicting_ids": self.duplicates.contradictions,
            "repeated_samples": self.duplicates.samples,
            "judgement": None if self.info.judgement is None else self.info.judgement.model_dump(mode="json"),
            "near_duplicates": self.near_duplicates,
            "excluded": self.excluded.same + self.excluded.near,
            "excluded_near_duplicates": self.excluded.near,
            "oracles": list(self.info.oracles),
            "unchanged": self.unchanged,
            "fingerprint": self.info.fingerprint,
        }


def prepare(
    filter: Filter,
    labelled: Iterable[tuple[Article, Label]],
    output_dir: Path,
    *,
    exclude: Iterable[Article] = (),
    test: Iterable[Article] | None = None,
    variant: Mapping[str, Any] | None = None,
    mix_oracles: bool = False,
    manner: Manner | None = None,
    seed: int = 0,
) -> PrepareReport:
    """Write the splits of `labelled` into `output_dir`: 80/10/10, stratified by tier and overall, fixed by `seed`.

    One text is kept once; near-duplicates, and articles that share a `group`, never straddle splits. The order of
    `labelled` does not matter. What has the id or text of an article of `exclude`, is a near-duplicate of one or shares
    its `group`, is left out. Labels of several oracles, or of several models, are refused unless `mix_oracles`.

    Given `test`, what has the id or text of one of these articles is the test split, with what is like it, and all else
    is train and val: two versions of a rubric are then judged on the same articles.

    Repeated samples (field `sample`) and judges become one label as `manner` says: the median with its spread, unless
    it says otherwise. What was done stands in the rows and in `DataInfo.judgement`.

    Where `output_dir` holds splits of the same rows and seed, they stay: tiers and weights may change, and a student
    that was trained on these splits is still judged by articles that it has not seen.

    Raises InputError when there are fewer than 3 groups of texts, or no label of `test`.
    """
    manner = manner or Manner()
    given = list(labelled)
    oracles = _oracles([label for _, label in given], mix_oracles, manner.consensus)
    given, excluded, barred = _without(filter.spec, given, exclude)
    judged = judge(filter.spec, given, manner)
    rows, duplicates = _unique(filter.spec, judged.rows)
    duplicates.same += judged.same
    duplicates.contradictions += judged.contradictions
    group, near = _groups(filter.spec, rows, barred)
    excluded.near = len(rows) - len(near)
    rows = [rows[i] for i in near]
    if len(set(group)) < 3:
        raise _too_few(rows, group, excluded, judged.left_out)
    rows, judgement = weigh(filter.spec, judged, rows, manner, duplicates.samples)
    held = None if test is None else _held(filter.spec, rows, group, test)
    if held is not None and len(set(group) - held) < 3:
        raise _too_few(rows, [leader for leader in group if leader not in held], excluded, judged.left_out)
    lines = [dump_line(_row(filter.spec, *row, rows[leader][0].id)) for row, leader in zip(rows, group, strict=True)]
    with locked(output_dir / ".prepare.lock", f"the splits in {output_dir}"):
        part = _as_before(filter, lines, output_dir, seed)
        if part is None or (
            held is not None and any((p == TEST) != (g in held) for p, g in zip(part, group, strict=True))
        ):
            part = _split(filter.spec, rows, group, seed, held)
        info, unchanged = _write(filter, lines, part, output_dir, dict(variant or {}), oracles, judgement, seed)
    counts = Counter(SPLITS[p] for p in part)
    return PrepareReport(
        info=info,
        counts={name: counts[name] for name in SPLITS},
        duplicates=duplicates,
        near_duplicates=len(rows) - len(set(group)),
        excluded=excluded,
        unchanged=unchanged,
    )


def _too_few(rows: Rows, group: Sequence[int], excluded: Excluded, undecided: Mapping[str, int]) -> InputError:
    articles = f"{len(rows)} labelled article{'' if len(rows) == 1 else 's'}"
    out = excluded.same + excluded.near
    left = f" that are left after {out} {'was' if out == 1 else 'were'} excluded" if out else ""
    judges = sum(undecided[why] for why in ("one_judge", "undecided") if why in undecided)
    if judges:
        left += f" ({judges} more have no label that the judges agree on)"
    alike = ", near-duplicates taken as one," if len(rows) > len(set(group)) else ""
    return InputError(
        f"{len(set(group))} different texts among {articles}{left}{alike} are too few to split",
        fix="Label more: filterkit label",
    )


def _oracles(labels: Sequence[Label], mix_oracles: bool, consensus: Rule | None) -> list[str]:
    """Who gave the labels. ConfigError when that is more than one model of one oracle, unless `mix_oracles` or those
    of a consensus."""
    if consensus is not None:
        return sorted({judge.oracle for judge in consensus.judges})
    count = Counter(f"{label.oracle or 'unknown'} {label.model or ''}".strip() for label in labels)
    if len(count) > 1 and not mix_oracles:
        several = ", ".join(f"{who}: {labels}" for who, labels in sorted(count.items()))
        raise ConfigError(
            f"the labels come from several oracles or models ({several})",
            fix="Choose one with --oracle and --model, or say --consensus or --mix-oracles",
        )
    return sorted({label.oracle or "unknown" for label in labels})


@dataclass
class Excluded:
    """Rows left out for an article to exclude: of its id or text; or of a text like it, or of its declared group."""

    same: int = 0
    near: int = 0


def _without(spec: FilterSpec, labelled: Rows, exclude: Iterable[Article]) -> tuple[Rows, Excluded, dict[str, Article]]:
    """The rows that have neither id nor text of an article of `exclude`; and these articles by their text."""
    ids: set[str] = set()
    barred: dict[str, Article] = {}
    for article in exclude:
        ids.add(article.id)
        barred.setdefault(sent_text(spec, article), article)
    if not ids:
        return labelled, Excluded(), {}
    kept = [row for row in labelled if row[0].id not in ids and sent_text(spec, row[0]) not in barred]
    return kept, Excluded(same=len(labelled) - len(kept)), barred


def _groups(spec: FilterSpec, rows: Rows, barred: Mapping[str, Article]) -> tuple[list[int], list[int]]:
    """The rows (by index) that have no near-duplicate in `barred`; and the group of each, as an index among them."""
    articles = [*(article for article, _ in rows), *barred.values()]
    found = groups((sent_text(spec, a) for a in articles), [declared_group(a) for a in articles])
    out = set(found[len(rows) :])
    near = [i for i in range(len(rows)) if found[i] not in out]
    place = {i: new for new, i in enumerate(near)}
    return [place[found[i]] for i in near], near


@dataclass
class Duplicates:
    """What was left out: rows with the text of another; ids with a second text; ids whose text has other scores too;
    repeated samples of one text."""

    same: int = 0
    conflicts: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    samples: int = 0


def _unique(spec: FilterSpec, labelled: Iterable[tuple[Article, Label]]) -> tuple[Rows, Duplicates]:
    """Every text once, every id once, by id. Two texts under one id are a mistake in the data: one of them stays.

    What stays follows from the rows and not from their order, so that equal labels make equal splits.
    """
    keyed = [
        (
            (a.id, sample_of(a), sha256_text(sent_text(spec, a)), canonical_json([label.oracle, dict(label.scores)])),
            (a, label),
        )
        for a, label in labelled
    ]
    by_text: dict[str, tuple[Article, Label]] = {}
    text_of_id: dict[str, str] = {}
    out = Duplicates()
    for (article_id, sample, key, _), row in sorted(keyed, key=lambda pair: pair[0]):
        known = text_of_id.setdefault(article_id, key)
        if known != key:
            out.conflicts.append(article_id)
        elif key not in by_text:
            by_text[key] = row
        elif sample:
            out.samples += 1
        else:
            out.same += 1
            if dict(by_text[key][1].scores) != dict(row[1].scores):
                out.contradictions.append(article_id)
    return list(by_text.values()), out


def _held(spec: FilterSpec, rows: Rows, group: Sequence[int], test: Iterable[Article]) -> set[int]:
    """The groups, by their leaders, that are to be the test split. InputError when no row is of it."""
    known = [(article.id, sent_text(spec, article)) for article in test]
    ids, texts = {name for name, _ in known}, {text for _, text in known}
    held = {
        leader
        for (article, _), leader in zip(rows, group, strict=True)
        if article.id in ids or sent_text(spec, article) in texts
    }
    if not held:
        raise InputError(
            f"none of the {len(known)} articles that are to be the test split has a label",
            fix="Label them: filterkit label",
        )
    return held


def _split(spec: FilterSpec, rows: Rows, group: Sequence[int], seed: int, held: set[int] | None = None) -> list[int]:
    """Part (0 train, 1 val, 2 test) of every row; a group stays together. With `held` these groups are the test."""
    sizes = Counter(group)
    leaders = sorted(set(sizes) - (held or set()))
    scores = [[rows[leader][1].scores.get(name, np.nan) for name in spec.names] for leader in leaders]
    stands = standing(spec, np.array(scores, dtype=np.float32))
    pieces = [
        Piece(rows[leader][0].id, sizes[leader], tier, total)
        for leader, (tier, total) in zip(leaders, stands, strict=True)
    ]
    part_of = dict(zip(leaders, split(pieces, seed), strict=True))
    if held is not None:
        part_of = {leader: 0 if part == TEST else part for leader, part in part_of.items()} | dict.fromkeys(held, TEST)
    return [part_of[leader] for leader in group]


def _as_before(filter: Filter, lines: Sequence[bytes], out: Path, seed: int) -> list[int] | None:
    """Part of every row, as the splits in `out` have it; None where they hold other rows or are not whole."""
    part_of: dict[bytes, int] = {}
    try:
        data = DataFile.model_validate(read_json(out / INFO_NAME))
        for part, name in enumerate(SPLITS):
            content = (out / f"{name}.jsonl").read_bytes()
            if hashlib.sha256(content).hexdigest() != data.files.get(name):
                return None
            part_of |= dict.fromkeys(content.splitlines(keepends=True), part)
    except (InputError, ValidationError, OSError):
        return None
    if (data.seed, data.filter) != (seed, filter.name) or part_of.keys() != set(lines):
        return None
    return [part_of[line] for line in lines]


def _write(
    filter: Filter,
    lines: Sequence[bytes],
    part: Sequence[int],
    out: Path,
    variant: dict[str, Any],
    oracles: Sequence[str],
    judgement: Judgement | None,
    seed: int,
) -> tuple[DataInfo, bool]:
    """Write the splits. What they are, and whether they are as they were."""
    before = sha256_file(out / INFO_NAME) if (out / INFO_NAME).is_file() else None
    content = {
        name: b"".join(line for line, where in zip(lines, part, strict=True) if SPLITS[where] == name)
        for name in SPLITS
    }
    hashes = {name: hashlib.sha256(content[name]).hexdigest() for name in SPLITS}
    counts = Counter(SPLITS[p] for p in part)
    request_hash = filter.request_hash(variant)
    told = [] if judgement is None else [judgement.model_dump(mode="json")]
    info = DataInfo(
        fingerprint=sha256_text(canonical_json([hashes, request_hash, filter.spec.target_hash, *told])),
        request_hash=request_hash,
        variant=variant,
        oracles=tuple(oracles),
        judgement=judgement,
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
            file.write(content[name])
    return info, before == sha256_file(out / INFO_NAME)


def _row(spec: FilterSpec, article: Article, label: Label, group: str) -> dict[str, Any]:
    row = article.to_dict()
    row["scores"] = {name: label.scores.get(name) for name in spec.names}
    if label.evidence:
        row["evidence"] = dict(label.evidence)
    row["oracle"], row["model"], row["group"] = label.oracle, label.model, group
    return row
