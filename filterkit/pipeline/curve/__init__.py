"""How many labels are enough: the error of students of growing shares of the labels, and what more of them would buy.

`measure` trains and judges the students, `fit` says what their errors tell of larger sizes, `price` what a label costs.
"""

from __future__ import annotations

from filterkit.pipeline.curve.fit import Fit, Forecast, fit
from filterkit.pipeline.curve.measure import FEWEST, Measured, Plan, means, measure, noise, plan
from filterkit.pipeline.curve.price import LabelPrice
from filterkit.pipeline.curve.report import Curve, Floor, Job, prepare_job

__all__ = [
    "FEWEST",
    "Curve",
    "Fit",
    "Floor",
    "Forecast",
    "Job",
    "LabelPrice",
    "Measured",
    "Plan",
    "fit",
    "means",
    "measure",
    "noise",
    "plan",
    "prepare_job",
]
