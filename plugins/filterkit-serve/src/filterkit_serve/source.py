"""Where a student lies: its own folder, or a folder of the deployer `local`, which says what is live."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from filterkit.api import ArtifactError

MANIFEST, CURRENT = "filterkit.json", "current.json"
_ID = re.compile(r"[0-9a-f]{16}")


class Source:
    """A student's folder, or one whose current.json names the version that is live, such as `deployments/FILTER`."""

    def __init__(self, given: Path) -> None:
        self.given = given

    def folder(self) -> Path:
        """The student's own folder at this moment. ArtifactError when there is none."""
        current = self.given / CURRENT
        if (self.given / MANIFEST).exists() or not current.exists():
            return self.given
        try:
            found = json.loads(current.read_bytes())
        except (OSError, ValueError) as error:
            raise ArtifactError("does not say which version is live", where=current, fix="Deploy again") from error
        version = found.get("id") if isinstance(found, dict) else None
        if not isinstance(version, str) or not _ID.fullmatch(version):
            raise ArtifactError("names no version", where=current, fix="Deploy again")
        return self.given / "versions" / version / "student"

    def signature(self) -> object:
        """Another one whenever the student may be another: names, sizes and times of its files."""
        folder = self.folder()
        found = []
        for place, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(place, name)  # noqa: PTH118 - once a second for every file
                try:
                    stat = os.stat(path)  # noqa: PTH116
                except FileNotFoundError:
                    continue
                found.append((path, stat.st_size, stat.st_mtime_ns, stat.st_ino))
        return str(folder), tuple(sorted(found))
