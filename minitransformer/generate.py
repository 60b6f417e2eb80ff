"""Greedy and sampled generation, the same for the base model and for every adapted model."""

import torch
from torch import Tensor, nn


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
        idx: the tokens to continue, (B, T). Beyond block_size only the newest tokens are seen.
        max_new_tokens: number of tokens to add.
        temperature: 0 takes the likeliest token; 1 samples from the model; higher is wilder.
        generator: the source of randomness when temperature > 0.

    Returns:
        The tokens with their continuation, (B, T + max_new_tokens).

    Raises:
        ValueError: temperature is negative.
    """
    if temperature < 0:
        raise ValueError(f"generate: temperature must be 0 or more, not {temperature}")
    for _ in range(max_new_tokens):
        logits = model(idx[:, -model.config.block_size :])[:, -1]  # (B, vocab_size)
        if temperature == 0:
            token = logits.argmax(dim=-1, keepdim=True)  # (B, 1)
        else:
            probabilities = (logits / temperature).softmax(dim=-1)  # (B, vocab_size)
            if generator is not None:
                probabilities = probabilities.to(generator.device)  # chance must be drawn where the generator is
            token = torch.multinomial(probabilities, 1, generator=generator).to(idx.device)  # (B, 1)
        idx = torch.cat([idx, token], dim=1)
    return idx
