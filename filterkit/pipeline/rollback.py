"""rollback: an earlier deployment goes live again, verified against what was recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from filterkit.contracts import Deployer
from filterkit.errors import ConfigError, GateRefused
from filterkit.pipeline.deployments import DeploymentRecord, Records, history, proven
from filterkit.pipeline.shipping import Live, Verified, go_live, live_now, verify_copy
from filterkit.records import Deployment

_DEPLOY_AGAIN = "Deploy its student again: filterkit deploy FILTER --student DIR"


@dataclass(frozen=True)
class RollbackReport:
    """What is live now. `live` and `verified` are None when it was live already and nothing was done; below: what a
    further rollback would go to."""

    record: DeploymentRecord
    live: Live | None
    verified: Verified | None
    below: DeploymentRecord | None

    def to_dict(self) -> dict[str, Any]:
        previous = self.live.previous if self.live else None
        return {
            "deployment": self.record.deployment.model_dump(mode="json"),
            "changed": self.live is not None,
            "previous": previous.model_dump(mode="json") if previous else None,
            "below": self.below.id if self.below else None,
            "verified_files": self.verified.files if self.verified else None,
            "largest_difference": self.verified.difference if self.verified else None,
            "largest_difference_served": self.live.served if self.live else None,
            "gates": [gate.model_dump(mode="json") for gate in self.record.gates],
            "forced": self.record.forced.model_dump(mode="json") if self.record.forced else None,
        }


def rollback(filter_name: str, deployer: Deployer[Any], records: Records, to: str | None = None) -> RollbackReport:
    """Activate an earlier deployment: the one before what is live, or `to`, an id or its beginning.

    Raises ConfigError when there is none, or it is not clear which; GateRefused when the copy is not what was recorded.
    """
    everywhere, _ = records.read(filter_name)
    known = [record for record in everywhere if record.target == deployer.target]
    stack = history(known)
    live, broken = live_now(deployer)
    chosen = _named(known, to, everywhere, deployer.target) if to else _before(known, live, broken, deployer.target)
    if live is not None and live.id == chosen.id:
        return RollbackReport(chosen, None, None, _below(stack, chosen.id))
    proof = proven(known, chosen.id)
    if proof is None:
        raise GateRefused(
            f"the record of deployment {chosen.id} holds no hashes to verify it by (an earlier filterkit wrote it)",
            where=deployer.target,
            fix=_DEPLOY_AGAIN,
        )
    verified = verify_copy(deployer, proof.deployment, proof.files, proof.samples)
    changes = {"when": datetime.now(UTC), "action": "rollback", "status": "activating", "why": None}
    went = go_live(deployer, proof.model_copy(update=changes), records)
    now = history(records.of_target(filter_name, deployer.target))
    return RollbackReport(went.record, went, verified, _below(now, chosen.id))


def _named(
    known: Sequence[DeploymentRecord], to: str, everywhere: Sequence[DeploymentRecord], target: str
) -> DeploymentRecord:
    """The newest record of the deployment whose id begins so."""
    ids = sorted({record.id for record in known if record.id.startswith(to)})
    if len(ids) != 1:
        said = f"{to!r} could be {' or '.join(ids)}" if ids else f"no deployment {to!r} is recorded here"
        elsewhere = next((record for record in everywhere if record.id.startswith(to)), None)
        if elsewhere and not ids:
            said = f"deployment {elsewhere.id} is recorded at {elsewhere.target}, and not here"
        raise ConfigError(said, where=target, fix="`filterkit deployments` lists them")
    return next(record for record in reversed(known) if record.id == ids[0])


def _before(
    known: Sequence[DeploymentRecord], live: Deployment | None, broken: str | None, target: str
) -> DeploymentRecord:
    """What was live before what is live, by the records. ConfigError says what is live where that cannot be told."""
    stack = history(known)
    others = dict.fromkeys(r.id for r in known if r.status == "live" and not (live and r.id == live.id))
    which = f"Say which one: --to {' or '.join(others)}" if others else "No other one is recorded here"
    if live is None:
        said = f"what is live is broken ({broken})" if broken else "nothing is live there"
        raise ConfigError(said, where=target, fix=which)
    if live.id not in {record.id for record in stack}:
        raise ConfigError(f"what is live, {live.id}, is in no record here", where=target, fix=which)
    below = _below(stack, live.id)
    if below is None:
        raise ConfigError(f"{live.id} is live, and nothing was live before it", where=target, fix=which)
    return below


def _below(stack: Sequence[DeploymentRecord], deployment_id: str) -> DeploymentRecord | None:
    """What stands under the topmost record of a deployment."""
    ids = [record.id for record in stack]
    if deployment_id not in ids:
        return None
    place = len(ids) - 1 - ids[::-1].index(deployment_id)
    return stack[place - 1] if place else None
