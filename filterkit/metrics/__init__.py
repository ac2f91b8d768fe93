"""How far predictions are from labels, defined as scikit-learn and scipy do, with confidence intervals."""

from filterkit.metrics.measure import measure
from filterkit.metrics.ranking import ranks, spearman
from filterkit.metrics.records import Metrics
from filterkit.metrics.tiers import Tiers

__all__ = ["Metrics", "Tiers", "measure", "ranks", "spearman"]
