"""PiSSA (Meng et al. 2024, arXiv:2404.02948): LoRA that starts at the largest singular values of each matrix, not at zero.

The paper moves what A and B start as out of the frozen matrix. Here the frozen matrix stays whole, as every method of
this course promises, and the start is taken off beside it: W x + s (B A - B0 A0) x is the same function.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.method import Method
from minitransformer.methods.lora import LoRALinear, check_lora, count_lora
from minitransformer.surgery import MATRICES, check_plain, freeze, linear_names, merge_modules, replace_modules


class PiSSALinear(LoRALinear):
    """A LoRALinear that starts as the best approximation of its matrix of that rank, and works on the rest (equations 2 to 4)."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(base, rank, alpha)
        weight = base.weight.detach().to(self.lora_A.dtype)
        U, S, V = torch.linalg.svd(weight, full_matrices=False)  # (d_out, k), (k,), (k, d_in)
        root = (S[:rank] / self.scaling).sqrt()  # (rank,): half of each singular value goes to A, half to B
        with torch.no_grad():
            self.lora_A.copy_(root[:, None] * V[:rank])  # (rank, d_in)
            self.lora_B.copy_(U[:, :rank] * root)  # (d_out, rank)
        self.register_buffer("start_A", self.lora_A.detach().clone(), persistent=False)  # the base gives them back
        self.register_buffer("start_B", self.lora_B.detach().clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_in) -> (..., d_out)."""
        start = F.linear(F.linear(x.to(self.start_A.dtype), self.start_A), self.start_B)  # (..., d_out)
        return super().forward(x) - (self.scaling * start).to(x.dtype)

    def merged_weight(self) -> Tensor:
        """The one matrix that does the work of all paths, (d_out, d_in)."""
        return super().merged_weight() - self.scaling * self.start_B @ self.start_A


def attach_pissa(
    model: nn.Module, rank: int = 4, alpha: float = 4.0, target_modules: tuple[str, ...] = MATRICES
) -> nn.Module:
    """Freeze the model and put a PiSSALinear in the place of every target."""
    check_plain(model)
    check_lora(rank, alpha, target_modules, linear_names(model))
    smallest = min(min(linear.weight.shape) for linear in model.modules() if isinstance(linear, nn.Linear))
    if rank > smallest:
        raise ValueError(
            f"rank must be at most {smallest}, as the smallest matrix has no more singular values, not {rank}"
        )
    freeze(model)
    replace_modules(model, target_modules, lambda linear: PiSSALinear(linear, rank, alpha))
    return model


METHOD = Method("pissa", attach_pissa, count_lora, learning_rate=1e-2, fold=merge_modules)
