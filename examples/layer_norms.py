"""Layer norms only (Zhao et al. 2023, arXiv:2312.11420): train the scale and the shift of every norm."""

import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.method import Method
from minitransformer.surgery import Attached, beside, check_gpt, check_plain, freeze, merge_modules, replace_modules


class TunedNorm(Attached):
    """A frozen layer norm, in whose place a trained copy of its scale and shift works."""

    def __init__(self, base: nn.LayerNorm) -> None:
        super().__init__(base)
        like = beside(base.weight)
        self.scale = nn.Parameter(base.weight.detach().clone().to(**like))  # (d,)
        self.shift = nn.Parameter(base.bias.detach().clone().to(**like))  # (d,)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        scale, shift = self.scale.to(x.dtype), self.shift.to(x.dtype)
        return F.layer_norm(x, self.base.normalized_shape, scale, shift, self.base.eps)

    def merged(self) -> nn.LayerNorm:
        """The plain norm with the trained numbers."""
        for own, trained in ((self.base.weight, self.scale), (self.base.bias, self.shift)):
            own.data = trained.detach().clone().to(own.dtype)
        return self.base


def attach_norms(model: nn.Module) -> nn.Module:
    """Freeze the model and put a TunedNorm in the place of every layer norm."""
    check_plain(model)
    check_gpt(model, "layer_norms")
    freeze(model)
    replace_modules(model, ("ln_1", "ln_2", "ln_f"), TunedNorm)
    return model


def count_norms(config) -> int:
    """Trained parameters: a scale and a shift, 2 d, for two norms a block and the last one."""
    return 2 * config.n_embd * (2 * config.n_layer + 1)


METHOD = Method("layer_norms", attach_norms, count_norms, learning_rate=3e-2, fold=merge_modules)
