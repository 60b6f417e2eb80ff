"""One volume knob on each attention head."""

import torch
from torch import Tensor, nn

from minitransformer.method import Method
from minitransformer.surgery import (
    Attached,
    beside,
    check_gpt,
    check_plain,
    freeze,
    linear_layer,
    merge_modules,
    replace_modules,
)  # fmt: skip


class HeadKnobs(Attached):
    """The o_proj of a block, and a trained knob on what each head hands to it."""

    def __init__(self, base: nn.Linear, n_head: int) -> None:
        super().__init__(base)
        self.knobs = nn.Parameter(torch.ones(n_head, **beside(base.weight)))  # (n_head,)

    def channels(self) -> Tensor:
        """Each knob once for every channel of its head, (d,)."""
        return self.knobs.repeat_interleave(self.base.in_features // len(self.knobs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        return self.base(x * self.channels().to(x.dtype))

    def merged(self) -> nn.Linear:
        """A plain o_proj whose columns are scaled."""
        weight = self.base.weight * self.channels()
        return linear_layer(weight.to(self.base.weight.dtype), self.base.bias)


def attach_knobs(model: nn.Module) -> nn.Module:
    """Freeze the model and put knobs on every head."""
    check_plain(model)
    check_gpt(model, "head_knobs")
    freeze(model)
    replace_modules(model, ["o_proj"], lambda linear: HeadKnobs(linear, model.config.n_head))
    return model


def count_knobs(config) -> int:
    """Trained parameters: one a head."""
    return config.n_layer * config.n_head


METHOD = Method("head_knobs", attach_knobs, count_knobs, learning_rate=1e-1, fold=merge_modules)
