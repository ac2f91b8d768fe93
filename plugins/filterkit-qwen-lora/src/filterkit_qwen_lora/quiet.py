"""The libraries' own chatter, held back: filterkit says itself what matters."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import huggingface_hub.utils
from transformers.utils import logging as transformers_logging

_LOGGERS = ("huggingface_hub", "peft", "accelerate")


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, notes or bars of transformers, peft and the Hub's client while the block runs, errors excepted.

    Bars of downloads stay: they are long, and the Hub's client draws them on a terminal only.
    """
    of_transformers: Any = transformers_logging  # neither's functions are typed
    hub: Any = huggingface_hub.utils
    verbosity, bars = of_transformers.get_verbosity(), of_transformers.is_progress_bar_enabled()
    downloads = not hub.are_progress_bars_disabled()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()
    if downloads:
        hub.enable_progress_bars()
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        of_transformers.set_verbosity(verbosity)
        if bars:
            of_transformers.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def without_conversion_service() -> Iterator[None]:
    """Keeps transformers from asking a public service to convert old weight files, with the user's token in hand."""
    name = "DISABLE_SAFETENSORS_CONVERSION"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
