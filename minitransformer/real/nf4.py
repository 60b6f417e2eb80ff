"""NF4, the four bits of QLoRA, and its double quantisation (Dettmers et al. 2023, arXiv:2305.14314, section 3).

A block of weights is divided by the largest of them, the block's absmax; then each is told by the nearest of sixteen values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

GROUP = 256  # scales that share a scale, where they are quantised too
FLOAT8 = torch.float8_e4m3fn  # of that many bits: sign, 4 of exponent, 3 of mantissa


def nf4_table() -> Tensor:
    """The sixteen values of NF4, (16,): quantiles of the normal distribution, the largest of them scaled to 1 (section 3).

    Pretrained weights are about normally distributed, so values lie close where weights are many. Zero is one of them;
    seven stand below it and eight above. The outermost quantile lies halfway between those that 15 and 16 values would
    have, as in the authors' code: at infinity, where the normal distribution ends, it could not.
    """
    outermost = 1 - (1 / 30 + 1 / 32) / 2

    def quantiles(n: int) -> Tensor:  # from the outermost down, without the median, which is zero
        return torch.special.ndtri(torch.linspace(outermost, 0.5, n + 1, dtype=torch.float64)[:-1])

    below, above = -quantiles(7), quantiles(8)
    return (torch.cat([below, torch.zeros(1), above.flip(0)]) / above[0]).float()


NF4 = nf4_table()


def nf4_codes(weight: Tensor, absmax: Tensor) -> Tensor:
    """Which value of the table is nearest to each weight, (blocks, block_size), over its block's largest one, (blocks, 1)."""
    between = ((NF4[1:] + NF4[:-1]) / 2).to(weight.device)  # (15,): where one value's reach ends
    return torch.bucketize(weight / absmax.where(absmax > 0, 1.0), between).to(torch.uint8)  # (blocks, block_size)


def pack_scales(absmax: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Double quantisation (section 3): what a scale is above the mean, in 8 bits, with a scale of its own for each 256.

    Args:
        absmax: all of a matrix, (n,), in 32 bits.

    Returns:
        The 8-bit floats (n,), the scales of groups (n / 256,), the mean (1,).
    """
    mean = absmax.mean()[None]
    groups = F.pad(absmax - mean, (0, -len(absmax) % GROUP)).view(-1, GROUP)  # (groups, 256)
    scale = groups.abs().amax(dim=1) / torch.finfo(FLOAT8).max  # (groups,)
    codes = (groups / scale.where(scale > 0, 1.0)[:, None]).to(FLOAT8)
    return codes.flatten()[: len(absmax)], scale, mean


def unpack_scales(codes: Tensor, scale: Tensor, mean: Tensor) -> Tensor:
    """The way back: (n,) in 32 bits, nearly what `pack_scales` was given."""
    return codes.float() * scale.repeat_interleave(GROUP)[: len(codes)] + mean
