"""What plugins and programs import is a promise: a name that goes, or comes, is seen here first."""

from __future__ import annotations

import filterkit
import filterkit.api

API = [
    "API", "Article", "ArtifactError", "Backend", "BackendError", "BaseStudent", "Batch", "BatchItem", "Block",
    "CannotTell", "ConfigError", "Context", "JobState",
    "Deployer", "Deployment", "Dimension", "Embedder", "Executor", "F32", "Fatal", "FilterSpec", "FilterkitError",
    "GateRefused", "InferenceRequest", "InferenceRow", "InputError", "Label", "Lock", "Manifest", "Model",
    "Options", "Oracle", "OracleOptions", "OracleRequest", "Pass", "PluginError", "Postfilter", "Prediction",
    "Prefilter", "Price", "RateLimited", "Refused", "Reply", "Scale", "Scorer", "Shard", "ShardResult", "Shipped",
    "SpecError", "Split", "StoppedEarly", "TooLarge", "TrainJob", "TrainedStudent", "Trainer", "Transient",
    "Unreachable", "Usage", "Verdict", "Verdicts", "Veto", "answer_rows", "atomic_write", "deployment_id", "fence",
    "hookimpl", "load_config", "load_filter", "load_manifest", "load_scorer", "load_student", "parse_json",
    "publish_folder", "read_labelled", "read_request", "read_shipped", "run_shard", "sent_text", "sha256_file",
    "student_folder", "target_of", "tell_forced", "write_answer",
]  # fmt: skip


def test_what_plugins_import() -> None:
    assert sorted(filterkit.api.__all__) == sorted(API)


def test_what_programs_import() -> None:
    assert filterkit.__all__ == ["__version__", "evaluate", "fit_calibrator", "load_filter", "load_student"]


def test_every_name_is_there() -> None:
    for module in (filterkit, filterkit.api):
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(filterkit.api, "Teapot")
