"""Texts to rows of token ids, and rows to padded batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Row = NDArray[np.int32]
Keep = Literal["head", "head+tail"]

_MOST = 32
"""Characters per token: no tokenizer averages more over a text, and what lies beyond need not be tokenised."""
_PROBE = "a"
_PIECE = 256
"""Texts that are tokenised at once."""


class Reader:
    """Reads at most `max_tokens` tokens of a text, special tokens included, from its head or from both ends.

    `limit` bounds max_tokens for models that cannot read more (Base.limit). A row of head+tail has the larger half from
    the head. Special tokens stand where the tokenizer puts them; with keep "head" a row is what the tokenizer itself
    makes of the text when it is told to truncate.
    """

    def __init__(self, tokenizer: Any, max_tokens: int, keep: Keep, *, limit: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens if limit is None else min(max_tokens, limit)
        self.keep: Keep = keep
        self.pad_id = int(tokenizer.pad_token_id)
        self._before, self._after = _frame(tokenizer)
        self._room = self.max_tokens - len(self._before) - len(self._after)
        # T5's kind ends a text and does not begin it, and its head wants as many ends in each row of a batch. Its
        # vocabulary holds the end's own letters, so that an article's "</s>" would be another one.
        self._never = self._after[0] if self._after == [tokenizer.eos_token_id] and not self._before else None

    @property
    def key(self) -> str:
        """Equal for readers that give every text the same tokens."""
        made_of = self.tokenizer.backend_tokenizer.to_str() if self.tokenizer.is_fast else repr(self.tokenizer)
        facts = [made_of, self.pad_id, self._before, self._after, self.max_tokens, self.keep]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[Row]:
        """Token ids, one row per text of any kind, special tokens included; no row is empty."""
        # in pieces: what a tokenizer makes of texts not yet cut takes many times what is kept of them
        pieces = (texts[start : start + _PIECE] for start in range(0, len(texts), _PIECE))
        return [row for piece in pieces for row in self._encode(piece)]

    def _encode(self, texts: Sequence[str]) -> list[Row]:
        limit = self.max_tokens * _MOST
        bounded = [_cut_text(_clean(text), limit, self.keep) for text in texts]
        found = self.tokenizer(
            bounded,
            add_special_tokens=False,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return [self._row(ids) for ids in found]

    def pad(self, rows: Sequence[Row], *, multiple: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """input_ids and attention_mask, int64 [n, s] on the CPU, padded at the right; s is a multiple of `multiple`."""
        longest = max(len(row) for row in rows)
        width = -(-longest // multiple) * multiple
        ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def _row(self, ids: list[int]) -> Row:
        if self._never is not None and self._never in ids:
            ids = [one for one in ids if one != self._never]
        if len(ids) > self._room:
            head = self._room if self.keep == "head" else (self._room + 1) // 2
            ids = ids[:head] + ids[len(ids) - (self._room - head) :]
        row = [*self._before, *ids, *self._after] or [self.pad_id]
        return np.asarray(row, dtype=np.int32)


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and behind a text."""
    framed = list(tokenizer(_PROBE)["input_ids"])
    bare = list(tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
    start = next(i for i in range(len(framed) + 1) if framed[i : i + len(bare)] == bare)
    return framed[:start], framed[start + len(bare) :]


def _cut_text(text: str, limit: int, keep: Keep) -> str:
    if len(text) <= limit:
        return text
    if keep == "head":
        return text[:limit]
    return text[: limit // 2] + "\n" + text[len(text) - limit // 2 :]


def _clean(text: str) -> str:
    """The text with lone surrogates, which no tokenizer takes, replaced by question marks."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
