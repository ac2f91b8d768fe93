"""How fast the trainer `qwen-lora` learns, beside a loop that pads every article to 512 tokens in fp32.

    python benchmarks/training.py [--base DIR_OR_ID | --random ID] [--labels FILE] [--articles 64] [--rounds 3]
                                  [--device cpu|cuda] [--ablate] [--quality] [--epochs 3]

The padding loop is what such scripts do today: transformers' Trainer and peft, gradient checkpointing, fp32, squared
error; same base, rank, rate and batch size. Every line is a process of its own, and the lines take turns; figures are
medians over --rounds. Only optimizer steps are timed (forward, backward, update), after warm-up: of qwen-lora the
second of two epochs over all articles, of the padding loop, whose steps are all alike, four after the first. Padding is
the share of computed tokens that is none of an article. Memory is the highest of the whole process (Linux), on a GPU
that which torch had allocated. The gain is in articles a second, against the padding loop. How much of it is due to
bf16 depends on the machine: the line in fp32 shows what is left without. With --ablate, more lines say what else makes
it. On a GPU "of peak" is the share of the card's dense bf16 rate that the articles' tokens took, padding and
recomputation not counted: 4 operations a token and weight, since the backbone's own weights get no gradient.

The articles of --labels are those that are read, or else invented ones, as long as news is: quartiles of 60, 110 and
260 words. With --quality both learn from four fifths of --labels for --epochs and score the rest, and the table is
another one: errors with 95 % intervals, the padding loop's above qwen-lora's, and the seconds of all steps. --random
takes the published architecture of a base with random weights. Without --base it is SmolLM2-135M (benchmarks/bases.py).
`pip install -e 'plugins/filterkit-qwen-lora[benchmark]'` is needed; on two free cores a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bases
import numpy as np
from articles import invented

from filterkit.records import F32

MAX_TOKENS = 512
BATCH = 8
PADDED_STEPS = 4
HELD_SHARE = 5
"""One article in so many is held out."""
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "RTX 4090": 165e12, "L40S": 362e12, "L4": 121e12}
"""Dense bf16 operations a second by the makers' data sheets."""


@dataclass(frozen=True)
class Way:
    """A line of the table.

    options: changes to qwen-lora's; with `by_hand`, how that is run. grouped: whether batches are of like length.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    by_hand: bool = False
    grouped: bool = True


PADDING = Way("padding to 512, fp32, checkpointing", {"pad": True, "checkpointing": True, "bf16": False}, by_hand=True)
OURS = Way("**qwen-lora**")
WAYS = (PADDING, OURS, Way("… in fp32", {"precision": "fp32"}))
ABLATIONS = (
    Way("… not grouped by length", grouped=False),
    Way("… with checkpointing", {"checkpointing": True}),
    Way("by hand, padded to the batch's longest, bf16 if quick", by_hand=True),
)


@dataclass(frozen=True)
class Job:
    """What a child is told: articles to learn from, and to score afterwards (none: only time is of interest)."""

    base: str
    device: str
    texts: list[str]
    targets: list[list[float]]
    held: list[str]
    epochs: int


@dataclass(frozen=True)
class Run:
    """What a child found.

    seconds: of each timed step. articles: in these. padding: its share of all computed tokens. memory: bytes.
    scores [n, d]: of the held-out articles.
    """

    seconds: list[float]
    articles: int
    padding: float
    memory: int
    scores: list[list[float]]

    @property
    def rate(self) -> float:
        return self.articles / sum(self.seconds)


# The child: one way, in a process of its own


def child(way: Way, job: Job, folder: Path) -> Run:
    bases.quiet()
    import torch
    from fine_tuning import Stopwatch

    cuda = job.device == "cuda"
    watch = Stopwatch(torch.cuda.synchronize if cuda else lambda: None).started()
    targets = np.array(job.targets, np.float32)
    padding, scores = (by_hand if way.by_hand else ours)(way, job, targets, folder)
    if job.held:
        seconds, articles = watch.seconds, len(job.texts) * job.epochs
    else:
        warm_up = 1 if way is PADDING else len(watch.seconds) // 2
        seconds, articles = watch.seconds[warm_up:], BATCH * len(watch.seconds[warm_up:])
    memory = torch.cuda.max_memory_allocated() if cuda else peak_memory()
    return Run(seconds, articles, padding, memory, scores.tolist())


def ours(way: Way, job: Job, targets: F32, folder: Path) -> tuple[float, F32]:
    from filterkit_qwen_lora import batches, loop
    from fine_tuning import Ours, spec_of

    tokens, computed = 0, 0
    pad = loop.padded

    def counted(reader: Any, rows: Sequence[Any], device: Any) -> Any:
        nonlocal tokens, computed
        ids, mask = pad(reader, rows, device)
        tokens, computed = tokens + sum(map(len, rows)), computed + ids.numel()
        return ids, mask

    loop.padded = counted  # the only place where a batch is seen as it is computed
    if not way.grouped:
        batches._POOL = 1  # so many batches' articles are sorted together; no option says so
    spec = spec_of([f"dimension_{i}" for i in range(targets.shape[1])], MAX_TOKENS)
    student = Ours(spec, options(job, way.options), folder, job.device)
    student.fit((job.texts, targets), (job.texts[:BATCH], targets[:BATCH]))
    return 1 - tokens / computed, student.predict(job.held) if job.held else targets[:0]


def by_hand(way: Way, job: Job, targets: F32, folder: Path) -> tuple[float, F32]:
    from fine_tuning import ByHand, computes_in_bf16

    how = {"bf16": computes_in_bf16("auto", job.device), **way.options}
    student = ByHand(options(job, {}), MAX_TOKENS, folder, device=job.device, **how)
    steps = 1 + PADDED_STEPS if way is PADDING and not job.held else -1
    student.fit(job.texts, targets, max_steps=steps)
    return 1 - student.tokens / student.computed, student.predict(job.held) if job.held else targets[:0]


def options(job: Job, changed: Mapping[str, Any]) -> Any:
    from filterkit_qwen_lora.options import QwenLoraOptions

    asked = {"base_model": job.base, "epochs": job.epochs, "batch_size": BATCH, "best": "last", **changed}
    return QwenLoraOptions.model_validate(asked)


def peak_memory() -> int:
    """Bytes, the most this process ever had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


# The parent: articles, children in turns, the table


def run(way: Way, job: Job) -> Run:
    with tempfile.TemporaryDirectory() as home:
        told, answer = Path(home, "job.json"), Path(home, "run.json")
        told.write_text(json.dumps(job.__dict__), encoding="utf-8")
        call = [sys.executable, __file__, "--child", way.name, "--told", str(told), "--answer", str(answer)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""} if job.device == "cpu" else None
        done = subprocess.run(call, env=environment, stdout=sys.stderr, check=False)
        if done.returncode:
            sys.exit(f"{way.name}: ended with {done.returncode}")
        return Run(**json.loads(answer.read_text(encoding="utf-8")))


def speed(job: Job, ways: Sequence[Way], rounds: int) -> None:
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            runs[way.name].append(run(way, job))
            found = runs[way.name][-1]
            print(f"round {number + 1}: {way.name}: {found.rate:.2f} articles/s", file=sys.stderr, flush=True)
    tokens, weights = tokens_of(job), weights_of(job.base)
    peak = peak_of(job.device)
    print("| | articles/s | gain | tokens/s | padding | s a step | GiB |" + (" of peak |" if peak else ""))
    print("| --- |" + " ---: |" * (7 if peak else 6))
    slow = statistics.median(found.rate for found in runs[PADDING.name]) if PADDING.name in runs else None
    for name, all_found in runs.items():
        rate = statistics.median(found.rate for found in all_found)
        cells = [f"{rate:.2f}", f"{rate / slow:.1f} ×" if slow else "", f"{rate * tokens:,.0f}"]
        cells.append(f"{all_found[0].padding:.0%}")
        cells.append(f"{statistics.median(statistics.mean(found.seconds) for found in all_found):.3f}")
        cells.append(f"{statistics.median(found.memory for found in all_found) / 2**30:.1f}")
        if peak:
            cells.append(f"{4 * weights * rate * tokens / peak:.1%}")
        print(f"| {name} | {' | '.join(cells)} |")


def quality(job: Job, rows: Any, held: Any) -> None:
    from students import Row, Rows, Table

    found = {way.name: run(way, job) for way in (PADDING, OURS)}
    judged = Rows([rows.texts[i] for i in held], rows.targets[held], rows.names, [rows.groups[i] for i in held])
    yardstick = np.array(found[OURS.name].scores, np.float32)
    table = Table(judged, yardstick)
    table.head()
    for name, one in found.items():
        scores = yardstick if name == OURS.name else np.array(one.scores, np.float32)
        table.line(Row(name, scores, sum(one.seconds)))


def tokens_of(job: Job) -> float:
    """Tokens that are read of an article, on average."""
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(job.base)(job.texts, truncation=True, max_length=MAX_TOKENS).input_ids
    return statistics.mean(map(len, read))


def weights_of(base: str) -> int:
    """Weights of the backbone's matrices, embeddings not counted."""
    import torch
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.from_pretrained(base))
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))


def peak_of(device: str) -> float | None:
    """Operations a second of the GPU, where they are known."""
    if device == "cpu":
        return None
    import torch

    name = torch.cuda.get_device_name()
    return next((peak for known, peak in PEAKS.items() if known in name), None)


def main() -> None:
    wanted = arguments()
    if wanted.child:
        way = next(way for way in (*WAYS, *ABLATIONS) if way.name == wanted.child)
        job = Job(**json.loads(wanted.told.read_text(encoding="utf-8")))
        with tempfile.TemporaryDirectory() as folder:
            found = child(way, job, Path(folder))
        wanted.answer.write_text(json.dumps(found.__dict__), encoding="utf-8")
        return
    bases.quiet()
    print(described(wanted.device), end="\n\n")
    if wanted.quality:
        from students import Rows

        rows = Rows.of(wanted.labels)
        order = np.random.default_rng(0).permutation(len(rows.texts))
        held, learnt = np.split(order, [len(order) // HELD_SHARE])
        texts, targets = rows.some(learnt)
        held_texts = rows.some(held)[0]
        base = base_of(wanted, rows.texts)
        quality(Job(base, wanted.device, texts, targets.tolist(), held_texts, wanted.epochs), rows, held)
        return
    if wanted.labels:
        from lite import read

        texts, targets = read(wanted.labels)[:2]
    else:
        texts, targets = invented(wanted.articles)
    n = min(wanted.articles, len(texts)) // BATCH * BATCH
    if n < BATCH * (1 + PADDED_STEPS):
        sys.exit(f"too few articles: at least {BATCH * (1 + PADDED_STEPS)} are needed")
    job = Job(base_of(wanted, texts), wanted.device, texts[:n], targets[:n].tolist(), [], 2)
    speed(job, WAYS + (ABLATIONS if wanted.ablate else ()), wanted.rounds)


def base_of(wanted: argparse.Namespace, texts: Sequence[str]) -> str:
    if not wanted.random:
        return wanted.base or str(bases.smollm2())
    from filterkit_qwen_lora.published import known_bases
    from transformers import AutoConfig

    known = known_bases()
    if wanted.random not in known:
        sys.exit(f"the architecture of {wanted.random} is not known; these are: {', '.join(sorted(known))}")
    config = AutoConfig.for_model(**known[wanted.random]["config"])
    return str(bases.random_base(config, texts, bases.FOLDER / f"random-{wanted.random.replace('/', '--')}"))


def described(device: str) -> str:
    """The machine, in a line."""
    import torch

    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    from fine_tuning import computes_in_bf16

    bf16 = "bf16 in hardware" if computes_in_bf16("auto", "cpu") else "no bf16 in hardware"
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.machine()}, {cores} core(s), {bf16}, torch {torch.__version__}, Python {platform.python_version()}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--base", help="folder, or id on the Hugging Face Hub, of the language model")
    which.add_argument("--random", metavar="ID", help="a published architecture, with random weights")
    parser.add_argument("--labels", type=Path, help="JSONL with title, content, scores")
    parser.add_argument("--articles", type=int, default=64, help="that are learnt from (default 64)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--ablate", action="store_true", help="more lines: what makes the speed")
    parser.add_argument("--quality", action="store_true", help="only: errors on a fifth of --labels")
    parser.add_argument("--epochs", type=int, default=3, help="of --quality (default 3)")
    for name in ("--child", "--told", "--answer"):
        parser.add_argument(name, type=str if name == "--child" else Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.quality and not wanted.labels:
        parser.error("--quality needs --labels")
    return wanted


if __name__ == "__main__":
    main()
