"""The processes that train one student together (torchrun, accelerate launch), and what each of them computes on."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from accelerate import PartialState  # type: ignore[import-untyped, unused-ignore]
from accelerate.utils import gather_object  # type: ignore[import-untyped, unused-ignore]

T = TypeVar("T")


class Processes:
    """This process among its fellows; alone where there is no launcher. Collective calls: all of them, or none."""

    def __init__(self, state: PartialState) -> None:
        self._state = state
        self.rank: int = state.process_index
        self.world: int = state.num_processes

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def gather(self, items: Iterable[T]) -> list[T]:
        """The items of all processes, in the order of the processes."""
        mine = list(items)
        return mine if self.world == 1 else list(gather_object(mine))

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether it is set in any process: so that they all do the same about it."""
        return [any(each) for each in zip(*self.gather([flags]), strict=True)]

    def total(self, value: float) -> float:
        """Sum of the values of all processes."""
        return sum(self.gather([value]))

    def wait(self) -> None:
        """Go on when all have come here."""
        self._state.wait_for_everyone()


@dataclass(frozen=True)
class Machine:
    """What this process computes on: its device, and whether it multiplies matrices in bf16."""

    device: torch.device
    bf16: bool
    processes: Processes

    def autocast(self) -> AbstractContextManager[Any]:
        """Matrix products in bf16 inside, where that is wanted."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    @property
    def inference_tokens(self) -> int:
        """Padded tokens at once when no gradient is wanted: enough to be quick, little beside training."""
        return 16_384 if self.device.type == "cuda" else 4_096


def bf16_is_quick(device: torch.device) -> bool:
    """Whether the hardware itself computes in bf16: CUDA from Ampere on, CPUs with AMX or AVX-512 bf16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # private names of torch, in no public form: without them bf16 has to be asked for
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def out_of_memory(error: BaseException) -> bool:
    """Whether a device (or this computer) could not give the memory that was asked for."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
