"""A submission that is wrong: a gate on each sublayer. What is wrong with it, `verify` says; docs/project.md marks it."""

import torch
from torch import nn

from minitransformer.method import Method


class Gated(nn.Module):
    """A sublayer whose output is multiplied by one trained number."""

    def __init__(self, sublayer: nn.Module) -> None:
        super().__init__()
        self.sublayer = sublayer
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        """(B, T, d) -> (B, T, d)."""
        return self.gate * self.sublayer(x)


def attach_gates(model: nn.Module) -> nn.Module:
    """Gates on the attention and on the feed-forward network of every block."""
    for block in model.blocks:
        block.attn = Gated(block.attn)
        block.mlp = Gated(block.mlp)
    return model


def count_gates(config) -> int:
    """Trained parameters: one gate a block."""
    return config.n_layer


METHOD = Method("gates", attach_gates, count_gates, learning_rate=1e-2)
