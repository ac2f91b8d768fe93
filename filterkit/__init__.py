"""filterkit distils an LLM's judgement of articles into a small student model that anyone can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filterkit._lazy import lazy

if TYPE_CHECKING:
    from filterkit.filters import load_filter
    from filterkit.pipeline.calibrate import fit_calibrator
    from filterkit.pipeline.evaluate import evaluate
    from filterkit.student import load_student

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "fit_calibrator", "load_filter", "load_student"]

__getattr__ = lazy(
    __name__,
    {
        "load_filter": "filterkit.filters",
        "load_student": "filterkit.student",
        "evaluate": "filterkit.pipeline.evaluate",
        "fit_calibrator": "filterkit.pipeline.calibrate",
    },
)
