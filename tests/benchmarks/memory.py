"""Bytes that a training step keeps between forward and backward, as a part of full fine-tuning's.

    python tests/benchmarks/memory.py [--batch-size N]

Counted, not measured (`minitransformer.measure.bytes_for_backward`), so that every run prints the same: a GPT of width
128 with 8 layers, random weights, 32 sequences of 64 tokens.
"""

import argparse

import torch
from torch import Tensor, nn

from minitransformer.measure import bytes_for_backward
from minitransformer.methods import METHODS
from minitransformer.model import GPT, GPTConfig
from minitransformer.tasks import Task

CONFIG = GPTConfig(vocab_size=10, block_size=128, n_layer=8, n_head=4, n_embd=128)
LENGTH = 64  # tokens in a sequence


class RandomTokens(Task):
    """What is learned does not matter here."""

    name = "random tokens"

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.randint(CONFIG.vocab_size, (batch_size, LENGTH + 1), generator=generator)
        return drawn[:, :-1], drawn[:, 1:]

    def score(self, model: nn.Module) -> float:
        raise NotImplementedError


ROWS = [(name, {}) for name in METHODS]
ROWS += [
    ("lora", {"target_modules": ("q_proj", "v_proj")}),
    ("dora", {"target_modules": ("q_proj", "v_proj")}),
    ("lst", {"reduction_factor": 8}),
    ("lst", {"reduction_factor": 2}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="bytes kept for backward, as a part of full fine-tuning's")
    parser.add_argument("--batch-size", type=int, default=32, help="sequences (default: 32)")
    task = RandomTokens(parser.parse_args().batch_size)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'method':<40}  {'MiB':>7}  {'of full':>7}")
    full = bytes_for_backward(GPT(CONFIG), task)
    for name, settings in ROWS:
        kept = bytes_for_backward(METHODS[name].attach(GPT(CONFIG), **settings), task)
        label = ", ".join([name, *(f"{setting}={value}".replace("'", "") for setting, value in settings.items())])
        print(f"{label:<40}  {kept / 2**20:7.1f}  {kept / full:7.2f}")


if __name__ == "__main__":
    main()
