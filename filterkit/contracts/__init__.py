"""One small abstract class per kind of backend. They know records, spec and errors, and nothing else."""

from typing import Any

from filterkit.contracts.base import API, Backend, Context, Options, redact
from filterkit.contracts.deployer import Deployer
from filterkit.contracts.executor import Executor, run_shard
from filterkit.contracts.filters import Postfilter, Prefilter
from filterkit.contracts.model import Embedder, Model, Scorer
from filterkit.contracts.oracle import Oracle, OracleOptions
from filterkit.contracts.remote import Batch, BatchItem, JobState, RemoteJobs
from filterkit.contracts.trainer import Trainer, TrainJob

KINDS: dict[str, type[Backend[Any]]] = {
    "oracle": Oracle,
    "trainer": Trainer,
    "model": Model,
    "embedder": Embedder,
    "deployer": Deployer,
    "prefilter": Prefilter,
    "postfilter": Postfilter,
    "executor": Executor,
}
"""Kind -> the class its backends derive from."""

__all__ = [
    "API",
    "KINDS",
    "Backend",
    "Batch",
    "BatchItem",
    "Context",
    "Deployer",
    "Embedder",
    "Executor",
    "JobState",
    "Model",
    "Options",
    "Oracle",
    "OracleOptions",
    "Postfilter",
    "Prefilter",
    "RemoteJobs",
    "Scorer",
    "TrainJob",
    "Trainer",
    "redact",
    "run_shard",
]
