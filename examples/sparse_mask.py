"""A random sparse mask (Xu and Zhang 2024, arXiv:2405.02596): of every `one_in` neighbouring entries, one trains."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.method import Method
from minitransformer.surgery import (
    MATRICES, Attached, beside, check_plain, check_positive, check_targets, freeze, linear_layer, linear_names,
    matrix_shape, merge_modules, replace_modules,
)  # fmt: skip


class SparseLinear(Attached):
    """A frozen linear layer, some entries of whose matrix are trained: `moves` (n) are added at the `places` (n)."""

    def __init__(self, base: nn.Linear, one_in: int, generator: torch.Generator) -> None:
        super().__init__(base)
        n = max(1, base.weight.numel() // one_in)
        drawn = torch.randint(min(one_in, base.weight.numel()), (n,), generator=generator, device="cpu")
        places = drawn + one_in * torch.arange(n, device="cpu")  # (n,)
        self.moves = nn.Parameter(torch.zeros(len(places), **beside(base.weight)))
        self.register_buffer("places", places.to(base.weight.device), persistent=False)  # the seed gives them back

    def weight(self) -> Tensor:
        """The matrix with its trained entries, (d_out, d_in)."""
        wide = self.base.weight.to(self.moves.dtype)
        return wide.flatten().index_add(0, self.places, self.moves).view_as(wide)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_in) -> (..., d_out)."""
        return F.linear(x, self.weight().to(x.dtype), self.base.bias)

    def merged(self) -> nn.Linear:
        """A plain linear layer that computes the same."""
        return linear_layer(self.weight().to(self.base.weight.dtype), self.base.bias)


def attach_sparse(model: nn.Module, one_in: int = 20, seed: int = 1, target_modules: tuple = MATRICES) -> nn.Module:
    """Freeze the model and let one in so many entries of every target train; the seed chooses them."""
    check_plain(model)
    check_positive(one_in=one_in, seed=seed)
    check_targets(target_modules, linear_names(model))
    freeze(model)
    chance = torch.Generator().manual_seed(seed)
    replace_modules(model, target_modules, lambda linear: SparseLinear(linear, one_in, chance))
    return model


def count_sparse(config, one_in: int, seed: int, target_modules: tuple[str, ...]) -> int:
    """Trained parameters: one in so many entries of every target, one at least."""
    sizes = (math.prod(matrix_shape(config, name)) for name in set(target_modules))
    return config.n_layer * sum(max(1, size // one_in) for size in sizes)


METHOD = Method("sparse_mask", attach_sparse, count_sparse, learning_rate=1e-2, fold=merge_modules)
