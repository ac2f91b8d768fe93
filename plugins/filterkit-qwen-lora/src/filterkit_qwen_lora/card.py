"""README.md of a student: what the Hub and its readers want to know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from filterkit.api import FilterSpec

_LICENCES = (
    (r"Qwen/Qwen2\.5-3B\b.*", "other"),
    (r"Qwen/Qwen2(\.5)?-72B\b.*", "other"),
    (r"Qwen/Qwen(2|2\.5|3)-.*", "apache-2.0"),
    (r"google/gemma-.*", "gemma"),
    (r"meta-llama/Llama-3\.3-.*", "llama3.3"),
    (r"meta-llama/Llama-3\.2-.*", "llama3.2"),
    (r"meta-llama/(Meta-)?Llama-3\.1-.*", "llama3.1"),
    (r"meta-llama/Meta-Llama-3-.*", "llama3"),
    (r"HuggingFaceTB/SmolLM.*", "apache-2.0"),
    (r"microsoft/m?deberta-v3-.*", "mit"),
    (r"answerdotai/ModernBERT-.*", "apache-2.0"),
    (r"(google-bert/)?bert-.*", "apache-2.0"),
    (r"(FacebookAI/)?(xlm-)?roberta-.*", "mit"),
    (r"(google-t5/)?t5-.*", "apache-2.0"),
    (r"google/(flan-)?t5-.*", "apache-2.0"),
)
"""Hub id -> licence, as the Hub's own metadata names it; the first that fits holds."""
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
_METRICS = {"val_mae": "mae", "val_spearman": "spearmanr"}
_LEARNT = {
    "lora": "fine-tuned with low-rank adapters (LoRA), which are merged into the weights here",
    "full": "fine-tuned in all its weights",
    "frozen": "left as it is; only the heads on top of it were trained",
}


def is_hub_id(base_model: str) -> bool:
    """Whether a base model's name is one of the Hub's, and no folder."""
    return bool(_HUB_ID.fullmatch(base_model)) and not Path(base_model).exists()


def base_licence(base_model: str) -> str:
    """The licence of a base model where it is known, by the Hub's names; else "other"."""
    if is_hub_id(base_model):
        return next((licence for name, licence in _LICENCES if re.fullmatch(name, base_model)), "other")
    try:
        readme = (Path(base_model) / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "other"
    front = readme.split("\n---", 1)[0] if readme.startswith("---") else ""
    found = re.search(r"^license:\s*([\w.-]+)\s*$", front, re.MULTILINE | re.ASCII)
    return found[1] if found else "other"


def model_card(
    spec: FilterSpec,
    *,
    base_model: str,
    method: str,
    licence: str | None = None,
    languages: Sequence[str] = (),
    datasets: Sequence[str] = (),
    figures: Mapping[str, float] | None = None,
    histogram: bool = False,
    reads: int | None = None,
) -> str:
    """The card as Markdown with YAML front matter.

    base_model: as the user named it; a folder's path is left out. method: "lora", "full" or "frozen". licence: of the
    base, None: `base_licence`. figures: {"val_mae": ..., "val_spearman": ...} of the val split, by filterkit's
    head. histogram: whether the student has a distribution beside its scores. reads: tokens read at most, None: as the
    spec says.
    """
    hub_id = base_model if is_hub_id(base_model) else None
    shown = {name: float(value) for name, value in (figures or {}).items() if name in _METRICS}
    # the metadata speaks of the model at the root, and with a histogram the figures are of another head
    of_root = {} if histogram else shown
    front = _front(spec, hub_id, licence or base_licence(base_model), languages, datasets, of_root)
    reading = spec.input.student
    parts = [
        f"# {spec.name} {spec.version}",
        _inline(spec.description) or "A filter that scores articles.",
        f"It reads the title and the content of an article and gives {len(spec.names)} "
        f"{'score' if len(spec.names) == 1 else 'scores'} from {spec.scale.min:g} to {spec.scale.max:g}. "
        "It was taught by the scores that a large language model gave to other articles.",
        _dimensions(spec),
        "## With transformers alone",
        _USE,
        _notes(reads or reading.max_tokens, reading.keep),
        "## With filterkit",
        _FILTERKIT.format(uncertainty=_UNCERTAINTY if histogram else ""),
        "## How it was made",
        f"The base model, {_code(hub_id) if hub_id else 'a local checkpoint'}, was {_LEARNT[method]}."
        + (_ADAPTER if method == "lora" else ""),
        _measured(shown, histogram),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"


_USE = """\
```python
from transformers import pipeline

score = pipeline("text-classification", model=".", top_k=None)  # this folder, or its id on the Hub
texts = ["A title\\n\\nThe content of the article …"]
for found in score(texts, truncation=True, function_to_apply="none"):
    print({one["label"]: one["score"] for one in found})
```"""
_FILTERKIT = """\
The scores above are as the model gives them. filterkit calibrates them on articles that were held back, applies the
filter's weights, caps and tiers{uncertainty}:

```python
import filterkit

student = filterkit.load_student(".")
for verdict in student.judge([{{"title": "…", "content": "…"}}]):
    print(verdict.overall, verdict.tier, verdict.scores)
```"""
_UNCERTAINTY = (
    ", and scores with a second head (`histogram.safetensors`), which gives a distribution over the scale and so says "
    "how sure it is"
)
_ADAPTER = " The adapters as they were trained are in `adapter/`; peft loads them onto the base model."


def _front(
    spec: FilterSpec,
    hub_id: str | None,
    licence: str,
    languages: Sequence[str],
    datasets: Sequence[str],
    figures: Mapping[str, float],
) -> str:
    """The metadata, as YAML."""
    front: dict[str, Any] = {"license": licence, "library_name": "transformers", "pipeline_tag": "text-classification"}
    if languages:
        front["language"] = sorted(languages)
    if hub_id:
        front |= {"base_model": hub_id, "base_model_relation": "finetune"}
    if datasets:
        front["datasets"] = list(datasets)
    front["tags"] = ["filterkit", "regression", "text-scoring"]
    front["metrics"] = list(_METRICS.values())
    if figures:
        metrics = [{"type": _METRICS[name], "value": round(value, 4)} for name, value in figures.items()]
        held_back = {"name": "articles held back for validation", "type": "private"}
        result = {"task": {"type": "text-classification"}, "dataset": held_back, "metrics": metrics}
        front["model-index"] = [{"name": f"{spec.name} {spec.version}", "results": [result]}]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, default_flow_style=False)


def _dimensions(spec: FilterSpec) -> str:
    rows = ["| label | role | weight | what it asks |", "| --- | --- | --- | --- |"]
    for one in spec.dimensions:
        weight = f"{one.weight:g}" if one.role == "score" else ""
        rows.append(f"| `{one.name}` | {one.role} | {weight} | {_inline(one.description)} |")
    return "\n".join(rows)


def _notes(reads: int, keep: str) -> str:
    text = (
        "A text is its title, an empty line and its content. "
        f"At most {reads:,} tokens are read, which `truncation=True` sees to; without it, a long text is an error or a "
        "waste."
    )
    if keep == "head+tail":
        text += (
            " filterkit itself reads the beginning and the end of a longer text; other tools read the beginning only."
        )
    return text


def _measured(figures: Mapping[str, float], histogram: bool) -> str:
    words = {"val_mae": "mean absolute error", "val_spearman": "rank correlation (Spearman)"}
    if not figures:
        return ""
    shown = " and ".join(f"{words[name]} {value:.3f}" for name, value in figures.items())
    head = ", by the second head" if histogram else ""
    return f"On the articles held back for validation, uncalibrated{head}: {shown}."


def _inline(text: str) -> str:
    """Foreign text as one line of Markdown in which nothing is a command."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    readable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~-])", r"\\\1", readable)


def _code(text: str) -> str:
    return f"`{text}`"
