"""LoRA+ (Hayou et al. 2024, arXiv:2402.12354): LoRA whose B learns `ratio` times as fast as its A.

A rate is a matter of units. AdamW moves every number by about its rate a step, whatever its gradient is; so a B that is
kept in units `ratio` times as small moves `ratio` times as far. No optimizer has to know of it.
"""

from torch import nn

from minitransformer.method import Method
from minitransformer.methods.lora import LoRALinear, check_lora, count_lora
from minitransformer.surgery import (
    MATRICES, check_plain, check_scale, freeze, linear_names, merge_modules, replace_modules,
)  # fmt: skip


class LoRAPlusLinear(LoRALinear):
    """W x + (alpha / r) ratio B A x: ratio B is the paper's B."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, ratio: float) -> None:
        super().__init__(base, rank, alpha)
        self.scaling = ratio * alpha / rank


def attach_lora_plus(
    model: nn.Module,
    rank: int = 4,
    alpha: float = 8.0,
    ratio: float = 16.0,
    target_modules: tuple[str, ...] = MATRICES,
) -> nn.Module:
    """Freeze the model and put a LoRAPlusLinear in the place of every target."""
    check_plain(model)
    check_lora(rank, alpha, target_modules, linear_names(model))
    check_scale(ratio=ratio)
    freeze(model)
    replace_modules(model, target_modules, lambda linear: LoRAPlusLinear(linear, rank, alpha, ratio))
    return model


def count_lora_plus(config, rank: int, alpha: float, ratio: float, target_modules: tuple[str, ...]) -> int:
    """Trained parameters: LoRA's."""
    return count_lora(config, rank, alpha, target_modules)


METHOD = Method("lora_plus", attach_lora_plus, count_lora_plus, learning_rate=3e-3, fold=merge_modules)
