"""report.html: what validation found, as one page that needs nothing else."""

from filterkit.report.contents import Contents, Judged, LabelCost
from filterkit.report.page import render

__all__ = ["Contents", "Judged", "LabelCost", "render"]
