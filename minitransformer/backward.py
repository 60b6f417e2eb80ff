"""How a training step gets its loss and its gradients: in one pass, or in ways that cost less and give the same numbers.

In 16 bits where 16 are enough (`bf16`), in small parts (`gradient_accumulation_steps`), with blocks that keep nothing and
run twice (`gradient_checkpointing`), compiled (`torch_compile`), with the head where a target counts alone
(`head_on_targets`), and on many processes (`minitransformer.parallel`). What does not go together is refused.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import CheckpointError, checkpoint

from minitransformer.parallel import sum_over_processes, this_process
from minitransformer.surgery import base_weights, check_positive, inside
from minitransformer.tasks import IGNORE


class Backward:
    """Computes the loss of a batch and the gradients of all that trains; the options are those of `train`.

    Raises:
        ValueError: two options do not go together, or one does not go with this model or this machine.
    """

    def __init__(
        self,
        model: nn.Module,
        bf16: bool = False,
        gradient_accumulation_steps: int = 1,
        gradient_checkpointing: bool = False,
        torch_compile: bool = False,
        head_on_targets: bool = False,
    ) -> None:
        check_positive(gradient_accumulation_steps=gradient_accumulation_steps)
        self.model = model
        self.bf16 = bf16
        self.steps = gradient_accumulation_steps
        self.gradient_checkpointing = gradient_checkpointing
        self.head_on_targets = head_on_targets
        self.rank, self.world = this_process()
        self.run: Callable[[Tensor], Tensor] = model
        if bf16:
            check_32_bits(model)
        if head_on_targets and not hasattr(inside(model), "unembed"):
            raise ValueError(f"head_on_targets: a {type(inside(model)).__name__} has no step `unembed`; leave it out")
        if torch_compile and (gradient_checkpointing or head_on_targets):
            other = "gradient_checkpointing" if gradient_checkpointing else "head_on_targets"
            raise ValueError(
                f"torch_compile wants a model that stays as it is, and {other} changes it; give one of them"
            )
        if torch_compile and next(model.parameters()).device.type == "cpu" and not has_compiler():
            raise ValueError(
                "torch_compile needs a C++ compiler on a CPU, and none is here; install g++, or leave it out"
            )
        if torch_compile:
            self.run = torch.compile(model)  # imports the compiler only now: that takes seconds
        if self.world > 1:  # averages the gradients over the processes, during the backward pass
            self.run = DistributedDataParallel(self.run)

    def __call__(self, inputs: Tensor, targets: Tensor) -> float:
        """Add to the gradients those of the batch's mean cross-entropy a target; return that loss.

        Args:
            inputs: (B, T), on the model's device: the whole batch, also where many processes share it.
            targets: (B, T), IGNORE where none counts.

        Raises:
            ValueError: the batch has fewer sequences than parts, or the model's blocks cannot run twice.
        """
        parts = self.world * self.steps
        if len(inputs) < parts:
            raise ValueError(
                f"a batch of {len(inputs)} sequences cannot be cut into {parts} parts (gradient_accumulation_steps="
                f"{self.steps}, processes: {self.world}); make it larger, or the parts fewer"
            )
        mine = slice(self.rank * self.steps, (self.rank + 1) * self.steps)
        pairs = list(zip(inputs.tensor_split(parts)[mine], targets.tensor_split(parts)[mine], strict=True))
        counted = (targets != IGNORE).sum()  # of all parts: the mean of their own means would be another number
        total = torch.zeros((), device=inputs.device)
        for number, (some, wanted) in enumerate(pairs, start=1):
            with self.synchronised(number == self.steps):
                loss = self.summed_loss(some, wanted) / counted
                if loss.requires_grad:
                    run_backward(self.world * loss)  # the average over the processes is then a sum
            total = total + loss.detach()
        return sum_over_processes(total).item()

    def summed_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Forward pass and cross-entropies in 32 bits or more, (b, T) twice -> their sum over the targets that count."""
        counts = targets != IGNORE  # (b, T)
        head = head_at(self.model, counts) if self.head_on_targets else nullcontext()
        blocks = checkpointed(self.model) if self.gradient_checkpointing else nullcontext()
        with head, blocks, torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.run(inputs)  # (b, T, vocab_size), or (n, vocab_size) where n targets count
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, -2)
        targets = targets[counts] if self.head_on_targets else targets.flatten()
        return F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")

    def synchronised(self, last: bool) -> AbstractContextManager:
        """Let the processes exchange gradients behind the last part alone."""
        return nullcontext() if last or self.world == 1 else self.run.no_sync()


def run_backward(loss: Tensor) -> None:
    """Backward pass.

    Raises:
        ValueError: a block that runs a second time does not do what it did the first time.
    """
    try:
        loss.backward()
    except CheckpointError:
        raise ValueError(
            "gradient_checkpointing: a block does something else when it runs again in the backward pass (a prefix in "
            "its memory is gone by then); train this method without"
        ) from None


# ---- each option on its own -------------------------------------------------------------------------------------------


def check_32_bits(model: nn.Module) -> None:
    """Make sure that autocast finds what it is made for.

    Raises:
        ValueError: a weight of the base has another precision.
    """
    for name, weight in base_weights(model).items():
        if weight.is_floating_point() and weight.dtype != torch.float32:
            raise ValueError(
                f"bf16: {name!r} is in {weight.dtype}; autocast is for weights of 32 bits. A base in 16 bits saves more "
                "without it: what a method adds to it trains in 32"
            )


def has_compiler() -> bool:
    """Whether the C++ compiler is here that `torch.compile` wants on a CPU."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++", "cl"))


@contextmanager
def checkpointed(model: nn.Module) -> Iterator[None]:
    """While this is open, a block keeps only its input, and runs again in the backward pass (Chen et al. 2016, arXiv:1604.06174).

    Raises:
        ValueError: at the end, where a block did not run, so that nothing was saved.
    """
    blocks = {name: part for name, part in model.named_modules() if hasattr(part, "attn") and hasattr(part, "mlp")}
    ran = set()

    def twice(name: str, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        ran.add(name)
        return checkpoint(forward, x, use_reentrant=False, preserve_rng_state=False)  # the models draw nothing

    for name, block in blocks.items():
        block.forward = partial(twice, name, block.forward)
    try:
        yield
    finally:
        for block in blocks.values():
            del block.forward  # the one of its class is there again
    if ran != set(blocks):
        raise ValueError(
            f"gradient_checkpointing: the method goes through {min(set(blocks) - ran)!r} by its parts, so that nothing is "
            "saved there; train it without"
        )


@contextmanager
def head_at(model: nn.Module, counts: Tensor) -> Iterator[None]:
    """While this is open, the head of a model runs only at the n places that count: its logits are (n, vocab_size).

    Args:
        model: a GPT or a Llama, adapted or not.
        counts: (B, T), true where a target counts.
    """
    base = inside(model)
    unembed = base.unembed
    base.unembed = lambda x: unembed(x[counts])  # (B, T, d) -> (n, vocab_size)
    try:
        yield
    finally:
        del base.unembed
