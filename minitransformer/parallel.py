"""Many processes that train one model together, as `torchrun` starts them: each takes its part of every batch.

    torchrun --nproc-per-node 4 -m minitransformer finetune lora --task recall

All processes draw the same batches, hold the same weights and take the same steps; only the forward and the backward pass
are shared out (see `minitransformer.backward`). So a run on four processes is the run on one, up to rounding. The first
process alone writes files and draws the progress bar.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def this_process() -> tuple[int, int]:
    """Which process this is, from 0 on, and how many there are."""
    together = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if together else (0, 1)


def sum_over_processes(number: Tensor) -> Tensor:
    """The sum of what each process has here, the same in all of them."""
    if this_process()[1] > 1:
        dist.all_reduce(number)
    return number


@contextmanager
def processes(device: str | None = None) -> Iterator[str | None]:
    """Join the processes that `torchrun` started with this one, until this closes; alone, nothing happens.

    Args:
        device: as `choose_device` takes it; with several GPUs and none named, each process gets one of its own.

    Yields:
        The device of this process, to give to `choose_device`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device in (None, "cuda") and torch.cuda.is_available():
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:  # all on this machine: they need no network
        for name in {"lo", "lo0"}.intersection(name for _, name in socket.if_nameindex()):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    store, rank, world = next(dist.rendezvous("env://"))  # torchrun has set where the others are
    fresh = dist.PrefixStore(
        os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store
    )  # without the addresses of the dead
    dist.init_process_group(store=fresh, rank=rank, world_size=world)  # gloo for the CPU, nccl for CUDA
    try:
        yield device
    finally:
        dist.destroy_process_group()
