"""What the lessons share around their methods: training on a rung, the recorded results of the lessons before."""

import csv
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from minitransformer.checkpoints import load_base
from minitransformer.experiments.records import RECORDED
from minitransformer.experiments.scale import SEVEN_BILLION  # noqa: F401 (lessons ask here)
from minitransformer.method import Method
from minitransformer.tasks import Task
from minitransformer.train import History, log_spaced, train

if TYPE_CHECKING:
    from IPython.display import Code


def fine_tune(
    method: Method,
    task: Task,
    device: torch.device | str = "cpu",
    steps: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    **settings: object,
) -> tuple[nn.Module, History]:
    """Attach a method to the task's base and train it as the comparison does, measuring it on the way.

    Args:
        method: what to attach.
        task: a rung, or the real-text task.
        device: where to train.
        steps: training steps; None: the task's own budget.
        learning_rate: the peak rate; None: the method's default.
        seed: of the added weights and the batches.
        settings: of the method; the defaults where left out.

    Returns:
        The adapted model and what training recorded.
    """
    torch.manual_seed(seed)
    steps = task.steps if steps is None else steps
    adapted = method.attach(load_base(task.base, device), **settings)
    rate = method.learning_rate if learning_rate is None else learning_rate
    return adapted, train(adapted, task, steps, rate, seed=seed, evaluate_at=log_spaced(steps))


def recorded_sweep(name: str, every_rate: bool = False) -> list[dict]:
    """Rows of a recorded sweep (`python -m minitransformer sweep NAME`, three seeds), numbers as numbers.

    Args:
        name: of the sweep.
        every_rate: all rates that were tried; otherwise, of each point, the one with the best mean score.
    """
    rows = read_rows(RECORDED / f"{name}.csv")
    if every_rate:
        return rows
    best: dict[tuple, dict] = {}
    for row in rows:
        point = row["method"], row["settings"], row["task"], row["base"]
        if point not in best or row["score"] > best[point]["score"]:
            best[point] = row
    return list(best.values())


def read_rows(file: Path) -> list[dict]:
    """Read a CSV file, numbers as numbers."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        for key in row.keys() - {"task", "method", "settings", "base", "mergeable", "metric", "way"}:
            row[key] = int(row[key]) if key in ("trained", "seeds", "seed", "stage") else float(row[key])
    return rows


def reveal(guess: float | None, truth: float, close: float = 0.0) -> None:
    """Hold a reader's guess against what came out.

    Args:
        guess: None where the reader made none.
        truth: what came out.
        close: how far off still counts as right.
    """
    if guess is None:
        print(f"No guess? It is {truth:g}.")
    elif abs(guess - truth) <= close:
        print(f"Just so: {truth:g}.")
    else:
        print(f"You said {guess:g}; it is {truth:g}.")


def source(thing: object) -> "Code":
    """The source code of a function or class, for showing in a cell."""
    from IPython.display import Code  # only notebooks have it, and only they need it

    return Code(inspect.getsource(thing), language="python")
