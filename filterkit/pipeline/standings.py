"""What is live at the targets that records name, asked of them, and where the two disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filterkit.contracts import Context, Deployer
from filterkit.contracts.base import redact
from filterkit.errors import FilterkitError
from filterkit.options import make_backend
from filterkit.pipeline.deployments import DeploymentRecord, history
from filterkit.pipeline.shipping import live_now
from filterkit.records import Deployment
from filterkit.spec import FilterSpec


@dataclass(frozen=True)
class Standing:
    """One filter at one target. recorded: what is live by the records; live: by the target, where it was asked and
    answered; problem: why it could not be asked; disagreements: in words."""

    filter: str
    target: str
    recorded: str | None
    asked: bool
    live: Deployment | None = None
    problem: str | None = None
    disagreements: tuple[str, ...] = ()

    def live_record(self, records: Sequence[DeploymentRecord]) -> DeploymentRecord | None:
        """The newest record of what is live there: as the target says, or else as the records do."""
        there = (self.live.id if self.live else None) if self.asked and not self.problem else self.recorded
        wanted = (self.filter, self.target, there)
        return next((r for r in reversed(records) if (r.filter, r.target, r.id) == wanted), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "filter": self.filter,
            "target": self.target,
            "recorded": self.recorded,
            "asked": self.asked,
            "live": self.live.id if self.live else None,
            "problem": self.problem,
            "disagreements": list(self.disagreements),
        }


def standings(records: Sequence[DeploymentRecord], workspace: Path, *, ask: bool) -> list[Standing]:
    """Every filter at every target of the records (oldest first), asked through the deployer that they name."""
    groups: dict[tuple[str, str], list[DeploymentRecord]] = {}
    for record in records:
        groups.setdefault((record.filter, record.target), []).append(record)
    return [_standing(group, workspace, ask) for group in groups.values()]


def _standing(group: Sequence[DeploymentRecord], workspace: Path, ask: bool) -> Standing:
    stack, newest = history(group), group[-1]
    standing = Standing(newest.filter, newest.target, stack[-1].id if stack else None, ask)
    if not ask:
        return standing
    try:
        live, broken = _ask(group, workspace)
    except FilterkitError as error:
        return replace(standing, problem=redact(str(error)))
    except Exception as error:  # whatever a backend does, the others are listed
        return replace(standing, problem=redact(f"{type(error).__name__}: {error}"))
    if broken:
        said = f"{standing.recorded or 'nothing'} is recorded as live, and what lies there is broken: {broken}"
        return replace(standing, disagreements=(redact(said),))
    return replace(standing, live=live, disagreements=tuple(_disagreements(group, standing.recorded, live)))


def _ask(group: Sequence[DeploymentRecord], workspace: Path) -> tuple[Deployment | None, str | None]:
    """What is live, or how it is broken, asked with the options of the newest record that has them."""
    record = next((r for r in reversed(group) if r.deployer and r.spec), None)
    if record is None:
        raise FilterkitError("its records do not say which deployer it was (an earlier filterkit wrote them)")
    with_target = make_deployer(record, workspace)
    try:
        if with_target.target != record.target:
            raise FilterkitError(f"the recorded options lead to {with_target.target} now")
        return live_now(with_target)
    finally:
        with_target.close()


def make_deployer(record: DeploymentRecord, workspace: Path) -> Deployer[Any]:
    """The deployer that a record names, with its options."""
    folder = workspace / ".filterkit" / f"deployer-{record.deployer}"
    context = Context(workdir=folder, root=workspace)
    spec = FilterSpec.model_validate(record.spec)
    deployer: Deployer[Any] = make_backend("deployer", str(record.deployer), record.options, spec, context)
    return deployer


def _disagreements(group: Sequence[DeploymentRecord], recorded: str | None, live: Deployment | None) -> list[str]:
    there = live.id if live else None
    if there == recorded:
        return []
    if there is None:
        return [f"{recorded} is recorded as live, and nothing is live there"]
    return [f"{there} is live there, {_known_as(group, there)}; {recorded or 'nothing'} is recorded as live"]


def _known_as(group: Sequence[DeploymentRecord], there: str) -> str:
    record = next((r for r in reversed(group) if r.id == there), None)
    if record is None:
        return "which no record here knows"
    if record.status == "activating":
        return "but the run that activated it did not come to its end: run the same command again"
    if record.status == "refused":
        return "although its verification refused it"
    return f"which was put live on {record.when:%Y-%m-%d}"
