"""The network that is trained and run: a classification model of transformers, and beside its head a histogram's."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from peft import PeftModel
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn

from filterkit_qwen_lora.families import Family, backbone_of
from filterkit_qwen_lora.histogram import Histogram


class Network(nn.Module):
    """`model` (a PreTrainedModel, or a PeftModel of one) read at its head's input.

    Both heads compute in float32 whatever precision the body has, and outside of autocast. Names in the state dict
    begin with `model.` and `histogram.`.
    """

    def __init__(self, model: Any, family: Family, histogram: Histogram | None = None) -> None:
        super().__init__()
        self.model = model
        self.family = family
        self.histogram = histogram
        self._pad_id = int(self.transformer.config.pad_token_id)
        takes_cache = "use_cache" in inspect.signature(self.transformer.forward).parameters
        self._stock = {"use_cache": False} if takes_cache else {}
        self._caught: list[Tensor] = []

    @property
    def transformer(self) -> Any:
        """The model of transformers, without peft's wrapper (adapters stay in it)."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def head(self) -> nn.Linear:
        """The linear layer of the plain scores, [d, h]; with adapters, the copy that is trained."""
        found: Any = self.transformer
        for part in self.family.head.split("."):
            found = _trained(getattr(found, part))
        head: nn.Linear = found
        return head

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Right-padded rows [n, s] -> features [n, h] that the plain head reads, plain scores [n, d]; both float32."""
        if self.family.causal:
            features = self._last(self._body(input_ids), input_ids)
        else:
            features = self._at_the_head(input_ids, attention_mask)
            if features.ndim == 3:  # a head that reads every token
                features = self._last(features, input_ids)
        features = features.float()
        return features, self.plain(features)

    def plain(self, features: Tensor) -> Tensor:
        """The plain head alone: features [n, h] -> scores [n, d], float32."""
        head = self.head
        with torch.autocast(features.device.type, enabled=False):
            bias = None if head.bias is None else head.bias.float()
            return nn.functional.linear(features.float(), head.weight.float(), bias)

    def _body(self, input_ids: Tensor) -> Tensor:
        """Last hidden states [n, s, h] of a causal model.

        Without a mask: the pads stand to the right of every token, and no token sees what stands there. Attention is
        then plainly causal, for which torch has its fastest kernels, and no mask of [n, s, s] is made.
        """
        states: Tensor = backbone_of(self.transformer)(input_ids=input_ids, use_cache=False).last_hidden_state
        return states

    def _at_the_head(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """What the stock forward hands to the head."""
        hook = self.head.register_forward_pre_hook(lambda _, given: self._caught.append(given[0]))
        try:
            self.transformer(input_ids=input_ids, attention_mask=attention_mask, **self._stock)
            return self._caught.pop()
        finally:
            hook.remove()
            self._caught.clear()

    def _last(self, states: Tensor, input_ids: Tensor) -> Tensor:
        """States [n, h] of the rightmost token that is no pad, by the rule of transformers' own classifiers."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device, dtype=torch.int32)
        last = (places * (input_ids != self._pad_id)).argmax(dim=-1)
        return states[torch.arange(len(states), device=states.device), last]


def _trained(module: Any) -> Any:
    """What is trained of a module that peft keeps the original of."""
    return module.modules_to_save[str(module.active_adapter)] if isinstance(module, ModulesToSaveWrapper) else module
