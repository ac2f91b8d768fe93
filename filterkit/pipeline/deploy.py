"""deploy: gates, publish, verify, activate, record, in this order. Nothing is live before it is verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from filterkit.contracts import Context, Deployer
from filterkit.errors import ConfigError, GateRefused, Veto
from filterkit.files import sha256_file
from filterkit.filters import Filter
from filterkit.manifest import OWN_FILES, Forced, Gate, Manifest, load_manifest, save_manifest
from filterkit.options import make_backend
from filterkit.pipeline.train import raw_scores
from filterkit.plugins import plugins
from filterkit.policy import check_policy, make_postfilter
from filterkit.records import Deployment
from filterkit.spec import Gates
from filterkit.student import check_fits, load_scorer
from filterkit.untrusted import legible

TOLERANCE = 1e-4
"""Largest difference, in scale units, between a score here and a score out there: float noise, no more."""

MAX_REASON = 500
"""Characters of a reason for forcing that are kept."""

SAMPLES = [
    "Clinic reopens\n\nAfter four years without a doctor, the valley's clinic has treated 1,900 people since March.",
    "Quarterly figures\n\nThe bank's shares rose 4 percent after it announced higher fees and 300 job cuts.",
    "Der Fluss lebt wieder\n\nVierzig Jahre nach dem Fischsterben zählten Forschende an der Mulde elf Arten.",
    "Cierra la escuela\n\nEl ayuntamiento confirmó que la única escuela del pueblo cerrará en septiembre.",
    "村里通了自来水\n\n三百多户居民从上周起不用再到山下挑水，工程由村民和县里共同出资。",
    "مكتبة متنقلة\n\nتزور حافلة الكتب ست قرى كل أسبوع منذ بداية العام الدراسي.",
    "",
]
"""Texts that both copies of a student score when a deployment is verified: several languages, and none at all."""


@dataclass(frozen=True)
class DeployReport:
    """What is live now, what was live before, and how far the two copies' scores were apart."""

    deployment: Deployment
    previous: Deployment | None
    largest_difference: float
    files: int
    forced: Forced | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "deployment": self.deployment.model_dump(mode="json"),
            "previous": self.previous.model_dump(mode="json") if self.previous else None,
            "verified_files": self.files,
            "largest_difference": self.largest_difference,
            "forced": self.forced.model_dump(mode="json") if self.forced else None,
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
) -> DeployReport:
    """Ship the student. Raises GateRefused when gates, a plugin's veto or the verification say no.

    `gates` are those in force, where a workspace changed the filter's. `force` says why a student is shipped that the
    gates do not allow: the reason goes into its manifest, and whatever loads it from then on says so. Vetoes and the
    verification cannot be forced.

    Running it again is harmless: publishing is idempotent, and what is live is verified anew.
    """
    manifest = load_manifest(student_dir)
    check_fits(filter, manifest, student_dir)
    check_policy(filter.spec)  # a policy that cannot run must not ship
    deployer: Deployer[Any] = make_backend("deployer", deployer_name, options, filter.spec, context)
    try:
        manifest = _allow(filter, student_dir, manifest, gates or filter.spec.gates, force)
        return _ship(filter, student_dir, manifest, deployer)
    finally:
        deployer.close()


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


def _ship(filter: Filter, student_dir: Path, manifest: Manifest, deployer: Deployer[Any]) -> DeployReport:
    try:
        plugins().ask(
            "before_deploy",
            filter_name=filter.name,
            student=student_dir,
            student_hash=manifest.student_hash,
            target=deployer.target,
        )
    except Veto as veto:
        raise GateRefused(f"a plugin stopped the deployment: {veto}", where=deployer.target) from veto
    previous = deployer.current()
    deployment = deployer.publish(student_dir, manifest.student_hash)
    files = _verify_files(student_dir, manifest, deployer, deployment)
    difference = _verify_scores(student_dir, manifest, deployer, deployment)
    deployer.activate(deployment)
    live = deployer.current()
    if live is None or live.student_hash != manifest.student_hash:
        raise GateRefused("the target does not serve the student that was activated", where=deployer.target)
    plugins().observe("deployed", filter_name=filter.name, deployment=deployment)
    return DeployReport(deployment, previous, difference, files, manifest.forced)


def _verify_files(student_dir: Path, manifest: Manifest, deployer: Deployer[Any], deployment: Deployment) -> int:
    """Compare the hash of every file out there with ours; how many were compared."""
    ours = {name: entry.sha256 for name, entry in manifest.files.items()}
    ours |= {name: sha256_file(student_dir / name) for name in sorted(OWN_FILES) if (student_dir / name).is_file()}
    theirs = deployer.fetch_hashes(deployment)
    wrong = sorted(name for name in ours if theirs.get(name) != ours[name])
    if wrong:
        raise GateRefused(f"{wrong[0]} out there is not the file that was published", where=deployer.target)
    return len(ours)


def _verify_scores(student_dir: Path, manifest: Manifest, deployer: Deployer[Any], deployment: Deployment) -> float:
    """The largest difference between scores here and out there; GateRefused above the tolerance."""
    dimensions = len(manifest.spec.dimensions)
    here, there = load_scorer(student_dir), deployer.open(deployment)
    a, b = raw_scores(here, SAMPLES, dimensions), raw_scores(there, SAMPLES, dimensions)
    here.close()
    there.close()
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        raise GateRefused("the copy out there does not score the same articles", where=deployer.target)
    difference = float(np.nanmax(np.abs(a - b), initial=0.0))
    if difference > TOLERANCE:
        raise GateRefused(f"the copy out there scores differently, by up to {difference:.4g}", where=deployer.target)
    return difference
