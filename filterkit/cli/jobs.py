"""filterkit jobs: batch jobs that are out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from filterkit.cli.batch_words import Teller, job_data, show_jobs
from filterkit.cli.common import (
    Stop,
    configure,
    counted,
    json_option,
    print_json,
    store_option,
    store_path,
    workspace_option,
)
from filterkit.cli.progress import usd
from filterkit.cli.steps import context, label_settings
from filterkit.config import Config
from filterkit.contracts import Batch, Oracle
from filterkit.errors import ConfigError, FilterkitError, StoreError
from filterkit.options import make_backend
from filterkit.pipeline.batches.care import Care, forget
from filterkit.spec import FilterSpec
from filterkit.store import Store
from filterkit.store.jobs import JobRow, held_usd, jobs


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Also list jobs that have ended.")
@store_option
@workspace_option
@json_option
@click.pass_context
def command(ctx: click.Context, everything: bool, store: Path | None, workspace: Path | None, as_json: bool) -> None:
    """List the batch jobs that are out; cancel, attach or forget one.

    `filterkit label --batch` submits and collects them.
    """
    if ctx.invoked_subcommand is not None:
        ctx.obj = (store, workspace)
        return
    with Store(store_path(configure(None, workspace), store), create=False) as opened:
        found = jobs(opened, out=not everything)
        ended = 0 if everything else len(jobs(opened)) - len(found)
    if as_json:
        print_json([job_data(job) for job in found])
        return
    if found:
        show_jobs(found)
    else:
        click.echo("No batch job is out." if not everything else "There was no batch job so far.")
    if ended:
        click.echo(f"{counted(ended, 'job')} ended (--all lists them).", err=True)


@command.command("cancel")
@click.argument("token", required=False)
@click.option("--all", "everything", is_flag=True, help="Cancel all jobs that are out.")
@store_option
@workspace_option
@click.pass_context
def cancel_command(
    ctx: click.Context, token: str | None, everything: bool, store: Path | None, workspace: Path | None
) -> None:
    """Ask the provider to stop a job.

    What is done by then was paid for: `filterkit label --batch` collects it.
    """
    if bool(token) == everything:
        raise click.UsageError("name the job as `filterkit jobs` lists it, or say --all")
    with _opened(ctx, store, workspace) as (config, opened):
        wanted = jobs(opened, out=True) if token is None else [named(opened, token)]
        if token is not None and wanted[0].ended is not None:
            raise ConfigError(f"has ended ({wanted[0].state})", where=f"job {wanted[0].token}")
        problem: FilterkitError | None = None
        for job in wanted:
            try:
                with _care(config, opened, job) as care:
                    job = care.cancel(job)
            except FilterkitError as error:
                problem = problem or error
                continue
            if job.ended is None:
                click.echo(f"{job.token}: is being cancelled. Collect what is done: filterkit label … --batch")
        if problem is not None:
            raise problem
        if not wanted:
            click.echo("No batch job is out.")


@command.command("attach")
@click.argument("token")
@click.argument("handle")
@store_option
@workspace_option
@click.pass_context
def attach_command(ctx: click.Context, token: str, handle: str, store: Path | None, workspace: Path | None) -> None:
    """Say under which HANDLE the provider has the job TOKEN.

    For a job of which nobody can tell whether it was submitted, and for one that was given up as lost or forgotten.
    """
    with _opened(ctx, store, workspace) as (config, opened):
        job = named(opened, token)
        with _care(config, opened, job) as care:
            job = care.attach(job, handle)
        click.echo(f"{job.token}: attached, {counted(job.requests, 'request')}. Collect it: filterkit label … --batch")


@command.command("forget")
@click.argument("token")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@workspace_option
@click.pass_context
def forget_command(ctx: click.Context, token: str, yes: bool, store: Path | None, workspace: Path | None) -> None:
    """Give up a job: its answers are not collected, even if they were paid for.

    Its questions may be asked, and paid, again. `attach` takes it up again.
    """
    with _opened(ctx, store, workspace) as (_, opened):
        job = named(opened, token)
        if job.ended is not None:
            raise ConfigError(f"has ended ({job.state})", where=f"job {job.token}")
        held = held_usd(opened, job)
        at = "" if held is None else f" ({usd(held)} is reserved for them)"
        warning = f"What the provider charged for {counted(job.requests, 'request')}{at} may be lost, and paid again"
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError(f"{warning}: say --yes")
            click.confirm(f"{warning}. Forget {job.token}?", abort=True, err=True)
        job = forget(opened, job)
        click.echo(f"{job.token}: forgotten. What was reserved for {counted(job.lost, 'request')} stays in the ledger.")


def named(store: Store, token: str) -> JobRow:
    """The job that was meant: its token, or enough of its beginning. ConfigError when there is none, or several."""
    found = [job for job in jobs(store) if job.token.startswith(token)]
    exact = [job for job in found if job.token == token]
    if len(exact or found) != 1:
        what = "several jobs begin so" if found else "there is no such job"
        raise ConfigError(what, where=f"job {token}", fix="`filterkit jobs --all` lists them")
    return (exact or found)[0]


@contextlib.contextmanager
def _opened(ctx: click.Context, store: Path | None, workspace: Path | None) -> Iterator[tuple[Config, Store]]:
    """The store; options may stand before the subcommand too."""
    store_before, workspace_before = ctx.obj or (None, None)
    config = configure(None, workspace or workspace_before)
    with Store(store_path(config, store or store_before), create=False) as opened:
        yield config, opened


@contextlib.contextmanager
def _care(config: Config, store: Store, job: JobRow) -> Iterator[Care]:
    """Somebody who asks the oracle of a job, made as it was then."""
    made_of = job.oracle
    try:
        spec = FilterSpec.model_validate(made_of.spec)
    except ValidationError as error:
        raise StoreError(
            "was written down by another filterkit, and this one cannot read its filter",
            where=f"job {job.token}",
            fix="Look after it with that version, or with `filterkit label --batch`",
        ) from error
    oracle: Oracle[Any] = make_backend(
        "oracle", made_of.name, made_of.options, spec, context(config, f"oracle-{made_of.name}")
    )
    if not isinstance(oracle, Batch):
        raise ConfigError("answers no batches any more", where=f"oracle {made_of.name}")
    settings = label_settings(config)
    try:
        with Stop(quiet=True) as stop:
            yield Care(store, oracle, made_of.name, settings, tell=Teller(), stop=stop)
    finally:
        oracle.close()
