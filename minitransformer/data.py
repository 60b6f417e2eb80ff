"""Training data of one's own: tensors of tokens and targets, or a DataLoader, in the shape of a task."""

import hashlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from minitransformer.surgery import check_tokens
from minitransformer.tasks import IGNORE, Task, next_token_targets

HELP = "give a Task, a pair of tensors (tokens, targets), or a DataLoader of such pairs"


def targets_of(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and next-token targets, (N, T) each, from whole sequences (N, T + 1): every token counts."""
    return next_token_targets(tokens, torch.ones_like(tokens, dtype=torch.bool))


def check_pair(pair: object) -> tuple[Tensor, Tensor]:
    """Make sure that this is a pair of tokens and targets, both (N, T) and whole numbers, with something that counts.

    Raises:
        ValueError: it is not; the message says what is wrong and what is wanted.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(part, Tensor) for part in pair):
        raise ValueError(f"the data is no pair of tensors but {type(pair).__name__}; {HELP}")
    tokens, targets = pair
    for name, tensor in (("tokens", tokens), ("targets", targets)):
        if tensor.dim() != 2 or tensor.is_floating_point() or tensor.dtype == torch.bool:
            raise ValueError(
                f"{name} must be whole numbers of shape (N, T), not {tensor.dtype} of shape {tuple(tensor.shape)}"
            )
    if tokens.shape != targets.shape:
        raise ValueError(f"tokens {tuple(tokens.shape)} and targets {tuple(targets.shape)} must have one shape")
    if not (targets != IGNORE).any():
        raise ValueError(f"no target counts: all are {IGNORE}, or there are none")
    return tokens.long(), targets.long()


def check_batch(model: nn.Module, tokens: Tensor, targets: Tensor) -> None:
    """Raise a ValueError where a token or a target that counts lies outside the model's vocabulary."""
    check_tokens(model, tokens)
    check_tokens(model, targets[targets != IGNORE], "targets")


@torch.no_grad()
def loss_on(model: nn.Module, tokens: Tensor, targets: Tensor) -> tuple[float, int]:
    """Sum of the cross-entropies in nats, and the number of targets that count."""
    check_batch(model, tokens, targets)
    device = next(model.parameters()).device
    logits = model(tokens.to(device)).flatten(0, 1)  # (N T, vocab_size)
    loss = F.cross_entropy(logits.float(), targets.to(device).flatten(), ignore_index=IGNORE, reduction="sum")
    return loss.item(), int((targets != IGNORE).sum())


class TensorData(Task):
    """Rows of two tensors as a task; its score is the mean cross-entropy on all rows, in nats a target.

    Args:
        tokens: (N, T).
        targets: (N, T), IGNORE where none counts.

    Raises:
        ValueError: the tensors do not fit one another.
    """

    name = "tensors"
    metric = "nats"

    def __init__(self, tokens: Tensor, targets: Tensor) -> None:
        self.tokens, self.targets = check_pair((tokens, targets))

    @property
    def identity(self) -> str:
        """A checksum of the data."""
        both = torch.stack([self.tokens, self.targets]).cpu().numpy().tobytes()
        return hashlib.sha256(both).hexdigest()

    def check(self, model: nn.Module) -> None:
        """Raise a ValueError where a token or target lies outside the model's vocabulary."""
        check_batch(model, self.tokens, self.targets)

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows drawn at random: two tensors (B, T)."""
        rows = torch.randint(len(self.tokens), (batch_size,), generator=generator)
        return self.tokens[rows], self.targets[rows]

    def score(self, model: nn.Module) -> float:
        """Mean cross-entropy in nats a target."""
        total, count = loss_on(model, self.tokens, self.targets)
        return total / count


class LoaderData(Task):
    """A DataLoader as a task: its batches as they come, from the start again when it ends.

    Args:
        loader: gives pairs of tokens and targets, (B, T) each.
    """

    name = "loader"
    metric = "nats"
    resumable = False  # nobody can say where in its order a DataLoader stands

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.batches: Iterator = iter(())

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The next batch: two tensors (B, T). The loader decides on its size and its order."""
        pair = next(self.batches, None)
        if pair is None:
            self.batches = iter(self.loader)
            pair = next(self.batches, None)
        if pair is None:
            raise ValueError(f"the DataLoader is empty; {HELP}")
        return check_pair(pair)

    def score(self, model: nn.Module) -> float:
        """Mean cross-entropy over the whole loader, in nats a target."""
        pairs = [loss_on(model, *check_pair(pair)) for pair in self.loader]
        if not pairs:
            raise ValueError(f"the DataLoader is empty; {HELP}")
        return sum(total for total, _ in pairs) / sum(count for _, count in pairs)


def as_task(data: object) -> Task:
    """A task from whatever `train` and `evaluate` take.

    Args:
        data: a Task; a pair of tokens and targets, (N, T) each; or a DataLoader of such pairs.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(data, Task):
        return data
    if isinstance(data, DataLoader):
        return LoaderData(data)
    if isinstance(data, tuple | list):
        return TensorData(*check_pair(data))
    raise ValueError(f"{type(data).__name__} is no training data; {HELP}")
