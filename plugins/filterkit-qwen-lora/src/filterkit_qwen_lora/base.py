"""Base models: any checkpoint that transformers knows, loaded with one fresh logit per dimension."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from filterkit.api import ConfigError, FilterkitError
from filterkit_qwen_lora.families import Family, family_of, position_limit
from filterkit_qwen_lora.quiet import quiet, without_conversion_service

_TEXT_PART = {r"^language_model\.model\.": "model.", r"^model\.language_model\.": "model."}
"""Where the text model lies in checkpoints of models that also see: key pattern -> what it becomes."""
_FEWEST_TOKENS = 4


@dataclass(frozen=True)
class Base:
    """A base model with a head for the dimensions, and its tokenizer.

    model: a PreTrainedModel for sequence classification on the CPU, in eval mode, in the dtype that was asked for but
    for the modules of `fresh`, which are float32. name, revision: as asked for. published: dtype of the checkpoint.
    fresh: dotted names of the modules that have to be trained whole and saved with an adapter, because the checkpoint
    does not have them, or has them for another purpose. limit: most tokens that the model can read; None: no
    such limit.
    """

    model: Any
    tokenizer: Any
    family: Family
    fresh: tuple[str, ...]
    name: str
    revision: str | None
    published: torch.dtype
    limit: int | None


def load_config(name: str, names: Sequence[str], *, revision: str | None = None) -> Any:
    """The base's config with one regression logit per dimension; of a model that also sees, its text part's config.

    Loads no weights. Raises ConfigError.
    """
    with _told(name):
        whole = AutoConfig.from_pretrained(_place(name), revision=revision, trust_remote_code=False)
    config = getattr(whole, "text_config", None) or whole
    if type(config) not in AutoModelForSequenceClassification._model_mapping:
        raise _refused(name, f"transformers has no text classifier of its kind ({config.model_type})")
    if getattr(whole, "quantization_config", None):
        raise _refused(name, "its weights are quantised, and adapters could not be merged into them")
    config.num_labels = len(names)
    config.id2label = dict(enumerate(names))
    config.label2id = {one: i for i, one in enumerate(names)}
    config.problem_type = "regression"
    config.dtype = config.dtype or whole.dtype
    return config


def load_base(
    name: str, names: Sequence[str], *, revision: str | None = None, dtype: torch.dtype | None = None, seed: int = 0
) -> Base:
    """The base model `name` (a Hub id or a folder) with a head for the dimensions `names`.

    dtype: precision of the weights; None: as published. seed: fixes the fresh weights; the global generators are left
    as they were. Code that a checkpoint brings is never run. Raises ConfigError in one line: it cannot be fetched, is
    none, lacks weights or a tokenizer ...
    """
    config = load_config(name, names, revision=revision)
    published = config.dtype or torch.float32
    with _told(name):
        tokenizer = load_tokenizer(_place(name), revision=revision)
    config.pad_token_id = _pad(tokenizer, config.vocab_size, name)
    with _told(name), without_conversion_service(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, found = AutoModelForSequenceClassification.from_pretrained(
            _place(name),
            config=config,
            revision=revision,
            dtype=dtype or published,
            key_mapping=_TEXT_PART if config.model_type.endswith("_text") else None,
            ignore_mismatched_sizes=True,  # a head for other classes; anything else is refused below
            output_loading_info=True,
            trust_remote_code=False,
        )
        family = family_of(model)
    fresh = _fresh(model, family, [*found["missing_keys"], *(one[0] for one in found["mismatched_keys"])], name)
    for module in fresh:
        model.get_submodule(module).float()
    return Base(model.eval(), tokenizer, family, fresh, name, revision, published, position_limit(model))


def load_tokenizer(place: str, *, revision: str | None = None) -> Any:
    """The tokenizer of a Hub id or folder, padding and cutting at the right.

    Special tokens that stand in a text as text are read as text: an article must not be able to end itself. ValueError
    where there is no vocabulary, for which transformers would make up an empty one.
    """
    tokenizer = AutoTokenizer.from_pretrained(
        place,
        revision=revision,
        padding_side="right",
        truncation_side="right",
        split_special_tokens=True,
        trust_remote_code=False,
    )
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) < _FEWEST_TOKENS:
        raise ValueError("there is no tokenizer")
    return tokenizer


def with_lora(base: Base, *, r: int, alpha: int, dropout: float, seed: int = 0) -> Any:
    """base.model, changed in place, as a PeftModel: float32 adapters on the family's targets, `base.fresh` whole."""
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(base.family.targets),
        exclude_modules=list(base.family.excluded) or None,
        modules_to_save=list(base.fresh),
        base_model_name_or_path=base.name,
        revision=base.revision,
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = get_peft_model(base.model, config)
    for module in model.modules():
        # autocast does it: a float32 copy of its own for every adapter would only be kept for the backward pass
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False
    return model


def recompute_activations(model: Any, **options: Any) -> None:
    """Gradient checkpointing, with further `options` of torch's. Not the reentrant kind, which finds no gradient behind
    frozen embeddings."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False, **options})


def _pad(tokenizer: Any, rows: int, name: str) -> int:
    """The id to pad with, set in the tokenizer too: its own, else another special token that texts do not hold.

    No row is added to the embedding: rows of zeros or noise would only make the student another size than its base.
    """
    own = (tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token)
    for token in own:
        index = None if token is None else tokenizer.convert_tokens_to_ids(str(token))
        if index is not None and 0 <= index < rows:
            tokenizer.pad_token = str(token)
            return int(index)
    raise _refused(name, "its tokenizer has no special token to pad with")


def _fresh(model: Any, family: Family, missing: Iterable[str], name: str) -> tuple[str, ...]:
    """The modules to train whole: that of the head, and others around the body that the checkpoint lacks."""
    found = {family.head.partition(".")[0]}
    for key in missing:
        parts = key.split(".")
        in_body = parts[0] == model.base_model_prefix
        if in_body and "pooler" not in parts:
            raise _refused(name, f"it is no whole {type(model).__name__}: it has no {key}")
        found.add(".".join(parts[: parts.index("pooler") + 1]) if in_body else parts[0])
    return tuple(sorted(found))


def _place(name: str) -> str:
    """What transformers is asked for. ConfigError when `name` looks like a folder and there is none."""
    if name.startswith((".", "/", "~")) or "\\" in name:
        folder = Path(name).expanduser()
        if not folder.is_dir():
            raise ConfigError("there is no such folder", where=f"base model {name}", fix=_FIX)
        return str(folder)
    return name


_FIX = "Name a model of the Hugging Face Hub, or a folder that transformers can load"


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever the libraries raise about a base model, as one line that says what to do."""
    try:
        with quiet():
            yield
    except (FilterkitError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # several libraries, and files of any origin: the ways to fail are not to be listed
        raise _refused(name, *_reason(error)) from error


def _reason(error: Exception) -> tuple[str, str]:
    """What went wrong, and what to do."""
    text = " ".join(str(error).split())
    if "couldn't connect" in text.lower() or "offline mode" in text.lower():
        return "it is not on this machine, and the Hugging Face Hub cannot be reached", (
            "Connect to the internet, or name a folder that holds the model"
        )
    if "gated" in text.lower() or "401" in text or "403" in text:
        return (
            "it is not open to everybody",
            "Accept its terms on huggingface.co, log in with `hf auth login`, run again",
        )
    if "trust_remote_code" in text:
        return "it needs code of its own to be run, which filterkit never does", _FIX
    return f"it cannot be loaded ({text[:200] or type(error).__name__})", _FIX


def _refused(name: str, why: str, fix: str = _FIX) -> ConfigError:
    return ConfigError(why, where=f"base model {name}", fix=fix)
