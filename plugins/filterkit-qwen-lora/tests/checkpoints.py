"""Tiny random checkpoints of the real architectures, with tokenizers of the real kinds, made without a network.

`make_checkpoint(folder, "qwen2")` writes one that loads like a published one. Layers are two, widths some tens; what
stands before and behind the layers (pads, special tokens, tied embeddings, the task it was saved for) is as published.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

_CORPUS = (
    "the village council met on tuesday and neighbours helped to carry the new sensor",
    "volunteers invented a method, printed a prototype and shared the software with the market",
    "buy now: the price of the road report is 3.50, said the minister about the weather",
    "Ein Dorf hilft sich selbst; la communauté a nourri les voisins; el mercado y el tiempo",
    "人民日报 没有 空格 的 中文 文本 новости и погода",
)
_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_DECODER = {**_SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 4096}
_ENCODER = {**_SMALL, "intermediate_size": 64}

FAMILIES = ("qwen2", "qwen3", "gemma3", "llama", "deberta", "bert", "modernbert", "t5")
"""Names that `make_checkpoint` takes, one for each family."""
VARIANTS = ("gemma3-multimodal", "bert-plain", "deberta-plain", "llama-classifier", "roberta", "t5-untied", "gpt2")
"""More of them: saved for another task or as a bare encoder, or families that no code names."""


def make_checkpoint(folder: Path, family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """Write a tiny checkpoint of `family` with its tokenizer into `folder`; the same bytes for the same seed."""
    tokenizer, build = _RECIPES[family]
    made = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(len(made), made).to(dtype)
    # the usual start of 0.02 leaves tiny models almost linear, with scores that hardly differ between texts
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def _bytes_bpe(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        _CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(tokenizer.to_str())["model"]
    vocab = {token: i for i, token in enumerate([*model["vocab"], *special])}
    return vocab, [tuple(pair) for pair in model["merges"]]


def _qwen() -> Any:
    vocab, merges = _bytes_bpe(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return transformers.Qwen2Tokenizer(vocab, merges, extra_special_tokens=["<|im_start|>", "<|im_end|>"])


def _llama() -> Any:
    """Like Llama 3: a token at the beginning, and none to pad with."""
    vocab, merges = _bytes_bpe(["<|begin_of_text|>", "<|end_of_text|>"])
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    begin = "<|begin_of_text|>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, vocab[begin])]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=begin, eos_token="<|end_of_text|>")


def _gpt2() -> Any:
    """No token of its own at either end, and none to pad with."""
    vocab, merges = _bytes_bpe(["<|endoftext|>"])
    return transformers.GPT2Tokenizer(vocab, merges)


def _gemma() -> Any:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train_from_iterator(_CORPUS, trainers.BpeTrainer(vocab_size=250, show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    return transformers.GemmaTokenizer(vocab, [tuple(pair) for pair in model["merges"]], add_bos_token=True)


def _unigram(special: list[str]) -> list[tuple[str, float]]:
    """The corpus' characters and words; a word is likelier than its letters one by one."""
    text = " ".join(_CORPUS).split()
    words = sorted({"▁" + word for word in text})
    letters = sorted({letter for word in words for letter in word})
    pieces = [*((one, -8.0) for one in letters), *((one, -6.0) for one in words if len(one) > 1)]
    return [*((one, 0.0) for one in special), *pieces]


def _t5() -> Any:
    pieces = [*_unigram(["<pad>", "</s>", "<unk>"]), *((f"<extra_id_{i}>", 0.0) for i in range(9, -1, -1))]
    return transformers.T5Tokenizer(pieces, extra_ids=10)


def _deberta() -> Any:
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    return transformers.DebertaV2Tokenizer([*_unigram(special), ("[MASK]", 0.0)], unk_id=3)


def _word_pieces(special: list[str]) -> dict[str, int]:
    words = sorted(set(" ".join(_CORPUS).lower().split()))
    letters = sorted({letter for word in words for letter in word})
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters), *words]
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def _bert() -> Any:
    return transformers.BertTokenizer(_word_pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))


def _modernbert() -> Any:
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    vocab, merges = _bytes_bpe(special)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(one, vocab[one]) for one in ("[CLS]", "[SEP]")]
    )
    names = ("unk_token", "cls_token", "sep_token", "pad_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(zip(names, special, strict=True)))


def _roberta() -> Any:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab, merges = _bytes_bpe([])
    ordered = {token: i for i, token in enumerate([*special, *vocab])}
    return transformers.RobertaTokenizer(ordered, merges)


def _qwen2_model(size: int, tokenizer: Any) -> Any:
    """Tied embeddings, with more rows than the tokenizer has tokens, and no pad in the config: as published."""
    ends = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = transformers.Qwen2Config(vocab_size=size + 5, tie_word_embeddings=True, **ends, **_DECODER)
    return transformers.Qwen2ForCausalLM(config)


def _qwen3_model(size: int, tokenizer: Any) -> Any:
    config = transformers.Qwen3Config(vocab_size=size, head_dim=8, eos_token_id=tokenizer.eos_token_id, **_DECODER)
    return transformers.Qwen3ForCausalLM(config)


def _gemma3_config(size: int) -> Any:
    """Every other layer sees a window of 16 tokens only."""
    layers = ["sliding_attention", "full_attention"]
    return transformers.Gemma3TextConfig(
        vocab_size=size, head_dim=8, sliding_window=16, layer_types=layers, **{**_DECODER, "pad_token_id": 0}
    )


def _gemma3_model(size: int, _: Any) -> Any:
    return transformers.Gemma3ForCausalLM(_gemma3_config(size))


def _gemma3_multimodal(size: int, _: Any) -> Any:
    """As the sizes from 4B are published: with eyes, the text model one of its parts."""
    vision = {**_ENCODER, "image_size": 16, "patch_size": 8}
    config = transformers.Gemma3Config(
        text_config=_gemma3_config(size).to_dict(), vision_config=vision, mm_tokens_per_image=4
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def _llama_config(size: int, tokenizer: Any) -> Any:
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return transformers.LlamaConfig(vocab_size=size, **ends, **_DECODER)


def _llama_model(size: int, tokenizer: Any) -> Any:
    return transformers.LlamaForCausalLM(_llama_config(size, tokenizer))


def _llama_classifier(size: int, tokenizer: Any) -> Any:
    """Somebody's classifier into five classes."""
    config = _llama_config(size, tokenizer)
    config.num_labels = 5
    return transformers.LlamaForSequenceClassification(config)


def _gpt2_model(size: int, _: Any) -> Any:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4))


def _deberta_config(size: int) -> Any:
    """The settings of version 3."""
    return transformers.DebertaV2Config(
        vocab_size=size, relative_attention=True, position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True,
        pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0, max_relative_positions=-1,
        **_ENCODER,
    )  # fmt: skip


def _deberta_model(size: int, _: Any) -> Any:
    return transformers.DebertaV2ForMaskedLM(_deberta_config(size))


def _deberta_plain(size: int, _: Any) -> Any:
    return transformers.DebertaV2Model(_deberta_config(size))


def _bert_config(size: int) -> Any:
    return transformers.BertConfig(vocab_size=size, **_ENCODER)


def _bert_model(size: int, _: Any) -> Any:
    return transformers.BertForMaskedLM(_bert_config(size))


def _bert_plain(size: int, _: Any) -> Any:
    return transformers.BertModel(_bert_config(size))


def _roberta_model(size: int, _: Any) -> Any:
    config = transformers.RobertaConfig(vocab_size=size, max_position_embeddings=130, type_vocab_size=1, **_ENCODER)
    return transformers.RobertaForMaskedLM(config)


def _modernbert_model(size: int, tokenizer: Any) -> Any:
    ids = {f"{one}_token_id": getattr(tokenizer, f"{one}_token_id") for one in ("pad", "cls", "sep")}
    ends = {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"]}
    windows = {"local_attention": 16, "global_attn_every_n_layers": 2}
    return transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(vocab_size=size, **ids, **ends, **windows, **_ENCODER)
    )


def _t5_model(size: int, _: Any, **changes: Any) -> Any:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=size, decoder_start_token_id=0, **{**sizes, **changes})
    )


def _t5_untied(size: int, tokenizer: Any) -> Any:
    """Version 1.1: gated, and the output layer is not the embedding."""
    return _t5_model(size, tokenizer, feed_forward_proj="gated-gelu", tie_word_embeddings=False)


_RECIPES: dict[str, tuple[Callable[[], Any], Callable[[int, Any], Any]]] = {
    "qwen2": (_qwen, _qwen2_model),
    "qwen3": (_qwen, _qwen3_model),
    "gemma3": (_gemma, _gemma3_model),
    "gemma3-multimodal": (_gemma, _gemma3_multimodal),
    "llama": (_llama, _llama_model),
    "llama-classifier": (_llama, _llama_classifier),
    "gpt2": (_gpt2, _gpt2_model),
    "deberta": (_deberta, _deberta_model),
    "deberta-plain": (_deberta, _deberta_plain),
    "bert": (_bert, _bert_model),
    "bert-plain": (_bert, _bert_plain),
    "roberta": (_roberta, _roberta_model),
    "modernbert": (_modernbert, _modernbert_model),
    "t5": (_t5, _t5_model),
    "t5-untied": (_t5, _t5_untied),
}
