"""Everything that plugin and filter authors import. Nothing is loaded until it is used, not even pydantic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filterkit._lazy import lazy
from filterkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from filterkit.contracts import (
        API,
        Backend,
        Context,
        Deployer,
        Embedder,
        Executor,
        Model,
        Options,
        Oracle,
        OracleOptions,
        Postfilter,
        Prefilter,
        Scorer,
        Trainer,
        TrainJob,
        run_shard,
    )
    from filterkit.errors import (
        ArtifactError,
        BackendError,
        ConfigError,
        Fatal,
        FilterkitError,
        InputError,
        RateLimited,
        Refused,
        SpecError,
        StoppedEarly,
        Transient,
        Unreachable,
        Veto,
    )
    from filterkit.files import Lock, atomic_write, publish_folder, sha256_file
    from filterkit.io import read_labelled
    from filterkit.prompt import fence, sent_text
    from filterkit.records import (
        F32,
        Article,
        Block,
        Deployment,
        Label,
        OracleRequest,
        Pass,
        Prediction,
        Price,
        Reply,
        Shard,
        ShardResult,
        Split,
        TrainedStudent,
        Usage,
        Verdicts,
    )
    from filterkit.spec import Dimension, FilterSpec, Scale
    from filterkit.student import load_scorer

__all__ = [
    "API",
    "F32",
    "Article",
    "ArtifactError",
    "Backend",
    "BackendError",
    "Block",
    "ConfigError",
    "Context",
    "Deployer",
    "Deployment",
    "Dimension",
    "Embedder",
    "Executor",
    "Fatal",
    "FilterSpec",
    "FilterkitError",
    "InputError",
    "Label",
    "Lock",
    "Model",
    "Options",
    "Oracle",
    "OracleOptions",
    "OracleRequest",
    "Pass",
    "Postfilter",
    "Prediction",
    "Prefilter",
    "Price",
    "RateLimited",
    "Refused",
    "Reply",
    "Scale",
    "Scorer",
    "Shard",
    "ShardResult",
    "SpecError",
    "Split",
    "StoppedEarly",
    "TrainJob",
    "TrainedStudent",
    "Trainer",
    "Transient",
    "Unreachable",
    "Usage",
    "Verdicts",
    "Veto",
    "atomic_write",
    "fence",
    "hookimpl",
    "load_scorer",
    "publish_folder",
    "read_labelled",
    "run_shard",
    "sent_text",
    "sha256_file",
]

_HOMES = {
    "filterkit.contracts": (
        "API Backend Context Deployer Embedder Executor Model Options Oracle OracleOptions "
        "Postfilter Prefilter Scorer TrainJob Trainer run_shard"
    ),
    "filterkit.errors": (
        "ArtifactError BackendError ConfigError Fatal FilterkitError InputError RateLimited "
        "Refused SpecError StoppedEarly Transient Unreachable Veto"
    ),
    "filterkit.records": (
        "F32 Article Block Deployment Label OracleRequest Pass Prediction Price Reply Shard "
        "ShardResult Split TrainedStudent Usage Verdicts"
    ),
    "filterkit.spec": "Dimension FilterSpec Scale",
    "filterkit.files": "Lock atomic_write publish_folder sha256_file",
    "filterkit.prompt": "fence sent_text",
    "filterkit.io": "read_labelled",
    "filterkit.student": "load_scorer",
}
__getattr__ = lazy(__name__, {name: home for home, names in _HOMES.items() for name in names.split()})
