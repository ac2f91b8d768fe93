"""filterkit demo"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import click

from filterkit.cli import audit as audit_command
from filterkit.cli import validate as validate_command
from filterkit.cli.common import Stop, configure, data_dir, load, store_path
from filterkit.cli.label_sources import audit_labels, prepare_labels
from filterkit.cli.label_words import show_report
from filterkit.cli.progress import LabelProgress, Total
from filterkit.cli.steps import deploy_student, label_articles, train_student, validate_student
from filterkit.cli.training import TrainingProgress
from filterkit.errors import ConfigError, FilterkitError, GateRefused
from filterkit.files import atomic_write
from filterkit.filters import find_filter
from filterkit.io import Rejects, read_articles
from filterkit.pipeline.score import score
from filterkit.rows import dump_line, read_rows

FILTER = "uplifting"
FOLDS = 5
NOT_ASKED = ("scores", "evidence", "kind", "oracle")
"""Fields of the recorded sample that an unlabelled article does not have."""

CONFIG = """\
# The demo's workspace. The oracle answers from recorded labels, so no key is needed and nothing is paid.
oracle:
  use: replay
  labels: [{labels}]
trainer: {{use: lite}}
deployer: {{use: local}}
"""


@click.command()
@click.argument(
    "directory", metavar="[DIR]", default="filterkit-demo", type=click.Path(path_type=Path, file_okay=False)
)
def command(directory: Path) -> int:
    """The whole job on the bundled sample: label, audit, train, validate, deploy, score.

    Works in DIR (filterkit-demo unless said otherwise) and goes on where it stopped. Needs no key, no GPU and no
    download. If the gates refuse the student, it says so, does not deploy, and scores with the undeployed one.
    """
    started = time.monotonic()
    sample = _sample(directory)
    _make_workspace(directory, sample)
    filter = load(FILTER, None, directory)
    config = configure(filter, directory)
    data, student = data_dir(config, filter), config.student_dir(filter)
    store = store_path(config, None)
    with Stop() as stop:
        _step(1, "label", "the oracle `replay` answers from recorded labels")
        files = [directory / "articles.jsonl"]
        with LabelProgress(Total(files), stopping=stop) as progress:
            labels = label_articles(filter, config, read_articles(files), store, progress=progress, stop=stop)
        show_report(labels, Rejects())
        if labels.stopped:
            return 130
        _step(2, "audit", "what is wrong with the labels, before anybody learns from them")
        audited, _ = audit_labels(filter, config, store_file=store)
        audit_command.show_findings(audited)
        _step(3, "prepare", "near-duplicates stay on one side of the split")
        prepared, _ = prepare_labels(filter, config, data, store_file=store)
        counts = ", ".join(f"{n} {name}" for name, n in prepared.counts.items())
        click.echo(f"{counts}; {prepared.near_duplicates} near-duplicates")
        _step(4, "train", "the student `lite`: word embeddings and a kernel ridge, on this CPU")
        with TrainingProgress() as training:
            trained = train_student(filter, config, data, student, stop=stop, progress=training)
        size = sum(f.size for f in trained.manifest.files.values()) / 1e6
        click.echo(f"student {trained.manifest.student_hash[:12]}, {size:.1f} MB")
        _step(5, "validate", f"out of fold: {FOLDS} students, each judged on articles it has not seen")
        report = validate_student(filter, config, student, data, folds=FOLDS, store_file=store, stop=stop)
        validate_command.show(report)
    _step(6, "deploy", "ships only what passed its gates, and checks what was shipped")
    try:
        deployed = deploy_student(filter, config, student)
        click.echo(f"live: {deployed.deployment.id} at {deployed.deployment.target}")
    except GateRefused as refusal:
        click.echo(f"not deployed: {refusal}")
        click.echo("That is what gates are for: a few hundred labels are not enough for this filter. Scoring goes on.")
    _step(7, "score", "articles that nobody has labelled")
    output = directory / "verdicts.jsonl"
    score([(str(filter.path), student)], [sample / "fresh.jsonl"], output, executor=config.backend("executor"))
    _show_verdicts(output)
    _show_places(store, data, student, output, time.monotonic() - started)
    return 0


def _sample(directory: Path) -> Path:
    """The folder of the bundled sample: that of the installed filter, whatever lies about where the user stands."""
    try:
        folder = find_filter(FILTER, directory).parent / "sample"
    except FilterkitError:
        folder = Path()
    if not (folder / "articles.jsonl").is_file():
        raise ConfigError("the demo's sample is not installed", fix="pip install 'filterkit[demo]'")
    return folder


def _make_workspace(directory: Path, sample: Path) -> None:
    """The configuration, unless there is one, and the sample's articles without their labels."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "filterkit.yaml").exists():
        with atomic_write(directory / "filterkit.yaml") as file:
            file.write(CONFIG.format(labels=json.dumps(str(sample / "articles.jsonl"))).encode())
    with atomic_write(directory / "articles.jsonl") as file:
        for _, row in read_rows(sample / "articles.jsonl"):
            if isinstance(row, dict):
                file.write(dump_line({k: v for k, v in row.items() if k not in NOT_ASKED}))


def _step(number: int, name: str, what: str) -> None:
    click.echo(f"\n{click.style(f'{number}. {name}', bold=True)}: {what}")


def _show_verdicts(output: Path) -> None:
    click.echo(f"  {'overall':>7}  {'tier':<14}{'title'}")
    rows = [row for _, row in read_rows(output) if isinstance(row, dict)]
    for row in sorted(rows, key=lambda r: -(r["overall"] or 0)):
        why = f"  ({', '.join(row['reasons'])})" if row["reasons"] else ""
        click.echo(f"  {row['overall']:>7.2f}  {row['tier']!s:<14}{row['title'][:70]}{why}")


def _show_places(store: Path, data: Path, student: Path, output: Path, seconds: float) -> None:
    click.echo(f"\nDone in {seconds:.0f} s. What there is now:")
    places = {
        "labels, articles, ledger": store,
        "splits": data,
        "student": student,
        "metrics and gates": student / "validation.json",
        "the same, for people": student / "report.html",
        "verdicts": output,
    }
    for what, path in places.items():
        click.echo(f"  {what:<26}{path}")
    click.echo("\nNext, judge articles of your own (a JSON object a line, with title and content):")
    # `make demo` runs us out of an environment that is not on the path
    found = shutil.which("filterkit") or Path(sys.argv[0]).name != "filterkit"
    program = "filterkit" if found else sys.argv[0]
    click.echo(f"  {program} score {FILTER} --student {student} --articles YOURS.jsonl --output verdicts.jsonl")
