"""Students as they are shipped, and their handlers running in processes of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filterkit_hf.vendored import endpoint_files

from filterkit.api import FilterSpec, Shipped, deployment_id, load_manifest, sha256_file
from filterkit.testing.fake_hub import toolkit

REPOSITORY = Path(__file__).parents[3]
UPLIFTING = REPOSITORY / "filters" / "uplifting"
COMMAND = [sys.executable, "-c", "from filterkit.cli.main import main; main()"]


def lite_student(root: Path) -> Path:
    """A lite student of the filter uplifting, tiers and all, trained on its sample."""
    (root / "filterkit.yaml").write_text("{}\n")
    _run(root, "prepare", UPLIFTING / "v1", "--labels", UPLIFTING / "sample/articles.jsonl", "--output-dir", "data")
    options = ("--trainer", "lite", "-O", "search=false")
    _run(root, "train", UPLIFTING / "v1", "--data-dir", "data", "--output-dir", "student", *options)
    return root / "student"


def _run(root: Path, *arguments: object) -> None:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def ship(student: Path, folder: Path, spec: FilterSpec | None = None) -> Path:
    """The student with all that is added to it, and its deployment.json."""
    manifest = load_manifest(student)
    shutil.copytree(student, folder)
    for name, content in endpoint_files(student, manifest, spec).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = {p.relative_to(folder).as_posix(): sha256_file(p) for p in folder.rglob("*") if p.is_file()}
    shipped = Shipped(
        id=deployment_id(manifest.student_hash, files),
        student_hash=manifest.student_hash,
        filter=manifest.spec.name,
        version=manifest.spec.version,
        files=files,
        at=datetime.now(UTC),
    )
    (folder / "deployment.json").write_text(shipped.model_dump_json())
    return folder


class Endpoint:
    """The handler in `folder`, served as the inference toolkit does. python: an interpreter that has its requirements;
    else this one, in which no installed filterkit can be imported."""

    def __init__(self, folder: Path, python: Path | None = None) -> None:
        self._folder = folder
        self._port = folder.with_suffix(".port")
        self._port.unlink(missing_ok=True)
        if python is None:
            self._command = [sys.executable, "-I", str(Path(__file__).with_name("guarded.py")), toolkit.__file__]
        else:
            self._command = [str(python), "-I", toolkit.__file__]

    def __enter__(self) -> Self:
        self._log = self._folder.with_suffix(".log").open("w+b")
        self._process = subprocess.Popen(
            [*self._command, str(self._folder)], stdin=subprocess.PIPE, stdout=self._log, stderr=self._log
        )
        while not self._port.exists():
            if self._process.poll() is not None:
                log = self.log
                self.__exit__()
                raise RuntimeError(log)
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{self._port.read_text()}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._log.close()

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._folder.with_suffix(".log").read_text("utf-8", "replace")

    def ask(self, body: Any) -> tuple[int, Any]:
        """Status and answer to a JSON body, or to bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def right(self, body: Any) -> Any:
        """The answer to what it must not refuse."""
        status, answer = self.ask(body)
        assert status == 200, answer
        return answer
