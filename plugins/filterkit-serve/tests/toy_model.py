"""A model for tests: texts tell it to be slow or to break. It becomes the module fk_serve_toy of a dist of its own."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from filterkit.api import Prediction, hookimpl
from filterkit.testing.toys import ToyModel, ToyScorer


class Scorer(ToyScorer):
    max_batch = 8

    def predict(self, encoded: Any) -> Prediction:
        words = [word for text in encoded for word in text]
        time.sleep(max((float(word.removeprefix("sleep:")) for word in words if word.startswith("sleep:")), default=0))
        if "poison" in words:
            raise ValueError(f"cannot read {' '.join(words)}")
        found = super().predict(encoded)
        found.scores[[row for row, text in enumerate(encoded) if "notanumber" in text]] = np.nan
        return found


class Model(ToyModel):
    def load(self, ref: str, **how: Any) -> Scorer:
        scorer = super().load(ref, **how)
        scorer.__class__ = Scorer
        return scorer  # type: ignore[return-value]


@hookimpl
def register_models(register: Any) -> None:
    register("toy", "fk_serve_toy:Model", summary="a toy, for tests")
