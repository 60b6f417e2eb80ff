"""Time of a training step as a multiple of the time of its own matrix products.

    python tests/benchmarks/own_products.py [--repeats N] [--batch-size N]

What a step must do at least are its matrix products, forward and backward. One step of each method is watched; its
products are then computed alone, on the same tensors, in turns with the whole step: forward, cross-entropy, backward,
fused AdamW. Once with those inside of attention, which PyTorch fuses with the softmax between them, and once without. A GPT of the size of the base `tiny`, 128 sequences of 16 tokens, one thread, the
shortest CPU time. What is above 1 is everything else: norms, activations, loss, optimizer, and PyTorch's own overhead.
"""

import argparse
import time
from collections.abc import Callable

import torch
from step_time import CONFIG
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from minitransformer.measure import fastest_seconds, training_step
from minitransformer.methods import METHODS
from minitransformer.model import GPT

LENGTH = 16  # tokens in a sequence
ATTENTION = "aten._scaled_dot_product"  # forward and backward
PRODUCTS = ("aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", ATTENTION)


class Watch(TorchDispatchMode):
    """Writes down every matrix product with its tensors, by the name of the operation, while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[str, Callable[[], object]]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Carry out an operation of PyTorch, and remember it."""
        kwargs = kwargs or {}
        if str(function).startswith(PRODUCTS):
            self.products.append((str(function), lambda: function(*args, **kwargs)))
        return function(*args, **kwargs)


def own_products(step: Callable[[], None], attention: bool) -> Callable[[], None]:
    """What computes the matrix products of a step, and nothing else."""
    with Watch() as watch:
        step()

    @torch.no_grad()
    def products() -> None:
        for name, product in watch.products:
            if attention or not name.startswith(ATTENTION):
                product()

    return products


def ratios(name: str, inputs: Tensor, targets: Tensor, repeats: int) -> list[float]:
    """Seconds of a step of a method, of its products, and of those outside of attention."""
    step = training_step(METHODS[name].attach(GPT(CONFIG)).train(), inputs, targets)
    calls = [step, own_products(step, attention=True), own_products(step, attention=False)]
    return fastest_seconds(calls, repeats, torch.device("cpu"), time.process_time)


def main() -> None:
    parser = argparse.ArgumentParser(description="time of a training step over that of its own matrix products")
    parser.add_argument("--repeats", type=int, default=50, help="measured steps a row (default: 50)")
    parser.add_argument("--batch-size", type=int, default=128, help="sequences (default: 128)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs, targets = torch.randint(CONFIG.vocab_size, (2, options.batch_size, LENGTH))
    print(f"{'method':>9}  {'step, ms':>9}  {'products, ms':>12}  {'step / products':>15}  {'without attention':>17}")
    for name in METHODS:
        whole, products, outside = ratios(name, inputs, targets, options.repeats)
        times = f"{1000 * whole:9.2f}  {1000 * products:12.2f}"
        print(f"{name:>9}  {times}  {whole / products:15.2f}  {whole / outside:17.2f}", flush=True)


if __name__ == "__main__":
    main()
