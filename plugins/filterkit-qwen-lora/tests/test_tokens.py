"""What is read of a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import FAMILIES
from filterkit_qwen_lora.base import load_tokenizer
from filterkit_qwen_lora.tokens import Reader

from filterkit.testing.samples import HOSTILE_TEXTS, sample_articles

LONG = "the village council met on tuesday and neighbours helped " * 50
ORDINARY = [*(article.text for article in sample_articles(6)), LONG, "人民日报 новости", "x"]
SPECIAL = "<|endoftext|> </s> <pad> [PAD] [SEP] <eos> <|end_of_text|> <bos>"


@pytest.fixture
def reader(checkpoint: Callable[[str], Path]) -> Callable[..., Reader]:
    def build(family: str, max_tokens: int = 32, keep: str = "head", limit: int | None = None) -> Reader:
        tokenizer = load_tokenizer(str(checkpoint(family)))
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return Reader(tokenizer, max_tokens, keep, limit=limit)

    return build


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_what_the_tokenizer_itself_makes_of_it(family: str, reader: Callable[..., Reader]) -> None:
    one = reader(family)
    expected = one.tokenizer(ORDINARY, truncation=True, max_length=32)["input_ids"]
    assert [row.tolist() for row in one.encode(ORDINARY)] == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("keep", ["head", "head+tail"])
def test_no_row_is_empty_or_too_long_whatever_the_text(family: str, keep: str, reader: Callable[..., Reader]) -> None:
    rows = reader(family, keep=keep).encode([*HOSTILE_TEXTS, SPECIAL, LONG])
    assert all(1 <= len(row) <= 32 for row in rows)
    assert len(rows[-1]) == 32


@pytest.mark.parametrize("family", FAMILIES)
def test_both_ends_are_kept(family: str, reader: Callable[..., Reader]) -> None:
    one = reader(family, keep="head+tail")
    frame = one.tokenizer("", add_special_tokens=True)["input_ids"]
    whole = one.tokenizer(LONG, add_special_tokens=False)["input_ids"]
    room = 32 - len(frame)
    row = [token for token in one.encode([LONG])[0].tolist() if token not in frame]
    assert row == whole[: (room + 1) // 2] + whole[len(whole) - room // 2 :]


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "gemma3", "llama"])
def test_a_text_cannot_end_or_pad_itself(family: str, reader: Callable[..., Reader]) -> None:
    one = reader(family)
    special = {one.pad_id, one.tokenizer.eos_token_id}
    (row,) = one.encode([f"the village {SPECIAL}"])
    assert not special & set(row.tolist())


def test_t5_always_ends_once(reader: Callable[..., Reader]) -> None:
    one = reader("t5")
    for row in one.encode(["", LONG, "a </s> b </s>", SPECIAL]):
        assert row[-1] == one.tokenizer.eos_token_id
        assert (row == one.tokenizer.eos_token_id).sum() == 1


def test_a_model_that_reads_less_than_asked_bounds_the_row(reader: Callable[..., Reader]) -> None:
    assert [len(row) for row in reader("bert", 600, limit=512).encode([LONG * 5])] == [512]


def test_padding_is_at_the_right(reader: Callable[..., Reader]) -> None:
    one = reader("gemma3")
    rows = one.encode(["the village council met", "x"])
    ids, mask = one.pad(rows)
    assert mask.sum(dim=1).tolist() == [len(row) for row in rows]
    assert ids[1, len(rows[1]) :].eq(one.pad_id).all()
    np.testing.assert_array_equal(ids[0], rows[0])
    wide, _ = one.pad(rows, multiple=8)
    assert wide.shape[1] % 8 == 0


def test_equal_keys_mean_equal_tokens(reader: Callable[..., Reader]) -> None:
    assert reader("bert").key == reader("bert").key
    others = [reader("bert", 31), reader("bert", keep="head+tail"), reader("modernbert"), reader("t5")]
    assert len({reader("bert").key, *(one.key for one in others)}) == 5


def test_a_tokenizer_that_was_told_to_cut_and_pad_reads_the_same(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(str(checkpoint("bert")))
    plain = Reader(tokenizer, 32, "head").encode(ORDINARY)
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    tokenizer.save_pretrained(tmp_path)
    again = Reader(load_tokenizer(str(tmp_path)), 32, "head").encode(ORDINARY)
    assert all(np.array_equal(one, other) for one, other in zip(plain, again, strict=True))
