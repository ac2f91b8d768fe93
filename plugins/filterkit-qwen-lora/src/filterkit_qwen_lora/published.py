"""Architectures of well-known bases as their makers published them, so that a plan needs no network.

published.json holds the fields of their config.json that decide shapes; a test counts the parameters they make.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from filterkit_qwen_lora.base import load_config
from filterkit_qwen_lora.task import base_place

_FILE = "published.json"


@cache
def known_bases() -> dict[str, dict[str, Any]]:
    """By Hub id: `published` (year and month) and `config`."""
    found: dict[str, dict[str, Any]] = json.loads(resources.files(__package__).joinpath(_FILE).read_text("utf-8"))
    return found


def planned_config(name: str, names: Sequence[str], *, revision: str | None, root: Path) -> tuple[Any, str]:
    """The config of base `name` with one logit per dimension, and where it is from.

    A folder is read; a well-known base without a revision is taken as published, which gives the same plan with and
    without a network; others come from the Hub's cache or the Hub. Raises ConfigError.
    """
    place = base_place(name, root)
    known = known_bases().get(name) if place == name and revision is None else None
    if known is None:
        source = "its folder" if Path(place).is_dir() else "the Hugging Face Hub"
        return load_config(place, names, revision=revision), source
    config = AutoConfig.for_model(**known["config"])
    config.num_labels = len(names)
    config.problem_type = "regression"
    return config, f"as published {known['published']}"
