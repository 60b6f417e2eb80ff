"""rsLoRA (Kalajdzievski 2023, arXiv:2312.03732): LoRA scaled by alpha / sqrt(rank), so that a large rank is not held back."""

import math

from torch import nn

from minitransformer.method import Method
from minitransformer.methods.lora import attach_lora, check_lora, count_lora, merge_lora
from minitransformer.surgery import MATRICES, linear_names


def attach_rslora(
    model: nn.Module, rank: int = 16, alpha: float = 8.0, target_modules: tuple[str, ...] = MATRICES
) -> nn.Module:
    """Freeze the model and put a LoRALinear in the place of every target, whose scaling is alpha / sqrt(rank)."""
    check_lora(rank, alpha, target_modules, linear_names(model))
    return attach_lora(model, rank, alpha * math.sqrt(rank), target_modules)


METHOD = Method("rslora", attach_rslora, count_lora, learning_rate=1e-2, fold=merge_lora)
