"""What a method costs: time a training step, latency, bytes kept for backward."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.tasks import Task


def fastest_seconds(
    calls: list[Callable[[], object]],
    repeats: int,
    device: torch.device,
    clock: Callable[[], float] | None = None,
) -> list[float]:
    """The shortest time of each call in seconds, taken in turns. What else the machine does can only add to a time.

    Args:
        calls: what to measure.
        repeats: measured rounds, each call once in each.
        device: that the calls run on.
        clock: in seconds; None: the wall's. `time.process_time` counts the CPU's work for this process alone, for a
            machine with much else to do.
    """
    clock = clock or time.perf_counter
    wait = {"cuda": lambda: torch.cuda.synchronize(device), "mps": torch.mps.synchronize}.get(device.type, lambda: None)
    times: list[list[float]] = [[] for _ in calls]
    for repeat in range(repeats + 2):  # the first two rounds warm up
        for call, record in zip(calls, times, strict=True):
            wait()
            start = clock()
            call()
            wait()
            if repeat >= 2:
                record.append(clock() - start)
    return [min(record) for record in times]


def training_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    """One optimizer step as a function without arguments; a rate of zero leaves the weights as they are."""
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=0.0, weight_decay=0.0, fused=True
    )

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).backward()
        optimizer.step()

    return step


def step_seconds(model: nn.Module, task: Task, repeats: int = 20) -> float:
    """The shortest time of a training step on batches of a task, in seconds."""
    inputs, targets = batch_on(model, task, task.batch_size)
    return fastest_seconds([training_step(model, inputs, targets)], repeats, inputs.device)[0]


@torch.no_grad()
def latency_ratio(model: nn.Module, base: nn.Module, task: Task, batch_size: int = 1, repeats: int = 50) -> float:
    """Time of a forward pass as a multiple of the base's, both measured in turns."""
    inputs, _ = batch_on(model, task, batch_size)
    ours, theirs = fastest_seconds([lambda: model(inputs), lambda: base(inputs)], repeats, inputs.device)
    return ours / theirs


def bytes_for_backward(model: nn.Module, task: Task) -> int:
    """Bytes that a training step on a batch of a task keeps between forward and backward, the weights left out."""
    return kept_for_backward(model, *batch_on(model, task, task.batch_size))


def kept_for_backward(model: nn.Module, inputs: Tensor, targets: Tensor) -> int:
    """Bytes kept between the forward pass on inputs (B, T), with the loss at targets (B, T), and the backward pass.

    Every tensor that autograd saves is counted once, by the storage that it lives in; the weights themselves are left
    out. On the meta device storages have a size and no content, and are counted alike.
    """
    weights = {id(storage): storage for storage in (p.untyped_storage() for p in model.parameters())}
    kept: dict[int, torch.UntypedStorage] = {}  # holding them keeps their ids from being given away again

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in weights:
            kept[id(storage)] = storage
        return tensor.detach()  # a tensor that held its own graph would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    return sum(storage.nbytes() for storage in kept.values())


def batch_on(model: nn.Module, task: Task, batch_size: int) -> tuple[Tensor, Tensor]:
    """The same batch every time, on the model's device."""
    device = next(model.parameters()).device
    inputs, targets = task.batch(batch_size, torch.Generator().manual_seed(0))
    return inputs.to(device), targets.to(device)
