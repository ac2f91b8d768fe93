"""Cards for the Hub: of a student that brings none, and of a dataset. No path of this machine is in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from filterkit.api import FilterSpec, Manifest
from filterkit_hf.options import HubOptions

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_FIGURES = (
    ("mae", "mean absolute error", "mae"),
    ("median_mae", "the same, of always answering the median", None),
    ("spearman", "rank correlation with the oracle (Spearman)", "spearmanr"),
)
"""Field of the metrics, what it is, and the Hub's name of it where it has one."""


def model_card(manifest: Manifest, options: HubOptions) -> str:
    """README.md of a student: what it scores, how well, whether its gates passed, how to use it."""
    spec = manifest.spec
    parts = [
        f"# {spec.name} {spec.version}",
        _line(spec.description) or "A filter that scores articles.",
        f"A student made with filterkit: it reads the title and the content of an article and gives {len(spec.names)} "
        f"scores from {spec.scale.min:g} to {spec.scale.max:g}, calibrated, with the filter's weights and tiers. "
        f"It learnt from {manifest.data.train:,} articles that a large language model had scored.",
        _dimensions(spec),
        "## How good it is",
        _forced(manifest),
        _measured(manifest),
        _gates(manifest),
        "## Use",
        _USE.format(repo=options.repo_id),
        "## Where it came from",
        _origin(manifest, options),
    ]
    return _card(_model_front(manifest, options), parts)


def dataset_card(manifest: Manifest, options: HubOptions, rows: dict[str, int], languages: Iterable[str]) -> str:
    """README.md of the labelled data. rows: how many there are in each split."""
    spec = manifest.spec
    splits = [{"split": name, "path": f"{name}.jsonl"} for name in rows]
    front: dict[str, Any] = {
        "license": options.license,
        "task_categories": ["text-classification"],
        "language": sorted({one for one in languages if _LANGUAGE.fullmatch(one)}),
        "tags": ["filterkit", "regression"],
        "size_categories": [_size(sum(rows.values()))],
        "configs": [
            {"config_name": "default", "data_files": [{**s, "split": _split_name(str(s["split"]))} for s in splits]}
        ],
    }
    said = ", ".join(f"{count:,} in {name}.jsonl" for name, count in rows.items())
    text = (
        "Titles, contents and addresses are those of the articles' authors and publishers, whose rights they remain."
        if options.dataset_text
        else "Titles, contents, addresses and evidence were left out: a row has its id, its labels, and its source."
    )
    parts = [
        f"# Labels of {spec.name} {spec.version}",
        _line(spec.description),
        f"Articles scored from {spec.scale.min:g} to {spec.scale.max:g} by a large language model "
        f"({_names(manifest.data.oracles)}): {said}. The student [{options.repo_id}](https://huggingface.co/"
        f"{options.repo_id}) learnt from them. A score is what a model said, not a fact about an article.",
        text,
        _dimensions(spec),
    ]
    return _card({name: value for name, value in front.items() if value}, parts)


def _card(front: dict[str, Any], parts: Iterable[str]) -> str:
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return f"---\n{head}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def _model_front(manifest: Manifest, options: HubOptions) -> dict[str, Any]:
    front: dict[str, Any] = {
        "license": options.license,
        "library_name": "filterkit",
        "pipeline_tag": "text-classification",
        "tags": ["filterkit", "regression", "text-scoring"],
    }
    if manifest.base_model and _HUB_ID.fullmatch(manifest.base_model):
        front["base_model"] = manifest.base_model
    if options.dataset_repo_id:
        front["datasets"] = [options.dataset_repo_id]
    metrics = [
        {"type": name, "value": round(value, 4)}
        for field, _, name in _FIGURES
        if name and (value := _figure(manifest, field)) is not None
    ]
    if metrics:
        front["metrics"] = [one["type"] for one in metrics]
        dataset = {"name": "the filter's labelled articles", "type": "private"}
        result = {"task": {"type": "text-classification"}, "dataset": dataset, "metrics": metrics}
        front["model-index"] = [{"name": f"{manifest.spec.name} {manifest.spec.version}", "results": [result]}]
    return front


def _dimensions(spec: FilterSpec) -> str:
    rows = ["| dimension | role | weight | what it asks |", "| --- | --- | --- | --- |"]
    for one in spec.dimensions:
        weight = f"{one.weight:g}" if one.role == "score" else ""
        rows.append(f"| `{one.name}` | {one.role} | {weight} | {_line(one.description)} |")
    return "\n".join(rows)


def _forced(manifest: Manifest) -> str:
    if manifest.forced is None:
        return ""
    return (
        f"**Shipped although its gates refused it**, on {manifest.forced.at:%Y-%m-%d}: {_line(manifest.forced.reason)} "
        f"(the gates: {_line(manifest.forced.gates)})."
    )


def _measured(manifest: Manifest) -> str:
    rows = [(what, value) for field, what, _ in _FIGURES if (value := _figure(manifest, field)) is not None]
    if not rows:
        return "It was not measured before it was shipped."
    method = f" ({_line(manifest.gates.method)})" if manifest.gates else ""
    table = "\n".join(f"| {what} | {value:.3f} |" for what, value in rows)
    return (
        f"On labelled articles that it had not seen{method}, in points of the scale:\n\n| | |\n| --- | --- |\n{table}"
    )


def _figure(manifest: Manifest, field: str) -> float | None:
    value = (manifest.metrics or {}).get(field)
    return float(value) if isinstance(value, int | float) else None


def _gates(manifest: Manifest) -> str:
    if manifest.gates is None:
        return ""
    rows = ["| gate | value | limit | passed |", "| --- | --- | --- | --- |"]
    for gate in manifest.gates.gates:
        value = "unknown" if gate.value is None else f"{gate.value:.3g}"
        if gate.value is not None and gate.bound not in (None, gate.value):
            value += f" (at worst {gate.bound:.3g})"
        rows.append(f"| `{gate.name}` | {value} | {gate.limit:g} | {'yes' if gate.passed else 'no'} |")
    return f"Its gates, on {manifest.gates.at:%Y-%m-%d}:\n\n" + "\n".join(rows)


_USE = """\
```sh
pip install "filterkit[standard]" filterkit-hf
filterkit score FILTER --student DIR --articles articles.jsonl --output verdicts.jsonl --remote hf://{repo}
```

or in a program, after downloading this repository to a folder:

```python
import filterkit

student = filterkit.load_student("FOLDER")
for verdict in student.judge([{{"title": "…", "content": "…"}}]):
    print(verdict.overall, verdict.tier, verdict.scores)
```

`handler.py`, `requirements.txt` and `runtime/` let a dedicated Inference Endpoint answer with verdicts, with no
filterkit installed there."""


def _origin(manifest: Manifest, options: HubOptions) -> str:
    lines = [
        f"- trained {manifest.created:%Y-%m-%d} by `{manifest.trainer}`, format `{manifest.format}`",
        f"- labels: {_names(manifest.data.oracles)}; {manifest.data.train:,} articles to learn from, "
        f"{manifest.data.val:,} to choose by, {manifest.data.test:,} held back",
        f"- student `{manifest.student_hash[:16]}`, data `{manifest.data.fingerprint[:16]}`",
    ]
    if options.dataset_repo_id:
        lines.append(f"- labelled data: `{options.dataset_repo_id}`")
    return "\n".join(lines)


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(_code, names)) or "not recorded"


def _size(rows: int) -> str:
    """The Hub's size category."""
    limits = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for limit, name in limits if rows < limit), "1M<n<10M")


def _split_name(name: str) -> str:
    """The Hub's name of a split."""
    return "validation" if name == "val" else name


def _line(text: str) -> str:
    """Foreign text as one line of Markdown in which nothing is a command."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~])", r"\\\1", _one_line(text))


def _code(text: str) -> str:
    """Foreign text as one line of code, in which Markdown escapes nothing."""
    return "`" + _one_line(text).replace("`", "'") + "`"


def _one_line(text: str) -> str:
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
