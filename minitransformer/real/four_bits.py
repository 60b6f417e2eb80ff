"""Frozen weights in four bits, as QLoRA keeps them (Dettmers et al. 2023, arXiv:2305.14314); LoRA attaches on top as ever.

    >>> model = to_four_bits(mt.real.load("smollm2")[0])
    >>> adapted = mt.attach(model, "lora", rank=8)

A block of weights shares a scale; each weight is a code of four bits, which names one of sixteen values between -1 and 1
(NF4), or one of sixteen even steps (Q4_1). Nothing computes in four bits: a layer unpacks its matrix where it is used, some
rows at a time, in the forward pass and once more in the backward pass, and keeps nothing unpacked in between.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from minitransformer.real.gguf import LAYOUTS, Q4_1, pack_q4_1, unpack
from minitransformer.real.nf4 import FLOAT8, NF4, nf4_codes, pack_scales, unpack_scales
from minitransformer.surgery import (
    check_finite,
    check_plain,
    check_positive,
    check_targets,
    linear_layer,
    linear_names,
    target_names,
)

ROWS = 512  # unpacked at a time


# ---- a linear layer in four bits --------------------------------------------------------------------------------------


class UnpackWhereUsed(torch.autograd.Function):
    """x W^T, where W exists a few rows at a time; the gradient of x, g W, unpacks them again instead of keeping them."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: "FourBitLinear") -> Tensor:
        """(..., d_in) -> (..., d_out)."""
        ctx.layer = layer
        return torch.cat([F.linear(x, rows.to(x.dtype)) for _, rows in layer.pieces()], dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """(..., d_out) -> (..., d_in); the weights have no gradient."""
        return sum(gradient[..., part] @ rows.to(gradient.dtype) for part, rows in ctx.layer.pieces()), None


class FourBitLinear(nn.Linear):
    """A linear layer whose frozen matrix is kept in four bits a weight; a bias stays as it was.

    To the methods it is a linear layer like others: who asks for `weight` gets it unpacked. All that is kept of the matrix
    are buffers of bytes, so neither an optimiser nor a cast of the model to 16 bits changes them.
    """

    def __init__(self, linear: nn.Linear, **kept: Tensor) -> None:
        nn.Module.__init__(self)  # not nn.Linear's, which would make a matrix in 32 bits
        self.out_features, self.in_features = linear.weight.shape
        self.register_parameter("bias", linear.bias)
        for name, tensor in kept.items():
            self.register_buffer(name, tensor.contiguous().view(torch.uint8))

    def unpack(self, rows: slice) -> Tensor:
        """Some rows of the matrix in 32 bits, (rows, d_in)."""
        raise NotImplementedError

    def pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """The matrix, a few rows at a time, with where they stand."""
        for start in range(0, self.out_features, ROWS):
            rows = slice(start, min(start + ROWS, self.out_features))
            yield rows, self.unpack(rows)

    @property
    def weight(self) -> Tensor:
        """The whole matrix, unpacked into 32 bits for the moment, (d_out, d_in)."""
        return self.unpack(slice(0, self.out_features))

    @property
    def packed_bytes(self) -> int:
        """Bytes that are kept of the matrix: codes, and all kinds of scales."""
        return sum(kept.numel() for kept in self.buffers(recurse=False))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d_in) -> (..., d_out)."""
        y = UnpackWhereUsed.apply(x, self)
        return y if self.bias is None else y + self.bias.to(y.dtype)


class NF4Linear(FourBitLinear):
    """In NF4: two codes a byte, and a scale for each block of weights in a row, the scales in 8 bits or in 32."""

    def __init__(self, linear: nn.Linear, block_size: int = 64, double: bool = True) -> None:
        weight = linear.weight.detach().float()
        blocks = weight.reshape(-1, block_size)
        absmax = blocks.abs().amax(dim=1, keepdim=True)  # (blocks, 1)
        codes = nf4_codes(blocks, absmax).view_as(weight)  # (d_out, d_in)
        kept = {"codes": codes[:, 0::2] << 4 | codes[:, 1::2]}  # (d_out, d_in / 2)
        if double:
            kept |= zip(("scales", "group_scales", "mean"), pack_scales(absmax.flatten()), strict=True)
        else:
            kept["scales"] = absmax.flatten()
        super().__init__(linear, **kept)
        self.double_quantised = double  # `double` is what casts a module to 64 bits

    def absmax(self) -> Tensor:
        """The scale of every block, (d_out, d_in / block_size)."""
        if self.double_quantised:
            group_scales, mean = self.group_scales.view(torch.float32), self.mean.view(torch.float32)
            absmax = unpack_scales(self.scales.view(FLOAT8), group_scales, mean)
        else:
            absmax = self.scales.view(torch.float32)
        return absmax.view(self.out_features, -1)

    def unpack(self, rows: slice) -> Tensor:
        """Some rows of the matrix in 32 bits, (rows, d_in)."""
        pairs = torch.cartesian_prod(NF4, NF4).to(self.codes.device)  # (256, 2): the two weights of each byte
        values = F.embedding(self.codes[rows].int(), pairs)  # (rows, d_in / 2, 2)
        absmax = self.absmax()[rows]  # (rows, blocks in a row)
        return values.view(*absmax.shape, -1).mul_(absmax[..., None]).flatten(1)  # in place: memory costs time


class Q41Linear(FourBitLinear):
    """In Q4_1, to the byte as GGUF files have it: five bits a weight, with a scale and a least weight for each block of 32.

    `raw`: the bytes of the matrix, (d_out, bytes of a row), as a file has them; else it is packed here.
    """

    def __init__(self, linear: nn.Linear, raw: Tensor | None = None) -> None:
        if raw is None:
            weight = linear.weight.detach()
            raw = torch.from_numpy(pack_q4_1(weight.float().cpu().numpy())).to(weight.device)
        super().__init__(linear, raw=raw)

    def unpack(self, rows: slice) -> Tensor:
        """Some rows of the matrix in 32 bits, (rows, d_in)."""
        numbers = unpack(self.raw[rows].cpu().numpy(), Q4_1)
        return torch.from_numpy(numbers).view(-1, self.in_features).to(self.raw.device)


# ---- whole models -----------------------------------------------------------------------------------------------------


def to_four_bits(
    model: nn.Module,
    kind: str = "nf4",
    target_modules: Sequence[str] | None = None,
    block_size: int = 64,
    double: bool = True,
) -> nn.Module:
    """Pack the matrices of a model's blocks into four bits, in place; embeddings, head, norms and biases stay as they are.

    Attach a method afterwards; what trains is added beside. `full` and `intrinsic` would train only what is not packed.

    Args:
        model: a plain GPT, GPT2 or Llama.
        kind: `nf4`, or `q4_1` (whose blocks are always of 32).
        target_modules: names of the linear layers; None: all matrices of the blocks.
        block_size: weights that share a scale, in nf4.
        double: keep the scales of nf4 in 8 bits; else in 32.

    Raises:
        ValueError: a setting is wrong, a method is attached, a matrix is packed already, has rows that blocks do not
            fill, or numbers that are not finite, or too large for 16 bits in q4_1; the model is unchanged then.
    """
    check_plain(model)
    if kind not in ("nf4", "q4_1"):
        raise ValueError(f"kind must be 'nf4' or 'q4_1', not {kind!r}")
    check_positive(block_size=block_size)
    if type(double) is not bool:
        raise ValueError(f"double must be True or False, not {double!r}")
    if kind == "q4_1" and (block_size, double) != (64, True):
        raise ValueError(f"q4_1 is what the file format says: leave out block_size={block_size} and double={double}")
    names = linear_names(model)
    targets = names if target_modules is None else target_modules
    check_targets(targets, names)
    packed = {}
    for name in target_names(model, targets):
        linear = model.get_submodule(name)
        check_packable(name, linear, block_size if kind == "nf4" else LAYOUTS[Q4_1][1])
        packed[name] = NF4Linear(linear, block_size, double) if kind == "nf4" else Q41Linear(linear)
        check_finite({f"{name}.weight": packed[name].weight}, f"to_four_bits, in {kind}")
    for name, layer in packed.items():
        model.set_submodule(name, layer)
    return model


def check_packable(name: str, linear: nn.Linear, block_size: int) -> None:
    """Raise a ValueError where a layer cannot be packed in blocks of this size."""
    if isinstance(linear, FourBitLinear):
        raise ValueError(f"{name!r} is in four bits already; load the model again")
    if linear.in_features % block_size or block_size % 2:
        raise ValueError(
            f"{name!r} has rows of {linear.in_features} weights, which blocks of {block_size} do not fill, two codes a "
            "byte; give an even block_size that divides them (q4_1 has 32), or leave it out of target_modules"
        )


def from_four_bits(model: nn.Module) -> nn.Module:
    """Unpack every matrix again, in place: a plain model in 32 bits with the same logits, which can be merged into and saved.

    Raises:
        ValueError: a method is attached; merge or detach it first.
    """
    check_plain(model)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, FourBitLinear):
            model.set_submodule(name, linear_layer(layer.weight, layer.bias))
    return model


def bytes_kept(model: nn.Module) -> int:
    """Bytes of all that a model keeps, parameters and buffers, each shared tensor once."""
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
