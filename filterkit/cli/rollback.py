"""filterkit rollback"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterkit.cli.common import (
    backend_options,
    configure,
    filter_argument,
    json_option,
    load,
    print_json,
    workspace_option,
)
from filterkit.cli.steps import context, finished
from filterkit.errors import ConfigError, GateRefused
from filterkit.options import make_backend
from filterkit.pipeline.deployments import records_in
from filterkit.pipeline.rollback import RollbackReport, rollback
from filterkit.pipeline.standings import make_deployer
from filterkit.untrusted import legible

if TYPE_CHECKING:
    from filterkit.config import Config
    from filterkit.contracts import Deployer
    from filterkit.filters import Filter


@click.command()
@filter_argument
@click.option("--to", metavar="ID", help="The deployment to go back to.  [default: the one before what is live]")
@backend_options("deployer")
@workspace_option
@json_option
def command(
    filter_name: str | None,
    filter_option: str | None,
    to: str | None,
    deployer: str | None,
    options: tuple[str, ...],
    workspace: Path | None,
    as_json: bool,
) -> int:
    """Put an earlier deployment live again, verified as it was when it was deployed.

    The target is where the filter was deployed to; --deployer and -O say it where that were several.
    """
    filter = load(filter_name, filter_option, workspace)
    config = configure(filter, workspace, "deployer", deployer, options)
    chosen = config.origin("deployer.use") != "default" or bool(options)
    backend = _deployer(filter, config, chosen=chosen)
    try:
        report = rollback(filter.name, backend, records_in(config.workspace), to)
    except GateRefused as refusal:
        if not as_json:
            raise
        print_json({"refused": str(refusal)})
        return refusal.exit_code
    finally:
        backend.close()
    if report.live is not None:
        finished("rollback", filter, report.to_dict())
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report)
    return 0


def _deployer(filter: Filter, config: Config, *, chosen: bool) -> Deployer[Any]:
    """The deployer of the one target that the records name, or of the one that was chosen: as it was recorded there,
    so that an endpoint goes back too, under the options that are given now."""
    name, options = config.backend("deployer")
    records, _ = records_in(config.workspace).read(filter.name)
    newest = {record.target: record for record in records if record.deployer and record.spec}
    if not chosen and len(newest) > 1:
        raise ConfigError(
            f"{filter.name} was deployed to {' and to '.join(newest)}", fix="Say which: --deployer NAME -O KEY=VALUE"
        )
    if not chosen and newest:
        return make_deployer(next(iter(newest.values())), config.workspace)
    backend = _made(filter, config, name, options)
    before = newest.get(backend.target)
    if before is None or before.deployer != name:
        return backend
    backend.close()
    return _made(filter, config, name, {**before.options, **options})


def _made(filter: Filter, config: Config, name: str, options: Mapping[str, Any]) -> Deployer[Any]:
    made: Deployer[Any] = make_backend("deployer", name, options, filter.spec, context(config, f"deployer-{name}"))
    return made


def _show(report: RollbackReport) -> None:
    record = report.record
    if report.live is None or report.verified is None:
        click.echo(f"live already: {record.id} at {record.target}; nothing was done")
    else:
        click.echo(f"live: {record.id} at {record.target} (student {record.student_hash[:12]})")
        click.echo(
            f"  verified: {report.verified.files} files, scores differ by at most {report.verified.difference:.2g}"
        )
        if report.live.served is not None:
            click.echo(f"  what serves it: scores differ by at most {report.live.served:.2g}")
        if report.live.previous:
            click.echo(f"  until now: {report.live.previous.id}")
    for gate in record.gates:
        value = "unknown" if gate.value is None else f"{gate.value:.3g}"
        click.echo(f"  gate {gate.name}: {value}, the limit {gate.limit:g}, {'passed' if gate.passed else 'failed'}")
    if record.forced:
        click.echo(legible(f"  forced: {record.forced.reason} ({record.forced.gates})"))
    click.echo(f"  before it: {report.below.id if report.below else 'nothing'}")
