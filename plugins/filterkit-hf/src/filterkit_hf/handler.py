"""Answers for this student on Hugging Face Inference Endpoints: texts or articles in, scores and verdicts out.

What it runs lies beside it in runtime/; what that needs from elsewhere is named in requirements.txt.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

MODEL = ""
POSTFILTER = ""
PREFILTER = ""

WRITTEN_ANEW = {"filterkit", "filterkit.api"}
"""The modules of runtime/ that are no copies: a whole filterkit has more in them."""


class EndpointHandler:
    """What the inference toolkit makes once and calls for every request, from any thread."""

    def __init__(self, path: str = "") -> None:
        """Load the student in the folder `path`. RuntimeError: a file of it is not the one that was shipped."""
        if sys.version_info < (3, 11):  # noqa: UP036 - nobody knows where this will run
            raise RuntimeError("this student needs Python 3.11 or newer")
        folder = Path(path) if path else Path(__file__).parent
        check_files(folder)
        import_all(folder / "runtime")
        serving = importlib.import_module("filterkit_hf.serving")
        self.endpoint = serving.Endpoint(folder, model=MODEL, postfilter=POSTFILTER, prefilter=PREFILTER)

    def __call__(self, data: dict[str, Any]) -> Any:
        """The answer to {"inputs": …, "parameters": …}. ValueError says what is wrong with the request."""
        return self.endpoint.answer(data)


def check_files(folder: Path) -> None:
    """RuntimeError unless every file is the one that deployment.json, where there is one, says was shipped."""
    record = folder / "deployment.json"
    if not record.is_file():
        return
    try:
        shipped = dict(json.loads(record.read_bytes())["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeError("deployment.json is damaged: deploy again") from error
    for name, digest in shipped.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise RuntimeError(f"{name} is not the file that was shipped: deploy again")
    for file in (folder / "runtime").rglob("*.py"):
        if file.relative_to(folder).as_posix() not in shipped:
            raise RuntimeError(f"{file.relative_to(folder)} was not shipped: deploy again")


def sha256(file: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def import_all(runtime: Path) -> None:
    """Import runtime/ now, so that what is missing is missed before the first request.

    RuntimeError where the process has loaded other code under one of its names.
    """
    sys.path.insert(0, str(runtime))
    for file in sorted(runtime.rglob("*.py")):
        name = ".".join(file.relative_to(runtime).with_suffix("").parts).removesuffix(".__init__")
        loaded = importlib.import_module(name).__file__ or ""
        if name not in WRITTEN_ANEW and Path(loaded).read_bytes() != file.read_bytes():
            raise RuntimeError(f"this process has loaded another {name}, from {loaded}")
