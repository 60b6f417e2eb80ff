"""One training loop for pretraining and for every fine-tuning method."""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from tqdm import tqdm

from minitransformer.files import write_safetensors
from minitransformer.tasks import Task


def choose_device(name: str | None = None) -> torch.device:
    """Take the device that is asked for, or else the best one here: cuda, then mps, then cpu.

    Raises:
        ValueError: the name is unknown, or this machine has no such device.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name is None:
        return torch.device(next(device for device, here in found.items() if here))
    kind = name.split(":")[0]
    here = ", ".join(device for device, present in found.items() if present)
    if not found.get(kind):
        raise ValueError(f"device {name!r} is not available; on this machine: {here}")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} cannot be used ({error}); on this machine: {here}") from None
    return device


def setup(seed: int = 0, device: str | None = None) -> torch.device:
    """Make a run repeatable: seed PyTorch, choose the device, and use one CPU thread.

    Models this small train fastest on one thread, and one thread adds numbers in the same order every time.

    Raises:
        ValueError: as `choose_device` does.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    return choose_device(device)


@dataclass
class History:
    """What a training run recorded.

    losses: cross-entropy in nats, one a step. scores: (step, score) pairs. seconds: time spent in steps, no scoring.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


def learning_rate_at(step: int, steps: int, peak: float, warmup: int = 50) -> float:
    """Learning rate of step 0, 1, ..., steps - 1: a linear warm-up to the peak, then half a cosine down to zero."""
    warmup = min(warmup, steps // 10)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def evaluate(model: nn.Module, task: Task) -> float:
    """Score a model on a task's held-out data, in evaluation mode and without gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return task.score(model)
    finally:
        model.train(was_training)


def train(
    model: nn.Module,
    task: Task,
    steps: int,
    learning_rate: float,
    batch_size: int = 32,
    weight_decay: float = 0.0,
    seed: int = 0,
    score_every: int | None = None,
    state_file: Path | None = None,
    save_every: int = 200,
    progress: bool = True,
) -> History:
    """Train whatever is not frozen, with AdamW and the schedule of `learning_rate_at`; gradients clipped at norm 1.

    Weight decay is off by default: it would pull a method's weights away from where they do nothing, (IA)^3's ones
    towards zero, for example.

    Args:
        model: a GPT or an adapted GPT, on the device to train on.
        task: where batches and scores come from.
        steps: number of optimizer steps.
        learning_rate: the peak of the schedule.
        batch_size: sequences a step.
        weight_decay: AdamW's decoupled decay.
        seed: of the batches.
        score_every: score the model each time so many steps are done, and at the end; None: never.
        state_file: keep the run's state here, and continue from it if it is there.
        save_every: steps between two saves of the state.
        progress: draw a progress bar.

    Returns:
        The losses and scores of the whole run, including what a resumed run had recorded before.

    Raises:
        ValueError: nothing is trainable, steps or rate are no positive numbers, or the state belongs to another run.
        FloatingPointError: the loss is no longer a number; the rate is too high.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("train: every weight of the model is frozen; attach a method first")
    if steps < 1 or batch_size < 1 or not 0 < learning_rate < math.inf:
        raise ValueError(f"train: steps={steps}, batch_size={batch_size}, learning_rate={learning_rate} must be > 0")
    device = parameters[0].device
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    generator = torch.Generator().manual_seed(seed)
    history = History()
    run = {
        "task": task.name, "steps": steps, "learning_rate": learning_rate, "batch_size": batch_size,
        "weight_decay": weight_decay, "seed": seed, "shapes": [list(p.shape) for p in parameters],
    }  # fmt: skip
    if state_file is not None and state_file.exists():
        history = load_state(state_file, run, parameters, optimizer, generator)

    model.train()
    first = len(history.losses)
    switch = {} if progress else {"disable": True}  # left out, the environment's TQDM_DISABLE decides
    for step in tqdm(range(first, steps), initial=first, total=steps, desc=task.name, **switch):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, steps, learning_rate)
        inputs, targets = task.batch(batch_size, generator)  # (B, T), (B, T)
        logits = model(inputs.to(device))  # (B, T, vocab_size)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.to(device).flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.losses.append(loss.item())
        history.seconds += time.perf_counter() - start

        if not math.isfinite(history.losses[-1]):
            raise FloatingPointError(
                f"train: the loss is {history.losses[-1]} at step {step}; try a lower learning rate"
            )
        if score_every and ((step + 1) % score_every == 0 or step + 1 == steps):
            history.scores.append((step + 1, evaluate(model, task)))
        if state_file is not None and ((step + 1) % save_every == 0 or step + 1 == steps):
            save_state(state_file, run, history, parameters, optimizer, generator)
    model.eval()
    return history


# ---- the state of a run, for going on after an interruption -----------------------------------------------------------


def save_state(
    file: Path,
    run: dict,
    history: History,
    parameters: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> None:
    """Write all that the next step depends on: weights, optimizer moments, the state of the random numbers."""
    tensors: dict[str, Tensor] = {"generator": generator.get_state()}
    for i, parameter in enumerate(parameters):
        tensors[f"{i}.weight"] = parameter.detach()
        tensors |= {f"{i}.{key}": value for key, value in optimizer.state[parameter].items()}
    write_safetensors(tensors, file, {"run": json.dumps(run), "history": json.dumps(asdict(history))})


def load_state(
    file: Path,
    run: dict,
    parameters: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> History:
    """Put a saved state back in place.

    Raises:
        ValueError: the file is damaged, or was saved by a run with other settings.
    """
    again = f"delete {file} to start again"
    try:
        with safe_open(file, framework="pt", device=str(parameters[0].device)) as saved:
            metadata = saved.metadata() or {}
            tensors = {key: saved.get_tensor(key) for key in saved.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"the state of the run in {file} cannot be read ({error}); {again}") from None
    if "run" not in metadata:
        raise ValueError(f"{file} is not the state of a run; {again}")
    if json.loads(metadata["run"]) != run:
        raise ValueError(f"{file} holds a run with other settings, {metadata['run']}; {again}")
    generator.set_state(tensors.pop("generator").cpu())
    with torch.no_grad():
        for i, parameter in enumerate(parameters):
            parameter.copy_(tensors[f"{i}.weight"])
            if f"{i}.step" in tensors:  # a weight that never got a gradient has no moments
                optimizer.state[parameter] = {
                    key: tensors[f"{i}.{key}"].clone() for key in ("step", "exp_avg", "exp_avg_sq")
                }
    history = History(**json.loads(metadata["history"]))
    history.scores = [tuple(score) for score in history.scores]
    return history
