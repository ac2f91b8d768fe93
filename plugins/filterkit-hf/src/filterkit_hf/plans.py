"""What a deployment will make and what it will cost, in words, before it does."""

from __future__ import annotations

from pathlib import Path

from filterkit_hf.endpoints import Endpoints, described, memory_gb
from filterkit_hf.hub import Repo
from filterkit_hf.options import HubOptions
from filterkit_hf.parcel import Parcel

_NEEDS = 1.3
"""Memory that serving takes, by the size of what is uploaded: weights, and room to work."""


def plan_lines(parcel: Parcel, options: HubOptions, repo: Repo, endpoints: Endpoints, data: Path) -> list[str]:
    """Repository, dataset and endpoint, a line or more each. ConfigError where the hardware cannot be had."""
    private = repo.private()
    seen_by = "public" if options.public else "private"
    there = f"new, {seen_by}" if private is None else ("private" if private else "public")
    lines = [f"model repository {options.repo_id} ({there}): {len(parcel.files) + 1} files, {_megabytes(parcel.size)}"]
    if options.dataset_repo_id:
        text = "with titles and contents" if options.dataset_text else "without titles, contents and addresses"
        lines.append(f"dataset repository {options.dataset_repo_id} ({seen_by}), {text}, from {data}")
    if options.endpoint:
        lines += _endpoint_lines(parcel, options, endpoints)
    return lines


def _endpoint_lines(parcel: Parcel, options: HubOptions, endpoints: Endpoints) -> list[str]:
    assert options.endpoint is not None
    hardware = endpoints.choose(options.hardware)
    there = endpoints.find(options.endpoint)
    what = "made" if there is None else f"updated (now {there.raw['status']['state']})"
    scaling = (
        f"it scales to zero after {options.scale_to_zero_timeout} minutes without a request, and costs nothing then"
        if options.min_replica == 0
        else f"at least {options.min_replica} always run, ${options.min_replica * hardware.price_per_hour:g} an hour"
    )
    lines = [
        f"endpoint {options.endpoint}, {what}: {described(hardware)} for each of at most {options.max_replica}",
        f"endpoint {options.endpoint}: {scaling}",
    ]
    if parcel.size * _NEEDS > memory_gb(hardware) * 1e9:
        lines.append(f"{_megabytes(parcel.size)} will hardly fit into {memory_gb(hardware):g} GB of memory: take more")
    return lines


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
