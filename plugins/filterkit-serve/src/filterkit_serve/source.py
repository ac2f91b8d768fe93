"""Where a student lies: its own folder, or a folder of the deployer `local`, which says what is live."""

from __future__ import annotations

import os
from pathlib import Path

from filterkit.api import student_folder


class Source:
    """A student's folder, or one whose current.json names the version that is live, such as `deployments/FILTER`."""

    def __init__(self, given: Path) -> None:
        self.given = given

    def folder(self) -> Path:
        """The student's own folder at this moment. ArtifactError when it is not said which."""
        return student_folder(self.given)

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
