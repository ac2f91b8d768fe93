"""A student that was shipped although its gates refused it says so wherever it is loaded."""

from __future__ import annotations

import warnings

from filterkit.manifest import Manifest
from filterkit.untrusted import legible

MAX_REASON = 200
"""Characters that are shown of why somebody forced a student, and of what its gates had said."""
_told: set[str] = set()
"""Hashes of the forced students that this process has warned of."""


def tell_forced(manifest: Manifest) -> None:
    """Warn, once per process and student, when it was shipped although its gates refused it."""
    if manifest.forced is None or manifest.student_hash in _told:
        return
    _told.add(manifest.student_hash)
    gates, reason = (_one_line(text) for text in (manifest.forced.gates, manifest.forced.reason))
    name = manifest.spec.name
    warnings.warn(f"{name}: this student was shipped although its gates refused it ({gates}): {reason}", stacklevel=3)


def _one_line(text: str) -> str:
    """What somebody wrote, without control characters, on one line, shortened."""
    line = " ".join(legible(text).split())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"
