"""filterkit run"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from filterkit.cli import audit as audit_command
from filterkit.cli import deploy as deploy_command
from filterkit.cli import prepare as prepare_command
from filterkit.cli import validate as validate_command
from filterkit.cli.common import (
    Stop,
    configure,
    data_dir,
    filter_argument,
    json_option,
    load,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.judges import Panel, Wanted
from filterkit.cli.label_consensus import ask_judges, judges_of
from filterkit.cli.label_job import Job, spending_options
from filterkit.cli.label_run import exit_code, label_all, look_first
from filterkit.cli.label_screen import screen_option, screened
from filterkit.cli.label_sources import audit_labels, prepare_labels
from filterkit.cli.main import INTERRUPTED
from filterkit.cli.steps import (
    deploy_student,
    make_oracle,
    train_student,
    validate_student,
)
from filterkit.cli.training import TrainingProgress
from filterkit.config import KINDS
from filterkit.errors import GateRefused
from filterkit.io import parse_fields


@click.command()
@filter_argument
@click.option(
    "--articles", "files", multiple=True, required=True, metavar="FILE", help="Articles; may be repeated, or a glob."
)
@click.option("--fields", metavar="OURS=THEIRS,…", help="Which columns hold what: content=text,id=url.")
@click.option("--oracle", metavar="NAME", help="Which oracle to use.")
@click.option("--trainer", metavar="NAME", help="Which trainer to use.")
@click.option("--deployer", metavar="NAME", help="Which deployer to use.")
@click.option("-O", "options", multiple=True, metavar="KIND.KEY=VALUE", help="An option of a backend. May be repeated.")
@click.option("--limit", type=click.IntRange(min=1), help="Label at most so many articles.")
@screen_option
@spending_options
@click.option("--despite-audit", "go_on", is_flag=True, help="Train although the audit of the labels says stop.")
@click.option(
    "--folds", type=click.IntRange(min=2, max=50), help="Validate out of fold, where the test split is small."
)
@click.option("--seed", type=int, default=0, show_default=True, help="What fixes everything random.")
@store_option
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    files: tuple[str, ...],
    fields: str | None,
    oracle: str | None,
    trainer: str | None,
    deployer: str | None,
    options: tuple[str, ...],
    limit: int | None,
    no_screen: bool,
    max_cost: float | None,
    yes: bool,
    go_on: bool,
    folds: int | None,
    seed: int,
    store: Path | None,
    workspace: Path | None,
    as_json: bool,
) -> int:
    """label, audit, prepare, train, validate, deploy: each step goes on where it stopped."""
    filter = load(filter_name, filter_option, workspace)
    uses = {"oracle": oracle, "trainer": trainer, "deployer": deployer}
    config = configure(filter, workspace, options=options, more={f"{k}.use": v for k, v in uses.items() if k in KINDS})
    store_file, data, student = store_path(config, store), data_dir(config, filter), config.student_dir(filter)
    say = _silent if as_json else click.echo
    done: dict[str, Any] = {}
    job = Job(
        filter, config, files, parse_fields(fields), store_file, limit, max_cost=max_cost, yes=yes, as_json=as_json
    )
    say("label")
    job = screened(job, no_screen)
    panel = judges_of(job, workspace, Wanted())
    with Stop() as stop:
        done["label"], labelled = _label(job, panel, stop)
        if labelled == INTERRUPTED:
            return INTERRUPTED
        name, asked = make_oracle(config, filter)
        asked.close()
        audited, _ = audit_labels(filter, config, store_file=store_file, oracle=name, model=asked.model)
        done["audit"] = audited.to_dict()
        say("audit")
        if not as_json:
            audit_command.show_findings(audited)
        if audited.level == "stop" and not go_on:
            refusal = GateRefused("the audit of the labels says stop", fix="Mend what it found, or say --despite-audit")
            if not as_json:
                raise refusal
            print_json({**done, "refused": str(refusal)})
            return refusal.exit_code
        prepared, _ = prepare_labels(
            filter, config, data, store_file=store_file, oracle=name, model=asked.model, panel=panel, seed=seed
        )
        done["prepare"] = prepared.to_dict()
        say("prepare")
        if not as_json:
            prepare_command.show(prepared, data)
        with TrainingProgress() as progress:
            trained = train_student(filter, config, data, student, seed=seed, stop=stop, progress=progress)
        done["train"] = {"student": str(student), "student_hash": trained.manifest.student_hash}
        say(f"train\nstudent {trained.manifest.student_hash[:12]} in {student}")
        say("validate")
        validated = validate_student(filter, config, student, data, folds=folds or 0, store_file=store_file, stop=stop)
        done["validate"] = validated.to_dict()
        if not as_json:
            validate_command.show(validated)
    try:
        say("deploy")
        say_plan = _silent if as_json else deploy_command.say_plan
        done["deploy"] = deploy_student(filter, config, student, say=say_plan).to_dict()
        say(f"live: {done['deploy']['deployment']['id']} at {done['deploy']['deployment']['target']}")
    except GateRefused as refusal:
        done["deploy"] = {"refused": str(refusal)}
        if not as_json:
            raise
    if as_json:
        print_json(done)
    if "refused" in done["deploy"]:
        return 1
    return labelled


def _label(job: Job, panel: Panel | None, stop: Stop) -> tuple[dict[str, Any], int]:
    """Label with the configured oracle or, where more than one judges, with all. What --json prints; the exit code."""
    if panel is not None:
        done, code = ask_judges(job, panel, stop)
        return {**done, **job.told}, code
    report, rejects = label_all(job, look_first(job), stop)
    return {**asdict(report), "rejected": rejects.count, **job.told}, exit_code(report, rejects)


def _silent(_: str | Sequence[str]) -> None:
    """JSON is printed once, at the end."""
