"""Variants of the methods that a lesson holds its own against; only the sweeps know them by name."""

import torch
from torch import nn

from minitransformer.method import Method
from minitransformer.methods.adapter import SUBLAYERS, attach_adapter, count_adapter
from minitransformer.methods.intrinsic import DenseSubspaceGPT, SubspaceGPT, attach_intrinsic, count_intrinsic
from minitransformer.methods.lst import (
    LadderGPT,
    SummedLadderGPT,
    attach_lst,
    count_lst,
    prune_into_side,
    set_beside,
)
from minitransformer.methods.mam import attach_mam, attach_parallel, count_mam, count_parallel
from minitransformer.methods.prefix import PrefixedGPT, attach_prefix, count_prefix
from minitransformer.methods.prompt import PromptedGPT, attach_prompt, count_prompt
from minitransformer.model import GPT, GPTConfig
from minitransformer.surgery import check_plain, detach, freeze


def attach_prompt_random(model: GPT, num_virtual_tokens: int = 10) -> PromptedGPT:
    """A prompt that starts as N(0, 1) and not as the embeddings of tokens."""
    adapted = attach_prompt(model, num_virtual_tokens)
    torch.nn.init.normal_(adapted.prompt)
    return adapted


def attach_prefix_random(model: GPT, num_virtual_tokens: int = 10, projection_dim: None = None) -> PrefixedGPT:
    """A prefix that starts as N(0, 1) and not as the keys and values of tokens."""
    adapted = attach_prefix(model, num_virtual_tokens, projection_dim)
    torch.nn.init.normal_(adapted.prefix.keys_values)
    return adapted


def attach_adapter_in_block(model: GPT, bottleneck: int = 48, block: int = 0) -> GPT:
    """Adapters in one block alone.

    Raises:
        ValueError: the model has no such block, or as `attach_adapter` does.
    """
    if type(block) is not int or not 0 <= block < len(model.blocks):
        raise ValueError(f"block must be a whole number from 0 to {len(model.blocks) - 1}, not {block!r}")
    attach_adapter(model, bottleneck)
    for i, other in enumerate(model.blocks):
        if i != block:
            detach(other)
    return model


def attach_adapter_last(model: GPT, bottleneck: int = 16) -> GPT:
    """Adapters in the last block alone."""
    return attach_adapter_in_block(model, bottleneck, len(model.blocks) - 1)


def count_adapter_in_block(config: GPTConfig, bottleneck: int, block: int) -> int:
    """Trained parameters: two adapters."""
    return count_adapter_last(config, bottleneck)


def count_adapter_last(config: GPTConfig, bottleneck: int) -> int:
    """Trained parameters: two adapters."""
    return count_adapter(config, bottleneck, SUBLAYERS) // config.n_layer


def attach_lst_pruned(model: GPT, reduction_factor: int = 4) -> LadderGPT:
    """A side network that starts as the pruned backbone."""
    return prune_into_side(attach_lst(model, reduction_factor))


def attach_lst_sum(model: GPT, reduction_factor: int = 4) -> SummedLadderGPT:
    """The head reads the sum of the backbone's last state and the side's."""
    return set_beside(model, reduction_factor, SummedLadderGPT)


def read_norm(model: GPT) -> GPT:
    """Let parallel adapters read LN(x), as the feed-forward network does, in place of x."""
    for block in model.blocks:
        block.ln_2, block.mlp.norm = block.ln_2.base, nn.Identity()
    return model


def attach_parallel_normed(model: GPT, bottleneck: int = 16, scale: float = 4.0) -> GPT:
    """Parallel adapters that read LN(x)."""
    return read_norm(attach_parallel(model, bottleneck, scale))


def attach_mam_normed(model: GPT, num_virtual_tokens: int = 5, bottleneck: int = 16, scale: float = 4.0) -> PrefixedGPT:
    """MAM whose parallel adapters read LN(x)."""
    adapted = attach_mam(model, num_virtual_tokens, bottleneck, scale)
    read_norm(adapted.base)
    return adapted


def attach_intrinsic_dense(model: GPT, dimension: int = 100, seed: int = 0) -> DenseSubspaceGPT:
    """A subspace with a dense projection."""
    count_intrinsic(model.config, dimension, seed)
    check_plain(model)
    freeze(model)
    return DenseSubspaceGPT(model, dimension, seed)


def attach_intrinsic_random(model: GPT, dimension: int = 1000, seed: int = 0) -> SubspaceGPT:
    """A subspace through random weights, of the same dimensions: what pretraining is worth."""
    return attach_intrinsic(GPT(model.config).to(model.wte.weight), dimension, seed)


VARIANTS: dict[str, Method] = {
    "adapter_in_block": Method("adapter_in_block", attach_adapter_in_block, count_adapter_in_block, learning_rate=1e-2),
    "adapter_last": Method("adapter_last", attach_adapter_last, count_adapter_last, learning_rate=1e-2),
    "prompt_random": Method("prompt_random", attach_prompt_random, count_prompt, learning_rate=1e-1),
    "prefix_random": Method("prefix_random", attach_prefix_random, count_prefix, learning_rate=1e-1),
    "lst_pruned": Method("lst_pruned", attach_lst_pruned, count_lst, learning_rate=1e-2),
    "lst_sum": Method("lst_sum", attach_lst_sum, count_lst, learning_rate=1e-2),
    "mam_normed": Method("mam_normed", attach_mam_normed, count_mam, learning_rate=1e-2),
    "parallel_normed": Method("parallel_normed", attach_parallel_normed, count_parallel, learning_rate=1e-2),
    "parallel": Method("parallel", attach_parallel, count_parallel, learning_rate=1e-2),
    "intrinsic_dense": Method("intrinsic_dense", attach_intrinsic_dense, count_intrinsic, learning_rate=1e-1),
    "intrinsic_random": Method("intrinsic_random", attach_intrinsic_random, count_intrinsic, learning_rate=3e-1),
}
