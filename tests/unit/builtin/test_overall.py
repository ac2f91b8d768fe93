from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filterkit.errors import ConfigError, SpecError
from filterkit.options import make_backend
from filterkit.records import Verdicts
from filterkit.testing import fake_context, tiny_spec


def judge(tmp_path: Path, overall: list[float], **options: Any) -> Verdicts:
    one = make_backend("postfilter", "overall", options, tiny_spec(), fake_context(tmp_path))
    column = np.array(overall, dtype=np.float32)
    verdicts = one.judge(None, np.repeat(column[:, None], 3, axis=1), column, None)
    assert isinstance(verdicts, Verdicts)
    return verdicts


def test_what_was_scored_passes(tmp_path: Path) -> None:
    assert judge(tmp_path, [0, 3.5, np.nan, 10]).passed.tolist() == [True, True, False, True]


def test_pass_at_is_the_lowest_that_passes(tmp_path: Path) -> None:
    verdicts = judge(tmp_path, [3.999, 4.0, 4.001, np.nan], pass_at=4)
    assert verdicts.passed.tolist() == [False, True, True, False]
    assert verdicts.tier.tolist() == [-1] * 4
    assert verdicts.reasons.tolist() == [0] * 4
    np.testing.assert_array_equal(verdicts.overall, np.array([3.999, 4.0, 4.001, np.nan], dtype=np.float32))


def test_a_threshold_that_nothing_can_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="pass_at is 11, outside of 0 to 10"):
        judge(tmp_path, [1], pass_at=11)
    with pytest.raises(ConfigError):
        judge(tmp_path, [1], pass_at=float("nan"))
