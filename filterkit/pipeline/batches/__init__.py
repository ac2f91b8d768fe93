"""Labelling by batch jobs: submitted, left alone, looked at again, collected. Nothing is submitted or paid twice."""

from filterkit.pipeline.batches.desk import Desk
from filterkit.pipeline.batches.events import BatchReport, Event, Out
from filterkit.pipeline.batches.label import label_in_batches, require_batch

__all__ = ["BatchReport", "Desk", "Event", "Out", "label_in_batches", "require_batch"]
