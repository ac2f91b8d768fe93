"""Contract suites for plugin authors, and the small fakes that they and your own tests can use.

    from filterkit.testing import OracleContract

    class TestAcme(OracleContract):
        @pytest.fixture
        def backend(self):
            return AcmeOracle

Every suite asks for the fixture `backend` (the class); `options` and `spec` have defaults that you override
where your backend needs more. A model's suite also asks for `artifact`.
"""

from __future__ import annotations

try:
    import pytest
except ImportError as error:
    raise ImportError("filterkit.testing needs pytest: pip install 'filterkit[testing]'") from error

pytest.register_assert_rewrite(
    *(
        f"filterkit.testing.{name}"
        for name in ("base", "oracle", "batch", "trainer", "model", "deployer", "filters", "executor")
    )
)

from filterkit.testing.base import BackendContract  # noqa: E402
from filterkit.testing.batch import BatchContract  # noqa: E402
from filterkit.testing.deployer import DeployerContract  # noqa: E402
from filterkit.testing.executor import ExecutorContract  # noqa: E402
from filterkit.testing.filters import PostfilterContract, PrefilterContract  # noqa: E402
from filterkit.testing.model import EmbedderContract, ModelContract  # noqa: E402
from filterkit.testing.oracle import OracleContract  # noqa: E402
from filterkit.testing.samples import (  # noqa: E402
    HOSTILE_TEXTS,
    fake_context,
    make_request,
    make_split,
    sample_articles,
    sample_label,
    tiny_spec,
    write_labelled,
)
from filterkit.testing.toys import make_student  # noqa: E402
from filterkit.testing.trainer import TrainerContract  # noqa: E402

__all__ = [
    "HOSTILE_TEXTS",
    "BackendContract",
    "BatchContract",
    "DeployerContract",
    "EmbedderContract",
    "ExecutorContract",
    "ModelContract",
    "OracleContract",
    "PostfilterContract",
    "PrefilterContract",
    "TrainerContract",
    "fake_context",
    "make_request",
    "make_split",
    "make_student",
    "sample_articles",
    "sample_label",
    "tiny_spec",
    "write_labelled",
]
