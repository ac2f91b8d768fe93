"""Where all of it comes from: what the labels cost, and which student, data, policy and packages this is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from filterkit.report.contents import Contents
from filterkit.report.elements import Child, clip, el
from filterkit.report.figures import DASH, counted, number
from filterkit.report.section import Section
from filterkit.report.tables import Head, behind, table

_MOST = 400
_MOST_ROWS = 60


def cost(contents: Contents) -> Section | None:
    """What the labels cost, and per 1,000 articles."""
    found = contents.cost
    if found is None:
        return None
    each = 1000 * found.usd / found.articles if found.usd is not None and found.articles else None
    facts = [
        ("Labelled articles", f"{found.articles:,}"),
        ("Requests", f"{found.requests:,}"),
        ("Paid", "unknown" if found.usd is None else f"${number(found.usd, 2)}"),
        ("Per 1,000 articles", DASH if each is None else f"${number(each, 2)}"),
        ("Tokens in", "unknown" if found.input_tokens is None else f"{found.input_tokens:,}"),
        ("Tokens out", "unknown" if found.output_tokens is None else f"{found.output_tokens:,}"),
    ]
    lead = "From the ledger of the label store: what was paid for the labels behind this student."
    return Section("cost", "What the labels cost", lead, (_facts(facts),))


def _facts(facts: list[tuple[str, str]]) -> Element:
    return el("dl", [el("div", el("dt", name), el("dd", value)) for name, value in facts], class_="facts")


def provenance(contents: Contents) -> Section:
    """Filter, student, data, policy, versions and dates."""
    manifest, spec = contents.manifest, contents.spec
    data, record = manifest.data, manifest.gates
    sizes = sum(entry.size for entry in manifest.files.values())
    parameters = f"{manifest.trainable:,}" if manifest.trainable is not None else DASH
    total = f" of {manifest.total:,}" if manifest.total is not None else ""
    rows: list[tuple[str, Child]] = [
        ("Filter", f"{spec.name} {spec.version}"),
        ("What it looks for", clip(spec.description, _MOST) if spec.description else None),
        ("Student", _hash(manifest.student_hash)),
        ("Format", f"{clip(manifest.format, 80)}, {counted(len(manifest.files), 'file')}, {counted(sizes, 'byte')}"),
        ("Base model", clip(manifest.base_model, 200) if manifest.base_model else "none"),
        ("Trained parameters", f"{parameters}{total}"),
        ("Trainer", clip(manifest.trainer, 80)),
        ("Seed", str(manifest.seed)),
        ("Trained", f"{manifest.created:%Y-%m-%d %H:%M}"),
        ("Run", clip(manifest.run_id, 120)),
        ("Data", _hash(data.fingerprint)),
        ("Splits", f"{data.train:,} to learn from, {data.val:,} to choose by, {data.test:,} to judge by"),
        ("Oracles", clip(", ".join(data.oracles), _MOST) or "not recorded"),
        ("Labels", clip(data.judgement.words, _MOST) if data.judgement else "one answer each"),
        ("Question (request hash)", _hash(manifest.request_hash)),
        ("Scores (target hash)", _hash(manifest.target_hash)),
        ("Policy (policy hash)", _hash(manifest.policy_hash)),
    ]
    if record is not None:
        rows += [("Judged", f"{record.at:%Y-%m-%d %H:%M}"), ("Method", clip(record.method, _MOST))]
    if contents.metrics.rounds:
        ranks = f", {contents.metrics.rank_rounds:,} for ranks" if contents.metrics.rank_rounds else ""
        rows.append(("Intervals", f"95 %, bootstrap over articles, {contents.metrics.rounds:,} resamples{ranks}"))
    listed = [el("div", el("dt", name), el("dd", value)) for name, value in rows if value is not None]
    return Section(
        "provenance",
        "Provenance",
        "What this report is about. Other weights, data or another policy need another validation.",
        (
            el("dl", listed, class_="provenance"),
            _settings("Trainer's options", manifest.trainer_options),
            _settings("Hyper-parameters", manifest.hyperparameters),
            _settings("Packages", manifest.packages),
            _settings("Files (SHA-256)", {name: entry.sha256 for name, entry in manifest.files.items()}),
        ),
    )


def _hash(value: str) -> Element:
    return el("code", clip(value, 80))


def _settings(title: str, values: Mapping[str, Any]) -> Element | None:
    if not values:
        return None
    shown = list(values.items())[:_MOST_ROWS]
    rows = [[clip(str(name), 120), clip(_plain(value), _MOST)] for name, value in shown]
    more = len(values) - len(shown)
    left = el("p", f"{more} more are in filterkit.json.", class_="lead") if more else None
    return behind(title, table(title, [Head("Name", "name"), Head("Value", "text")], rows), left)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
