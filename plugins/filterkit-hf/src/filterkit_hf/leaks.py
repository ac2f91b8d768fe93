"""Looks for keys and tokens in what is about to be uploaded: once it is out there, it has to be replaced."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from filterkit.api import ArtifactError
from filterkit_hf.hub import Content

_ESCAPED = rb"(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4})"
"""After what JSON writes for a line break, a tab or another character: there a letter before a key is none."""


def _not_after(letters: bytes) -> bytes:
    return rb"(?:(?<![" + letters + rb"])|" + _ESCAPED + rb")"


_SHAPES = {
    b"hf_": ("a Hugging Face token", rb"hf_[A-Za-z0-9]{30,}|" + _not_after(rb"A-Za-z0-9_") + rb"hf_[A-Za-z0-9]{16,}"),
    b"AIza": ("a Google API key", rb"AIza[0-9A-Za-z_-]{30,}"),
    b"sk-": ("an API key (sk-…)", _not_after(rb"A-Za-z0-9-") + rb"sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}"),
    b"ghp_": ("a GitHub token", rb"ghp_[A-Za-z0-9]{36}"),
    b"github_pat_": ("a GitHub token", rb"github_pat_[A-Za-z0-9_]{40,}"),
    b"AKIA": ("an AWS key", _not_after(rb"A-Z0-9") + rb"AKIA[0-9A-Z]{16}(?![A-Z0-9])"),
    b"PRIVATE KEY": ("a private key", rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
"""What such a text begins with (quickly looked for), and its whole shape."""
_COMPILED = [(start, what, re.compile(shape)) for start, (what, shape) in _SHAPES.items()]
_SECRET_NAME = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD)$")
_SHORTEST = 8
_PIECE = 1 << 22
_OVERLAP = 1 << 10


def refuse_leaks(files: Mapping[str, Content], known: Iterable[str]) -> None:
    """ArtifactError when a file, or its name, holds one of the secrets `known`, one of the environment's, or what is
    shaped like one. It says in which file, never what."""
    secrets = _secrets(known)
    for name, content in files.items():
        for piece in _pieces(name.encode(), content):
            found = _leak(piece, secrets)
            if found:
                raise ArtifactError(
                    f"{_shown(name)} holds {found}, and would be uploaded",
                    fix="Take it out, replace it where it was issued, then train or prepare again",
                )


def _secrets(known: Iterable[str]) -> list[bytes]:
    """What must not be in any file: the given ones, and the values of variables that are named like secrets."""
    environment = (value.strip() for name, value in os.environ.items() if _SECRET_NAME.search(name))
    return sorted({value.encode() for value in (*known, *environment) if len(value) >= _SHORTEST})


def _pieces(name: bytes, content: Content) -> Iterator[bytes]:
    """The name, then the bytes, in pieces that overlap: nothing is cut in two unseen."""
    yield name
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        before = b""
        while piece := file.read(_PIECE):
            yield before + piece
            before = piece[-_OVERLAP:]


def _leak(piece: bytes, secrets: list[bytes]) -> str | None:
    """What a piece holds, in words."""
    if any(secret in piece for secret in secrets):
        return "the value of a secret of this environment"
    return next((what for start, what, shape in _COMPILED if start in piece and shape.search(piece)), None)


def _shown(name: str) -> str:
    """A file's name, unless that itself is the leak."""
    return "a file's name" if _leak(name.encode(), _secrets(())) else name
