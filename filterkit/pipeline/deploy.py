"""deploy: gates, publish, verify, activate, record, in this order. Nothing is live before it is verified."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filterkit.contracts import Context, Deployer
from filterkit.errors import ConfigError, GateRefused, Veto
from filterkit.filters import Filter
from filterkit.manifest import Forced, Gate, Manifest, load_manifest, save_manifest
from filterkit.options import make_backend
from filterkit.pipeline.deployments import DeploymentRecord, Records, records_in
from filterkit.pipeline.proof import Proof, prove
from filterkit.pipeline.shipping import go_live, verify_copy
from filterkit.plugins import plugins
from filterkit.policy import check_policy, make_postfilter
from filterkit.records import Deployment
from filterkit.spec import Gates
from filterkit.student import check_fits
from filterkit.untrusted import legible

MAX_REASON = 500
"""Characters of a reason for forcing that are kept."""


@dataclass(frozen=True)
class DeployPlan:
    """What a deployment would do, in the deployer's words, when the gates allow it."""

    target: str
    student_hash: str
    lines: tuple[str, ...]
    files: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "student_hash": self.student_hash,
            "plan": list(self.lines),
            "files": self.files,
        }


@dataclass(frozen=True)
class DeployReport:
    """What is live now, what was live before, and how far the two copies' scores were apart. `served` is the same of
    what serves the student there, None where nothing serves by itself."""

    deployment: Deployment
    previous: Deployment | None
    largest_difference: float
    files: int
    forced: Forced | None
    plan: tuple[str, ...] = ()
    served: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "deployment": self.deployment.model_dump(mode="json"),
            "previous": self.previous.model_dump(mode="json") if self.previous else None,
            "verified_files": self.files,
            "largest_difference": self.largest_difference,
            "largest_difference_served": self.served,
            "forced": self.forced.model_dump(mode="json") if self.forced else None,
            "plan": list(self.plan),
        }


def deploy(
    filter: Filter,
    student_dir: Path,
    deployer_name: str,
    options: Mapping[str, Any],
    context: Context,
    *,
    gates: Gates | None = None,
    force: str | None = None,
    say: Callable[[Sequence[str]], None] = lambda _: None,
) -> DeployReport:
    """Ship the student, and record it in the workspace. Raises GateRefused when gates, a plugin's veto or the
    verification say no.

    `gates` are those in force, where a workspace changed the filter's. `force` says why a student is shipped that the
    gates do not allow: the reason goes into its manifest, and whatever loads it from then on says so. Vetoes and the
    verification cannot be forced. `say` gets the deployer's plan before anything is done.

    Running it again is harmless: publishing is idempotent, and what is live is verified anew.
    """
    found = _fitting(filter, student_dir)
    deployer: Deployer[Any] = make_backend("deployer", deployer_name, options, filter.spec, context)
    try:
        manifest = _allow(filter, student_dir, found, gates or filter.spec.gates, force)
        with _taken_back_unless_shipped(student_dir, found, manifest):
            records = records_in(context.root)
            plan = _plan(deployer, student_dir, filter, options, records)
            say(plan)
            _ask_plugins(filter, student_dir, manifest, deployer.target)
            proof = prove(student_dir, manifest, deployer)
            deployment = deployer.publish(student_dir, manifest.student_hash)
            verified = verify_copy(deployer, deployment, proof.files, proof.samples)
        record = _record(filter, manifest, deployment, proof, deployer_name, options)
        live = go_live(deployer, record, records)
    finally:
        deployer.close()
    return DeployReport(
        deployment, live.previous, verified.difference, verified.files, manifest.forced, plan, live.served
    )


def plan_deployment(
    filter: Filter,
    student_dir: Path,
    deployer_name: str,
    options: Mapping[str, Any],
    context: Context,
    *,
    gates: Gates | None = None,
    force: str | None = None,
) -> DeployPlan:
    """What `deploy` would do; nothing is done. GateRefused when the gates say no and nobody forces."""
    manifest = _fitting(filter, student_dir)
    deployer: Deployer[Any] = make_backend("deployer", deployer_name, options, filter.spec, context)
    try:
        if force is None:
            check_gates(filter, manifest, student_dir, gates or filter.spec.gates)
        files = len(deployer.contents(student_dir))
        plan = _plan(deployer, student_dir, filter, options, records_in(context.root))
        return DeployPlan(deployer.target, manifest.student_hash, plan, files)
    finally:
        deployer.close()


def _fitting(filter: Filter, student_dir: Path) -> Manifest:
    """The manifest of a student that answers what this filter asks, under a policy that can run."""
    manifest = load_manifest(student_dir)
    check_fits(filter, manifest, student_dir)
    check_policy(filter.spec)
    return manifest


def _plan(
    deployer: Deployer[Any], student_dir: Path, filter: Filter, options: Mapping[str, Any], records: Records
) -> tuple[str, ...]:
    """The deployer's plan; and the options that the last deployment there was given and this one is not: an endpoint
    that is not named again goes on with the student that it has."""
    known = records.of_target(filter.name, deployer.target)
    before = known[-1].options if known else {}
    gone = [f"{name}={value}" for name, value in before.items() if name not in options]
    return (*deployer.plan(student_dir), *(f"not given now, unlike last time: {one}" for one in gone))


def _ask_plugins(filter: Filter, student_dir: Path, manifest: Manifest, target: str) -> None:
    try:
        plugins().ask(
            "before_deploy",
            filter_name=filter.name,
            student=student_dir,
            student_hash=manifest.student_hash,
            target=target,
        )
    except Veto as veto:
        raise GateRefused(f"a plugin stopped the deployment: {veto}", where=target) from veto


def _record(
    filter: Filter,
    manifest: Manifest,
    deployment: Deployment,
    proof: Proof,
    deployer_name: str,
    options: Mapping[str, Any],
) -> DeploymentRecord:
    return DeploymentRecord(
        **deployment.model_dump(),
        when=datetime.now(UTC),
        action="deploy",
        status="activating",
        deployer=deployer_name,
        options=dict(options),
        filter=filter.name,
        version=filter.spec.version,
        spec=filter.spec.to_dict(),
        policy_hash=filter.spec.policy_hash,
        data_fingerprint=manifest.data.fingerprint,
        gates=manifest.gates.gates if manifest.gates else (),
        forced=manifest.forced,
        files=proof.files,
        samples=proof.samples,
    )


def _allow(filter: Filter, student_dir: Path, manifest: Manifest, asked: Gates, force: str | None) -> Manifest:
    """The manifest of a student that may be shipped: by its gates, or marked as forced."""
    forced: Forced | None = None
    try:
        check_gates(filter, manifest, student_dir, asked)
    except GateRefused as refusal:
        if force is None:
            raise
        forced = _forced(force, refusal.what, manifest.forced)
    if forced != manifest.forced:
        manifest = manifest.model_copy(update={"forced": forced})
        save_manifest(student_dir, manifest)
    return manifest


@contextlib.contextmanager
def _taken_back_unless_shipped(student_dir: Path, found: Manifest, manifest: Manifest) -> Iterator[None]:
    """A student that was marked as forced, and then not shipped, is what it was before."""
    try:
        yield
    except BaseException:
        if manifest != found:
            save_manifest(student_dir, found)
        raise


def _forced(reason: str, gates: str, before: Forced | None) -> Forced:
    """The mark; the one from before when it says the same, so that the same student stays the same version."""
    said = " ".join(legible(reason).split())
    if not said:
        raise ConfigError("--force needs a reason, in words that others will read")
    mark = Forced(reason=said[:MAX_REASON], gates=gates, at=datetime.now(UTC))
    return before if before and before.model_copy(update={"at": mark.at}) == mark else mark


def check_gates(filter: Filter, manifest: Manifest, where: Path, asked: Gates) -> None:
    """GateRefused unless a gate record of this very student, policy and data says that all gates asked passed."""
    record, fix = manifest.gates, f"Run: filterkit validate {filter.name} --student {where}"
    if record is None:
        raise GateRefused("the student was never validated", where=where, fix=fix)
    if record.student_hash != manifest.student_hash or record.data_fingerprint != manifest.data.fingerprint:
        raise GateRefused("the gates were passed by another student", where=where, fix=fix)
    if record.policy_hash != filter.spec.policy_hash:
        raise GateRefused("the filter's weights, postfilter or gates changed since validation", where=where, fix=fix)
    limits = {g.name: g.limit for g in record.gates}
    if any(limits.get(name) != limit for name, limit in asked if limit is not None and name not in record.left_out):
        raise GateRefused("the gates in force are not those that validation asked", where=where, fix=fix)
    if asked.top_recall is not None and "top_recall" in record.left_out and _has_tiers(filter):
        raise GateRefused("validation left out top_recall, as it could not make tiers", where=where, fix=fix)
    failed = [g for g in record.gates if not g.passed]
    if failed or not record.gates:
        said = "; ".join(f"{g.name} is {_number(g)}, the limit {g.limit:g}" for g in failed) or "no gate was asked"
        raise GateRefused(f"the gates refuse this student: {said}", where=where)


def _has_tiers(filter: Filter) -> bool:
    """Whether the filter's postfilter, which may have been missing when it was validated, makes tiers."""
    postfilter = make_postfilter(filter.spec)
    try:
        return bool(postfilter.tiers)
    finally:
        postfilter.close()


def _number(gate: Gate) -> str:
    """A gate's figure, and the end of its interval where that is another number."""
    if gate.value is None:
        return "unknown"
    shown = f"{gate.value:.3g}"
    return shown if gate.bound in (None, gate.value) else f"{shown} (at worst {gate.bound:.3g})"
