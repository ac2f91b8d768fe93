"""Where things lie unless a command says otherwise."""

from __future__ import annotations

from pathlib import Path

from helpers import write_filter

from filterkit.config import load_config
from filterkit.filters import load_filter


def test_a_students_folder_is_never_in_an_environment(tmp_path: Path) -> None:
    config = load_config(tmp_path)
    own = load_filter(write_filter(tmp_path / "filters/tiny/v1"))
    installed = load_filter(write_filter(tmp_path / ".venv/lib/python3.11/site-packages/fk_tiny/v1"))
    assert config.student_dir(own) == tmp_path / "filters/tiny/v1/model"
    assert config.student_dir(installed) == tmp_path / "students/tiny/v1"
