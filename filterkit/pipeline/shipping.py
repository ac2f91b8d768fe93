"""From a published copy to a live one: verify, write the record down, activate, look at what serves, complete the
record. `deploy` and `rollback` both go this way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filterkit.contracts import Deployer
from filterkit.errors import ArtifactError, GateRefused
from filterkit.pipeline.deployments import DeploymentRecord, Records, history
from filterkit.pipeline.proof import Sample, check_files, check_scores
from filterkit.plugins import plugins
from filterkit.records import Deployment


@dataclass(frozen=True)
class Verified:
    """How many files were compared, and the largest difference between scores here and out there."""

    files: int
    difference: float


@dataclass(frozen=True)
class Live:
    """What is live now, what was before, and the largest difference between the scores here and those of what serves
    there; None where nothing serves by itself."""

    record: DeploymentRecord
    previous: Deployment | None
    served: float | None


def verify_copy(
    deployer: Deployer[Any], deployment: Deployment, files: Mapping[str, str], samples: Sequence[Sample]
) -> Verified:
    """Compare the copy out there with its proof. GateRefused says what is another."""
    compared = check_files(files, deployer.fetch_hashes(deployment), deployer.target)
    return Verified(compared, check_scores(samples, deployer.open(deployment), deployer.target))


def live_now(deployer: Deployer[Any]) -> tuple[Deployment | None, str | None]:
    """What is live; or None and, where what lies there is broken, how in words. Activating another one mends it."""
    try:
        return deployer.current(), None
    except (ArtifactError, GateRefused) as error:
        return None, error.what


def go_live(deployer: Deployer[Any], record: DeploymentRecord, records: Records) -> Live:
    """Activate a verified copy, and hold what then serves against the samples of its record, which is `activating`.

    Where what serves is another student or cannot be asked, what was live before is activated again and GateRefused
    raised. Whatever else goes wrong, the record stays as it is, and the next run that comes here completes it.
    """
    previous, _ = live_now(deployer)
    known = records.of_target(record.filter, record.target)
    stack = history(known)
    record = _taken_up(known, record.model_copy(update={"before": previous}))
    is_live = previous is not None and previous.id == record.id
    already = is_live and bool(stack) and stack[-1].id == record.id
    if not already:
        records.write(record)
    deployer.activate(record.deployment)
    live = deployer.current()
    if live is None or (live.id, live.student_hash) != (record.id, record.student_hash):
        why = "the target does not serve the student that was activated"
        raise _refused(records, record, why)
    try:
        served = _serving(deployer, record)
    except Exception as error:
        back = next((r.deployment for r in reversed(stack) if r.id != record.id), None) if is_live else previous
        raise _refused(records, record, f"{error}; {_go_back(deployer, back)}") from error
    if not already:
        record = record.model_copy(update={"status": "live"})
        records.write(record)
    plugins().observe("deployed", filter_name=record.filter, deployment=record.deployment)
    return Live(record, previous, served)


def _taken_up(known: Sequence[DeploymentRecord], record: DeploymentRecord) -> DeploymentRecord:
    """The record; that of the run which was cut off, where the last thing that happened to the target was the same."""
    if not known or known[-1].status != "activating" or known[-1].id != record.id:
        return record
    return record.model_copy(update={"when": known[-1].when, "before": known[-1].before})


def _serving(deployer: Deployer[Any], record: DeploymentRecord) -> float | None:
    scorer = deployer.serving(record.deployment)
    return None if scorer is None else check_scores(record.samples, scorer, deployer.target, "what serves it")


def _go_back(deployer: Deployer[Any], back: Deployment | None) -> str:
    """Activate what was live before, and say in words what is live then."""
    if back is None:
        return "nothing was live before it, so it still is: deploy another student"
    try:
        deployer.activate(back)
        live = deployer.current()
    except Exception as error:
        return f"the previous deployment {back.id} could not be activated again ({error})"
    if live is None or live.id != back.id:
        return f"the previous deployment {back.id} was activated again, and is not live"
    return f"the previous deployment {back.id} is live again"


def _refused(records: Records, record: DeploymentRecord, why: str) -> GateRefused:
    """The error, after it was recorded."""
    records.write(record.model_copy(update={"status": "refused", "why": why}))
    return GateRefused(why, where=record.target)
