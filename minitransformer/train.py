"""One training loop for pretraining and for every fine-tuning method."""

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from minitransformer.backward import Backward
from minitransformer.data import as_task, check_batch
from minitransformer.files import write_safetensors
from minitransformer.parallel import this_process
from minitransformer.surgery import check_positive, check_scale, fingerprint
from minitransformer.tasks import Task

WARMUP = 20  # steps


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
    except (RuntimeError, AssertionError) as error:  # a PyTorch without CUDA asserts
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

    Attributes:
        losses: cross-entropy in nats a target, one a step.
        evaluations: what was measured on the way, a dictionary each time: `step`, `loss` (the mean over the last tenth
            of the steps until then), and what the task measures, its `score` among it.
        seconds: time spent in steps, no measuring.
    """

    losses: list[float] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def scores(self) -> list[tuple[int, float]]:
        """(step, score) pairs."""
        return [(evaluation["step"], evaluation["score"]) for evaluation in self.evaluations]


class Diverged(FloatingPointError):
    """The loss is no longer a number; `history` holds what was recorded before."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


# ---- the learning rate over the steps ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes over a run.

    Args:
        rate: (step, end) -> part of the peak rate in step 0, 1, ..., end - 1 of a run of `end` steps.
        decay_from: end -> the first step whose rate depends on where the run ends.
    """

    rate: Callable[[int, float], float]
    decay_from: Callable[[int], int]


def decay_from(end: int) -> int:
    """The step at which the last fifth of a run begins."""
    return end - max(1, end // 5)


def stable_rate(step: int, end: int) -> float:
    """Up in a line over the first WARMUP steps, constant, and down in a line over the last fifth of the run."""
    return min(1.0, (step + 1) / WARMUP, (end - step) / (end - decay_from(end)))


def cosine_rate(step: int, end: int) -> float:
    """Up in a line over a tenth of the run, 50 steps at most, then half a cosine down to zero."""
    warmup = min(50, end // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (end - warmup)))


# Warm-up, stable, decay (Hu et al. 2024, arXiv:2404.06395, section 4): the decay can be branched off anywhere, so one
# run tells what shorter runs would have given. A cosine knows its end from the first step on, and tells of no other.
STABLE = Schedule(stable_rate, decay_from)
COSINE = Schedule(cosine_rate, lambda end: 0)


def log_spaced(steps: int, first: float = 0.1) -> list[int]:
    """Steps to measure a run at, about evenly spaced on a logarithmic axis: 0.1, 0.2, 0.5 and 1 times its length.

    Args:
        steps: of the whole run, the last entry.
        first: where to begin, as a part of `steps`.
    """
    parts = [lead / 10**decade for decade in range(9) for lead in (1, 0.5, 0.2)]
    return sorted({round(part * steps) for part in parts if part > 0.99 * first and part * steps >= 1})


# ---- training and scoring ---------------------------------------------------------------------------------------------

Data = Task | tuple[Tensor, Tensor] | DataLoader


def evaluate(model: nn.Module, data: Data) -> float:
    """Score a model, in evaluation mode and without gradients.

    Args:
        model: maps (B, T) tokens to (B, T, vocab_size) logits.
        data: a task, scored on its held-out data by its own metric; or tokens and targets, (N, T) each, or a
            DataLoader of such pairs, scored by the mean cross-entropy in nats a target.

    Raises:
        ValueError: the data is none of these, or holds tokens that the model does not know.
    """
    return measure(model, data)["score"]


def measure(model: nn.Module, data: Data) -> dict[str, float]:
    """All that a task measures (see `Task.measures`), in evaluation mode and without gradients.

    Raises:
        ValueError: as `evaluate` does.
    """
    task = as_task(data)
    task.check(model)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return task.measures(model)
    finally:
        model.train(was_training)


def train(
    model: nn.Module,
    data: Data,
    steps: int,
    learning_rate: float,
    batch_size: int | None = None,
    weight_decay: float = 0.0,
    seed: int = 0,
    schedule: Schedule = STABLE,
    evaluate_at: Iterable[int] = (),
    measures: Callable[[nn.Module], dict[str, float]] | None = None,
    solved: float = math.inf,
    state_file: Path | str | None = None,
    save_every: int = 200,
    progress: bool = True,
    bf16: bool = False,
    gradient_accumulation_steps: int = 1,
    gradient_checkpointing: bool = False,
    torch_compile: bool = False,
    head_on_targets: bool = False,
) -> History:
    """Train whatever is not frozen, with AdamW; gradients clipped at norm 1.

    Weight decay is off by default: it would pull a method's weights away from where they do nothing, (IA)^3's ones
    towards zero, for example.

    At every step named in `evaluate_at` the run branches: a copy of it ends there, with the decay that a run of that
    length has, and is measured; then the run goes on as if nothing had been. So each measurement is that of a run
    of its own. A branch costs its decay, a fifth of the steps until then.

    The last five arguments change what a step costs, and its numbers by rounding alone; a method that one of them cannot
    serve is refused. Many processes train together inside `minitransformer.parallel.processes`.

    Args:
        model: a GPT or an adapted GPT, on the device to train on.
        data: a task; or tokens and targets, (N, T) each; or a DataLoader of such pairs.
        steps: number of optimizer steps.
        learning_rate: the peak of the schedule.
        batch_size: sequences a step; None: what the task says. A DataLoader decides for itself.
        weight_decay: AdamW's decoupled decay.
        seed: of the batches.
        schedule: how the rate goes over the steps.
        evaluate_at: steps to measure the model at; the end is measured too if there are any.
        measures: model -> what to record there, `score` among it; None: what the task measures.
        solved: stop at the first measurement whose score reaches this.
        state_file: keep the run's state here, and continue from it if it is there.
        save_every: steps between two saves of the state.
        progress: draw a progress bar.
        bf16: compute the matrix products in bfloat16 (autocast); the weights, and measurements, stay in 32 bits.
        gradient_accumulation_steps: parts of the batch that go through the model one after another.
        gradient_checkpointing: let each block run again in the backward pass, instead of keeping what it computed.
        torch_compile: let PyTorch compile the model first, which takes a minute.
        head_on_targets: run the model's head only where a target counts; saves time where the vocabulary is large.

    Returns:
        The losses and measurements of the whole run, including what a resumed run had recorded before.

    Raises:
        ValueError: nothing is trainable, a trained weight is in half precision or gets no gradient, a number is out of
            range, an option does not serve this model, the data does not fit the model, or the state belongs to another
            run.
        Diverged: the loss is no longer a number; the rate is too high.
    """
    task = as_task(data)
    task.check(model)
    parameters = list(trained_parameters(model).values())
    batch_size = task.batch_size if batch_size is None else batch_size
    check_positive(steps=steps, batch_size=batch_size, save_every=save_every)
    check_scale(learning_rate=learning_rate)
    if state_file is not None and not task.resumable:
        raise ValueError("state_file: a DataLoader cannot be continued in its middle; give a task or tensors")
    rank, world = this_process()
    keeps = state_file is not None and rank == 0  # of many processes, one writes
    if world > 1 and not task.resumable:
        raise ValueError("a DataLoader cannot be shared by many processes; give a task or tensors")
    backward = Backward(
        model, bf16, gradient_accumulation_steps, gradient_checkpointing, torch_compile, head_on_targets
    )
    places = sorted(set(evaluate_at))
    ends = sorted({end for end in places if end < steps} | {steps})
    device = parameters[0].device
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    generator = torch.Generator().manual_seed(seed)
    history = History()
    run = {
        "task": task.identity, "steps": steps, "learning_rate": learning_rate, "batch_size": batch_size,
        "weight_decay": weight_decay, "seed": seed, "places": places, "solved": str(solved), **what_trains(model),
    }  # fmt: skip
    if state_file is not None and Path(state_file).exists():
        history = load_state(Path(state_file), run, parameters, optimizer, generator)

    def take_step(step: int, end: int) -> float:
        """One optimizer step of a run that is `end` steps long; returns the loss."""
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule.rate(step, end)
        inputs, targets = task.batch(batch_size, generator)  # (B, T), (B, T)
        check_batch(model, inputs, targets)
        optimizer.zero_grad()
        value = backward(inputs.to(device), targets.to(device))
        if step == 0:
            check_gradients(model)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.seconds += time.perf_counter() - start
        if not math.isfinite(value):
            raise Diverged(f"train: the loss is {value} at step {step}; try a lower learning rate", history)
        bar.update()
        return value

    def go_on(last: int, end: int) -> None:
        """Take the run itself on to step `last`, saving its state on the way."""
        for step in range(len(history.losses), last):
            history.losses.append(take_step(step, end))
            if keeps and (step + 1) % save_every == 0:
                save_state(Path(state_file), run, history, parameters, optimizer, generator)

    def look(end: int, losses: list[float]) -> bool:
        """Measure the model after `end` steps; whether the task is solved."""
        found = measure(model, task) if measures is None else measures(model)
        tail = losses[-max(1, end // 10) :]
        history.evaluations.append({"step": end, "loss": sum(tail) / len(tail), **found})
        return found["score"] >= solved

    solved_before = bool(history.evaluations) and history.evaluations[-1]["score"] >= solved
    measured = [evaluation["step"] for evaluation in history.evaluations]  # before an interruption
    todo = [] if solved_before else [end for end in ends if end not in measured]
    branches = sum(end - schedule.decay_from(end) for end in ends[:-1])
    switch = {} if progress and rank == 0 else {"disable": True}  # left out, the environment's TQDM_DISABLE decides
    model.train()
    with tqdm(total=steps + branches, initial=len(history.losses), desc=task.name, **switch) as bar:
        for end in todo:
            go_on(schedule.decay_from(end), steps)
            if end == steps:
                go_on(steps, steps)
                if places:
                    look(end, history.losses)
                break
            here = snapshot(parameters, optimizer, generator)
            branch = [take_step(step, end) for step in range(len(history.losses), end)]
            if look(end, history.losses + branch):  # solved: the run ends here, and the branch is its end
                history.losses += branch
                break
            restore(here, parameters, optimizer, generator)
    if keeps:
        save_state(Path(state_file), run, history, parameters, optimizer, generator)
    model.eval()
    return history


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is not frozen, by name.

    Raises:
        ValueError: there is nothing, or it is in half precision, where AdamW's small numbers are lost.
    """
    found = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not found:
        raise ValueError("train: every weight of the model is frozen; attach a method first")
    for name, parameter in found.items():
        if parameter.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"train: {name!r} trains in {parameter.dtype}, in which AdamW's small steps and moments are lost; "
                "call model.float() first, or attach a method, whose added weights are 32 bits"
            )
    return found


def check_gradients(model: nn.Module) -> None:
    """Make sure that the backward pass has reached everything that trains.

    Raises:
        ValueError: a weight got no gradient; the message names it.
    """
    for name, parameter in trained_parameters(model).items():
        if parameter.grad is None:
            raise ValueError(
                f"train: no gradient reaches {name!r}; freeze it if it plays no part. Gradient checkpointing "
                "drops gradients like this with use_reentrant=True: use use_reentrant=False"
            )


def what_trains(model: nn.Module) -> dict:
    """What a state must share with the run that continues it, the data and the settings of `train` aside."""
    adaptation = getattr(model, "adaptation", None)
    frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {
        "adaptation": None if adaptation is None else asdict(adaptation),
        "frozen": fingerprint(frozen),
        "trained": [[name, list(parameter.shape)] for name, parameter in trained_parameters(model).items()],
    }


# ---- the state of a run, for branching off and for going on after an interruption ------------------------------------


def snapshot(
    parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> tuple[list[Tensor], list[dict[str, Tensor]], Tensor]:
    """Copies of all that the next step depends on: weights, optimizer moments, the state of the random numbers."""
    weights = [parameter.detach().clone() for parameter in parameters]
    moments = [{key: value.clone() for key, value in optimizer.state[p].items()} for p in parameters]
    return weights, moments, generator.get_state()


@torch.no_grad()
def restore(
    saved: tuple[list[Tensor], list[dict[str, Tensor]], Tensor],
    parameters: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> None:
    """Put a snapshot back in place."""
    weights, moments, chance = saved
    for parameter, weight, moment in zip(parameters, weights, moments, strict=True):
        parameter.copy_(weight)
        optimizer.state[parameter] = moment
    generator.set_state(chance)


def save_state(
    file: Path,
    run: dict,
    history: History,
    parameters: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> None:
    """Write a snapshot and the history as a file."""
    weights, moments, chance = snapshot(parameters, optimizer, generator)
    tensors: dict[str, Tensor] = {"generator": chance}
    for i, (weight, moment) in enumerate(zip(weights, moments, strict=True)):
        tensors[f"{i}.weight"] = weight
        tensors |= {f"{i}.{key}": value for key, value in moment.items()}
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
        ValueError: the file is damaged, or was saved by another run; the message says in what they differ.
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
    its_own, wanted = json.loads(metadata["run"]), json.loads(json.dumps(run))
    for key in wanted:
        if its_own.get(key) != wanted[key]:
            raise ValueError(
                f"{file} holds another run: its {key} is {its_own.get(key)!r:.200}, here it is {wanted[key]!r:.200}; {again}"
            )
    weights = [tensors[f"{i}.weight"] for i in range(len(parameters))]
    moments = [
        {key: tensors[f"{i}.{key}"].clone() for key in ("step", "exp_avg", "exp_avg_sq") if f"{i}.{key}" in tensors}
        for i in range(len(parameters))
    ]
    restore((weights, moments, tensors["generator"].cpu()), parameters, optimizer, generator)
    return History(**json.loads(metadata["history"]))
