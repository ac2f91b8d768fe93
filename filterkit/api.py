"""Everything that plugin and filter authors import. Nothing is loaded until it is used, not even pydantic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filterkit._lazy import lazy
from filterkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from filterkit.config import load_config
    from filterkit.contracts import (
        API,
        Backend,
        Batch,
        BatchItem,
        Context,
        Deployer,
        Embedder,
        Executor,
        JobState,
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
        CannotTell,
        ConfigError,
        Fatal,
        FilterkitError,
        GateRefused,
        InputError,
        PluginError,
        RateLimited,
        Refused,
        SpecError,
        StoppedEarly,
        Transient,
        Unreachable,
        Veto,
    )
    from filterkit.files import Lock, atomic_write, publish_folder, sha256_file
    from filterkit.filters import load_filter
    from filterkit.forced import tell_forced
    from filterkit.inference import (
        InferenceRequest,
        InferenceRow,
        TooLarge,
        answer_rows,
        parse_json,
        read_request,
        write_answer,
    )
    from filterkit.io import read_labelled
    from filterkit.judging import BaseStudent, Verdict
    from filterkit.manifest import Manifest, load_manifest
    from filterkit.plugins import target_of
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
    from filterkit.shipped import Shipped, deployment_id, read_shipped, student_folder
    from filterkit.spec import Dimension, FilterSpec, Scale
    from filterkit.student import load_scorer, load_student

__all__ = [
    "API",
    "F32",
    "Article",
    "ArtifactError",
    "Backend",
    "BackendError",
    "BaseStudent",
    "Batch",
    "BatchItem",
    "Block",
    "CannotTell",
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
    "GateRefused",
    "InferenceRequest",
    "InferenceRow",
    "InputError",
    "JobState",
    "Label",
    "Lock",
    "Manifest",
    "Model",
    "Options",
    "Oracle",
    "OracleOptions",
    "OracleRequest",
    "Pass",
    "PluginError",
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
    "Shipped",
    "SpecError",
    "Split",
    "StoppedEarly",
    "TooLarge",
    "TrainJob",
    "TrainedStudent",
    "Trainer",
    "Transient",
    "Unreachable",
    "Usage",
    "Verdict",
    "Verdicts",
    "Veto",
    "answer_rows",
    "atomic_write",
    "deployment_id",
    "fence",
    "hookimpl",
    "load_config",
    "load_filter",
    "load_manifest",
    "load_scorer",
    "load_student",
    "parse_json",
    "publish_folder",
    "read_labelled",
    "read_request",
    "read_shipped",
    "run_shard",
    "sent_text",
    "sha256_file",
    "student_folder",
    "target_of",
    "tell_forced",
    "write_answer",
]

_HOMES = {
    "filterkit.config": "load_config",
    "filterkit.filters": "load_filter",
    "filterkit.contracts": (
        "API Backend Batch BatchItem Context Deployer Embedder Executor JobState Model Options Oracle OracleOptions "
        "Postfilter Prefilter Scorer TrainJob Trainer run_shard"
    ),
    "filterkit.errors": (
        "ArtifactError BackendError CannotTell ConfigError Fatal FilterkitError GateRefused InputError PluginError "
        "RateLimited Refused SpecError StoppedEarly Transient Unreachable Veto"
    ),
    "filterkit.records": (
        "F32 Article Block Deployment Label OracleRequest Pass Prediction Price Reply Shard "
        "ShardResult Split TrainedStudent Usage Verdicts"
    ),
    "filterkit.spec": "Dimension FilterSpec Scale",
    "filterkit.files": "Lock atomic_write publish_folder sha256_file",
    "filterkit.forced": "tell_forced",
    "filterkit.plugins": "target_of",
    "filterkit.prompt": "fence sent_text",
    "filterkit.io": "read_labelled",
    "filterkit.student": "load_scorer load_student",
    "filterkit.judging": "BaseStudent Verdict",
    "filterkit.manifest": "Manifest load_manifest",
    "filterkit.shipped": "Shipped deployment_id read_shipped student_folder",
    "filterkit.inference": "InferenceRequest InferenceRow TooLarge answer_rows write_answer parse_json read_request",
}
__getattr__ = lazy(__name__, {name: home for home, names in _HOMES.items() for name in names.split()})
