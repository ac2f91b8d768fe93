"""Static word embeddings: a matrix with a vector per token, and the tokenizer that belongs to it.

Read from a folder, from an artifact, or from the installed wordllama package, whose files are read without importing
it (its own loader looks for the tokenizer where it does not lie, and would then ask the network).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer

from filterkit.api import ConfigError

F32 = NDArray[np.float32]

WORDLLAMA = "wordllama"
_WEIGHTS = Path("weights", "l2_supercat_256.safetensors")
_TOKENIZER = Path("tokenizers", "l2_supercat_tokenizer_config.json")


class StaticEmbedding:
    """matrix [v, e]: a row per token of the tokenizer; tokenizer: the JSON text of a `tokenizers` tokenizer.

    `licence` is the text that copies have to carry. ValueError when matrix and tokenizer do not belong together.
    """

    def __init__(self, matrix: NDArray[np.floating], tokenizer: str, licence: str = "") -> None:
        if matrix.ndim != 2 or matrix.shape[1] < 1:
            raise ValueError(f"the embedding matrix has shape {list(matrix.shape)}, not [tokens, numbers]")
        self.stored: NDArray[np.float16] = np.ascontiguousarray(matrix, dtype=np.float16)
        self.matrix: F32 = self.stored.astype(np.float32)
        if not np.isfinite(self.matrix).all():
            raise ValueError("the embedding matrix holds numbers that are not finite")
        self.tokenizer_json = tokenizer
        self.licence = licence
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"the tokenizer cannot be read: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        highest = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if highest >= len(matrix):
            raise ValueError(f"the tokenizer knows token {highest}, the embedding matrix has {len(matrix)} rows")

    @property
    def size(self) -> int:
        """Numbers per vector."""
        return int(self.matrix.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of matrix and tokenizer."""
        digest = hashlib.sha256(repr(self.stored.shape).encode())
        digest.update(self.stored.data)
        digest.update(self.tokenizer_json.encode())
        return digest.hexdigest()

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        encode = self._tokenizer.encode_batch_fast
        if os.environ.get("TOKENIZERS_PARALLELISM") == "false":  # then a batch stays in this thread
            return [found.ids for found in encode(list(texts), add_special_tokens=False)]
        # one at a time: a longer batch would take all cores, whatever the caller's limit
        return [encode([text], add_special_tokens=False)[0].ids for text in texts]

    def pool(self, ids: Sequence[Sequence[int]]) -> F32:
        """Mean vector of each token list, scaled to unit length, [n, e]; zeros where there is no token."""
        starts = np.cumsum([0, *(len(one) for one in ids)])
        flat = np.fromiter((token for one in ids for token in one), dtype=np.int32, count=int(starts[-1]))
        ones = np.ones(len(flat), dtype=np.float32)
        return unit_rows(csr_matrix((ones, flat, starts), shape=(len(ids), len(self.matrix))) @ self.matrix)


def unit_rows(rows: F32) -> F32:
    """Rows [n, k] scaled to length 1; a row of zeros stays as it is."""
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    scaled: F32 = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return scaled


def find_embedding(name: str, root: Path = Path()) -> StaticEmbedding:
    """The embedding that an option names: "wordllama", or a folder with one .safetensors file and a tokenizer.json.

    A relative folder starts at `root`. Raises ConfigError.
    """
    weights, tokenizer, licence = _wordllama() if name == WORDLLAMA else _folder(root / name)
    try:
        tensors = load_file(weights)
        matrices = [tensor for tensor in tensors.values() if tensor.ndim == 2]
        if len(tensors) != 1 or len(matrices) != 1:
            raise ValueError(f"holds the tensors {sorted(tensors)}; one matrix [tokens, numbers] is wanted")
        # written anew without white space: it becomes part of every artifact
        parsed = json.loads(tokenizer.read_text(encoding="utf-8"))
        return StaticEmbedding(matrices[0], json.dumps(parsed, ensure_ascii=False, separators=(",", ":")), licence)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ConfigError(f"cannot be used as static embeddings: {error}", where=weights) from error


def _folder(folder: Path) -> tuple[Path, Path, str]:
    weights = sorted(folder.glob("*.safetensors"))
    tokenizer = folder / "tokenizer.json"
    if len(weights) != 1 or not tokenizer.is_file():
        raise ConfigError(
            f"there is no folder {str(folder)!r} with one .safetensors file and a tokenizer.json",
            where="embedding",
            fix=f"name such a folder, or {WORDLLAMA!r}, or 'none'",
        )
    licences = [path for path in sorted(folder.glob("LICEN[CS]E*")) if path.is_file()]
    return weights[0], tokenizer, "\n\n".join(path.read_text(encoding="utf-8", errors="replace") for path in licences)


def _wordllama() -> tuple[Path, Path, str]:
    spec = importlib.util.find_spec(WORDLLAMA)  # of a top-level package: nothing is executed
    homes = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for home in homes:
        if (home / _WEIGHTS).is_file() and (home / _TOKENIZER).is_file():
            return home / _WEIGHTS, home / _TOKENIZER, _wordllama_licence()
    raise ConfigError(
        "the word embeddings of the package wordllama are not installed",
        where="embedding",
        fix="pip install 'wordllama==0.4.*', or name a folder with your own",
    )


def _wordllama_licence() -> str:
    """Its licence text (MIT), which asks to be part of every copy; its name where the package came without it."""
    try:
        dist = importlib.metadata.distribution(WORDLLAMA)
    except importlib.metadata.PackageNotFoundError:
        return "wordllama: MIT License, Copyright (c) 2024 Lee Miller\n"
    text = (
        dist.read_text("licenses/LICENSE")
        or dist.read_text("LICENSE")
        or "MIT License, Copyright (c) 2024 Lee Miller\n"
    )
    return f"Word embeddings and tokenizer: {WORDLLAMA} {dist.version}\n\n{text}"
