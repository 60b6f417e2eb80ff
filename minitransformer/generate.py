"""Greedy and sampled generation, the same for the base model and for every adapted model."""

import math

import torch
from torch import Tensor, nn

from minitransformer.surgery import check_tokens

MOST = 100_000  # new tokens in one call: hours of work, and more is likelier a mistake
COLDEST = 1e-30  # logits divided by less than this overflow; at such a temperature only the likeliest token is left


@torch.no_grad()
def generate(
    model: nn.Module,
    idx: Tensor,
    max_new_tokens: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Let the model continue a text, one token at a time.

    Args:
        model: maps (B, T) tokens to (B, T, vocab_size) logits; `model.config.block_size` is the longest T it takes.
        idx: the tokens to continue, (B, T), at least one in each row. Beyond block_size only the newest tokens are seen.
        max_new_tokens: number of tokens to add, from 0 to 100,000.
        temperature: 0, or below 1e-30, takes the likeliest token; 1 samples from the model; higher is wilder.
        generator: the source of randomness when temperature > 0.

    Returns:
        The tokens with their continuation, (B, T + max_new_tokens).

    Raises:
        ValueError: the tokens are no (B, T) of the vocabulary or there is none, or a number is out of its range.
    """
    check_request(model, idx, max_new_tokens, temperature)
    idx = idx.long()
    for _ in range(max_new_tokens):
        logits = model(idx[:, -model.config.block_size :])[:, -1]  # (B, vocab_size)
        idx = torch.cat([idx, choose(logits, temperature, generator)], dim=1)
    return idx


def check_request(model: nn.Module, idx: Tensor, max_new_tokens: int, temperature: float) -> None:
    """Make sure that a model can go on from these tokens in this way.

    Raises:
        ValueError: the tokens are no (B, T) of the vocabulary or there is none, or a number is out of its range.
    """
    check_tokens(model, idx, "generate: idx")
    if idx.dim() != 2 or idx.size(1) == 0:
        raise ValueError(f"generate: idx must be (B, T) with T of at least 1, not {tuple(idx.shape)}")
    if type(max_new_tokens) is not int or not 0 <= max_new_tokens <= MOST:
        raise ValueError(f"generate: max_new_tokens must be a whole number from 0 to {MOST}, not {max_new_tokens!r}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"generate: temperature must be a number of 0 or more, not {temperature}")


def choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """The next token of each row: (B, vocab_size) -> (B, 1)."""
    if temperature < COLDEST:
        return logits.argmax(dim=-1, keepdim=True)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # 16 bits overflow sooner
    probabilities = (logits / temperature).softmax(dim=-1)  # (B, vocab_size)
    if generator is not None:
        probabilities = probabilities.to(generator.device)  # chance must be drawn where the generator is
    return torch.multinomial(probabilities, 1, generator=generator).to(logits.device)
