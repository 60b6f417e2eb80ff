"""VeRA (Kopiczko et al. 2024, arXiv:2310.11454): LoRA whose two matrices are random, frozen, and shared; two vectors train."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.method import Method
from minitransformer.surgery import (
    MATRICES, Attached, beside, check_plain, check_positive, check_targets, freeze, linear_layer, linear_names,
    matrix_shape, merge_modules, replace_modules,
)  # fmt: skip


class VeRALinear(Attached):
    """W x + b * (B (d * (A x))): A (rank, d_in) and B (d_out, rank) frozen, d (rank) and b (d_out) trained (equation 2)."""

    def __init__(self, base: nn.Linear, rank: int, seed: int) -> None:
        super().__init__(base)
        like, generator = beside(base.weight), torch.Generator().manual_seed(seed)  # one seed: layers share A and B
        for name, d_out, d_in in (("A", rank, base.in_features), ("B", base.out_features, rank)):
            bound = math.sqrt(3 / d_in)  # Kaiming's uniform start; the file keeps no matrix, as the seed gives it back
            drawn = torch.rand(d_out, d_in, generator=generator, device="cpu") * 2 * bound - bound
            self.register_buffer(name, drawn.to(**like), persistent=False)
        self.d = nn.Parameter(torch.full((rank,), 0.1, **like))
        self.b = nn.Parameter(torch.zeros(base.out_features, **like))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_in) -> (..., d_out)."""
        features = self.d * F.linear(x.to(self.d.dtype), self.A)  # (..., rank)
        return self.base(x) + (self.b * F.linear(features, self.B)).to(x.dtype)

    def merged(self) -> nn.Linear:
        """A plain linear layer that computes the same."""
        weight = self.base.weight + self.b[:, None] * self.B @ (self.d[:, None] * self.A)  # (d_out, d_in)
        return linear_layer(weight.to(self.base.weight.dtype), self.base.bias)


def attach_vera(
    model: nn.Module, rank: int = 64, seed: int = 1, target_modules: tuple[str, ...] = MATRICES
) -> nn.Module:
    """Freeze the model and put a VeRALinear in the place of every target; those of one shape share their matrices."""
    check_plain(model)
    check_positive(rank=rank, seed=seed)
    check_targets(target_modules, linear_names(model))
    freeze(model)
    replace_modules(model, target_modules, lambda linear: VeRALinear(linear, rank, seed))
    return model


def count_vera(config, rank: int, seed: int, target_modules: tuple[str, ...]) -> int:
    """Trained parameters: rank + d_out a matrix."""
    return config.n_layer * sum(rank + matrix_shape(config, name)[1] for name in set(target_modules))


METHOD = Method("vera", attach_vera, count_vera, learning_rate=1e-1, fold=merge_modules)
