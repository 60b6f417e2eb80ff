"""What a method needs at a size that no desk holds: counted on PyTorch's meta device, where tensors have no memory."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from minitransformer.measure import kept_for_backward
from minitransformer.method import Method
from minitransformer.model import GPT, GPTConfig
from minitransformer.surgery import count_parameters

# The dimensions of LLaMA-2-7B (Touvron et al. 2023, arXiv:2307.09288). Its feed-forward network has three matrices
# where ours has two, so the base comes out smaller here; what the methods add to attention is the same.
SEVEN_BILLION = GPTConfig(vocab_size=32_000, block_size=4096, n_layer=32, n_head=32, n_embd=4096, n_inner=11_008)


def attach_without_memory(
    method: Method,
    config: GPTConfig,
    dtype: torch.dtype = torch.bfloat16,
    kind: Callable[[GPTConfig], nn.Module] = GPT,
    **settings: object,
) -> nn.Module:
    """A method attached to a model on the meta device: shapes and precisions, and no memory.

    Args:
        method: to attach.
        config: the dimensions of the base.
        dtype: of the base.
        kind: what to build from the config: a GPT, or another model that the method serves.
        settings: of the method.

    Raises:
        ValueError: a setting is unknown or wrong.
    """
    with torch.device("meta"):
        adapted = method.attach(kind(config).to(dtype), **settings)
    return adapted.to(dtype)  # the budget counts 32-bit copies of what trains apart, as master weights


def activation_bytes(model: nn.Module, batch_size: int, tokens: int) -> int:
    """Bytes that a training step keeps between forward and backward, the weights left out.

    The same number as `kept_for_backward` counts on a real model of that size: attention is computed by the fused
    kernel where our code calls it, and written out where it does not (a prefix).

    Args:
        model: on the meta device.
        batch_size: sequences in the batch, B.
        tokens: in a sequence, T, virtual ones not counted.

    Raises:
        ValueError: that many tokens do not fit what the method leaves of the block.
    """
    with torch.device("meta"), fused_kernel():
        inputs = torch.empty(batch_size, tokens, dtype=torch.long)  # (B, T)
        return kept_for_backward(model, inputs, torch.empty_like(inputs))


@contextmanager
def fused_kernel() -> Iterator[None]:
    """Make attention call the fused kernel by its name.

    Asked on the meta device, PyTorch takes the unfused path, which keeps every attention weight. The fused kernel
    keeps q, k, v, its output, and one 32-bit number for each query and head. Keys that heads of queries share it keeps
    once; it need not be told that they are shared, so `enable_gqa` is not handed on.
    """

    def fused(q: Tensor, k: Tensor, v: Tensor, is_causal: bool, enable_gqa: bool = False) -> Tensor:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, is_causal=is_causal)[0]

    chosen = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        F.scaled_dot_product_attention = chosen


def memory_budget(adapted: nn.Module, batch_size: int = 1, tokens: int = 2048) -> dict[str, int]:
    """Bytes that training in bfloat16 with AdamW needs, part by part.

    Args:
        adapted: a model with a method attached, on the meta device, in bfloat16.
        batch_size: sequences in the batch, B.
        tokens: in a sequence, T.

    Returns:
        weights: all of them, frozen ones too, 2 bytes each.
        gradients: 2 bytes for each trained parameter.
        moments: the two of AdamW in 32 bits, 8 bytes for each trained parameter.
        master weights: a 32-bit copy, 4 bytes for each trained parameter; recipes that go without leave this part out.
            With it, a trained parameter costs 16 bytes (Rajbhandari et al. 2020, arXiv:1910.02054, section 3.1).
        activations: kept between forward and backward. Nothing is computed twice to save memory.

        Left out: buffers that live within one operation, and what the allocator wastes.

    Raises:
        ValueError: that many tokens do not fit what the method leaves of the block.
    """
    trained = count_parameters(adapted, trainable_only=True)
    return {
        "weights": 2 * count_parameters(adapted),
        "gradients": 2 * trained,
        "moments": 8 * trained,
        "master weights": 4 * trained,
        "activations": activation_bytes(adapted, batch_size, tokens),
    }


def step_flops(model: nn.Module, batch_size: int, tokens: int) -> tuple[int, int]:
    """Floating-point operations of all matrix products in a step, a multiplication and an addition each: (forward, backward).

    Element by element work is not counted, nor is the optimizer. Attention counts in full, without the half that a causal
    kernel skips.

    Args:
        model: on the meta device.
        batch_size: sequences in the batch, B.
        tokens: in a sequence, T.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        inputs = torch.empty(batch_size, tokens, dtype=torch.long)  # (B, T)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), torch.empty_like(inputs).flatten())
        forward = counter.get_total_flops()
        loss.backward()
    for parameter in model.parameters():
        parameter.grad = None
    return forward, counter.get_total_flops() - forward


def step_flops_by_layer(
    method: Method,
    config: GPTConfig,
    batch_size: int,
    tokens: int,
    kind: Callable[[GPTConfig], nn.Module] = GPT,
    **settings: object,
) -> tuple[int, int]:
    """The same as `step_flops` for a method on a model of many layers, without running them all.

    Every block costs the same, but for the first, below which nothing may have to be trained. So a model of two layers
    and one of three tell what each further layer adds.

    Args:
        method: to attach.
        config: the dimensions of the base, of two layers or more.
        batch_size: sequences in the batch, B.
        tokens: in a sequence, T.
        kind: what to build from the config.
        settings: of the method.

    Raises:
        ValueError: a setting is unknown or wrong, or that many tokens do not fit what the method leaves of the block.
    """
    two, three = (
        step_flops(
            attach_without_memory(method, replace(config, n_layer=layers), kind=kind, **settings), batch_size, tokens
        )
        for layers in (2, 3)
    )
    forward, backward = (a + (config.n_layer - 2) * (b - a) for a, b in zip(two, three, strict=True))
    return forward, backward


def settings_within(
    method: Method, config: GPTConfig, setting: str, low: float, high: float, **others: object
) -> tuple[int, int] | None:
    """The smallest and the largest value of a setting that trains at least `low` and at most `high` parameters.

    Args:
        method: its count grows with the setting.
        config: the dimensions of the base.
        setting: name of a setting that is a whole number, such as "rank"; values below block_size are tried.
        low: fewest parameters.
        high: most parameters.
        others: the other settings.

    Returns:
        First and last value; None where no value fits.
    """
    values = range(1, config.block_size)
    counts = {"key": lambda value: method.count(config, **{setting: value}, **others)}
    first, behind = bisect_left(values, low, **counts), bisect_right(values, high, **counts)
    return (values[first], values[behind - 1]) if first < behind else None
