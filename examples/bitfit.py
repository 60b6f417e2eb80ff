"""BitFit (Ben Zaken et al. 2022, arXiv:2106.10199): train the biases, all of them, and nothing else."""

import torch
from torch import Tensor, nn

from minitransformer.method import Method
from minitransformer.surgery import (
    MATRICES, Attached, beside, check_gpt, check_plain, freeze, linear_layer, matrix_shape, merge_modules, replace_modules,
)  # fmt: skip

NORMS = ("ln_1", "ln_2", "ln_f")


class Shifted(Attached):
    """A frozen linear layer or norm with a trained vector behind it: what its bias is to become, less what it is."""

    def __init__(self, base: nn.Linear | nn.LayerNorm) -> None:
        super().__init__(base)
        self.shift = nn.Parameter(torch.zeros(base.weight.size(0), **beside(base.weight)))  # (d_out,)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_in) -> (..., d_out)."""
        return self.base(x) + self.shift.to(x.dtype)

    def merged(self) -> nn.Module:
        """A plain module of the same kind, with the shift in its bias."""
        bias = (self.base.bias + self.shift).to(self.base.bias.dtype)
        if isinstance(self.base, nn.Linear):
            return linear_layer(self.base.weight, bias)
        self.base.bias = nn.Parameter(bias.detach())
        return self.base


def attach_bitfit(model: nn.Module) -> nn.Module:
    """Freeze the model and put a vector behind every module that has a bias; the GPT's head has none."""
    check_plain(model)
    check_gpt(model, "bitfit")
    freeze(model)
    replace_modules(model, (*MATRICES, *NORMS), Shifted)
    return model


def count_bitfit(config) -> int:
    """Trained parameters: the outputs of six matrices and two norms a block, and of the last norm."""
    matrices = sum(matrix_shape(config, name)[1] for name in MATRICES)
    return config.n_layer * (matrices + 2 * config.n_embd) + config.n_embd


METHOD = Method("bitfit", attach_bitfit, count_bitfit, learning_rate=3e-2, fold=merge_modules)
