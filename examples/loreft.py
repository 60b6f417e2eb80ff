"""LoReFT (Wu et al. 2024, arXiv:2404.03592): change what the blocks put out, in a few directions, and no weight at all.

The paper changes the first and last tokens of a prompt; here every token is changed, as each one is asked what comes
next. The paper's W starts at random; here it starts as R, so that the untrained method is the base.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.method import Method
from minitransformer.surgery import Attached, beside, check_gpt, check_plain, check_positive, freeze


class ReFTBlock(Attached):
    """A frozen block, and h + R^T (W h + b - R h) behind it (equation 2): R's rows, (rank, d), are orthonormal."""

    def __init__(self, base: nn.Module, d: int, rank: int, like: dict) -> None:
        super().__init__(base)
        self.raw = nn.Parameter(torch.randn(d, rank, **like))  # R's rows are its columns made orthonormal
        self.W = nn.Parameter(self.rotation().detach().clone())  # (rank, d)
        self.b = nn.Parameter(torch.zeros(rank, **like))

    def rotation(self) -> Tensor:
        """R, (rank, d), by Gram and Schmidt; LAPACK's QR would do the same."""
        rows: list[Tensor] = []
        for column in self.raw.T:
            for row in rows:
                column = column - (row @ column) * row
            rows.append(column / column.norm())
        return torch.stack(rows)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        h, R = self.base(x), self.rotation()
        wide = h.to(R.dtype)
        return h + (F.linear(wide, self.W - R, self.b) @ R).to(h.dtype)


def attach_loreft(model: nn.Module, rank: int = 4) -> nn.Module:
    """Freeze the model and put a ReFTBlock in the place of every block."""
    check_plain(model)
    check_gpt(model, "loreft")
    check_positive(rank=rank)
    d = model.config.n_embd
    if rank > d:
        raise ValueError(f"rank must be at most {d}, the width, not {rank}: no more directions are orthonormal")
    freeze(model)
    for i, block in enumerate(model.blocks):
        model.blocks[i] = ReFTBlock(block, d, rank, beside(model.wte.weight))
    return model


def count_loreft(config, rank: int) -> int:
    """Trained parameters: R, W and b in every block."""
    return config.n_layer * (2 * config.n_embd * rank + rank)


METHOD = Method("loreft", attach_loreft, count_loreft, learning_rate=1e-2)
