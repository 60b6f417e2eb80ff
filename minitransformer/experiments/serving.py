"""The experiments of lessons 15 and 16: three tasks learned in turn, a library of LoRAs and prompts, a router that chooses.

The tasks of the sequence carry a cue: two tokens in front of the question that say which task is meant. So they do not
contradict each other, and one model could learn them all: whatever is lost on the way is forgotten, not impossible.

`python -m minitransformer.experiments.serving --out minitransformer/recorded` repeats what the lessons show over three seeds.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from minitransformer.checkpoints import load_base
from minitransformer.experiments.compare import to_csv
from minitransformer.files import check_writable, write_text
from minitransformer.method import Trained, trained
from minitransformer.methods import METHODS
from minitransformer.methods.library import mix_loras, mix_prompts
from minitransformer.methods.mixture import LoRAMixture
from minitransformer.model import GPT
from minitransformer.surgery import detach
from minitransformer.tasks import (
    LENGTH,
    SEMICOLON,
    SKILLS,
    Function,
    SkillStreams,
    StringTask,
    Task,
    ascending_add_one,
    descending,
    questions,
    reverse,
    solved,
)
from minitransformer.train import evaluate, setup, train

PROMPT_STEPS = 40
ROUTER_STEPS, ROUTER_RATE = 150, 1e-1
READ_ALL = 2 + LENGTH + 1  # tokens before an answer: the cue, the question, the `=`

# ---- tasks that say which they are --------------------------------------------------------------------------------------


class CuedTask(StringTask):
    """A task whose name stands in front of every question: `3 ; 4 1 7 0 2 2 =`.

    To the base that looks like the tail of an example before, which says next to nothing.

    Args:
        name: what the task is called.
        function: questions (n, LENGTH) -> answers (n, LENGTH).
        cue: the symbol that stands for the task.
        steps: training steps.
    """

    def __init__(self, name: str, function: Function, cue: int, steps: int) -> None:
        super().__init__(name, function, steps)
        self.cue = cue

    def prompted(self, question: Tensor, generator: torch.Generator) -> Tensor:
        """Set the cue in front of each question: (n, LENGTH) -> (n, 2 + LENGTH)."""
        cue = torch.tensor([self.cue, SEMICOLON]).expand(len(question), 2)  # (n, 2)
        return torch.cat([cue, super().prompted(question, generator)], dim=1)


SEQUENCE: dict[str, CuedTask] = {
    "descending": CuedTask("descending", descending, cue=3, steps=100),
    "compose": CuedTask("compose", ascending_add_one, cue=4, steps=250),
    "reverse": CuedTask("reverse", reverse, cue=5, steps=300),
}


# Four tasks that a prompt can call up in the base: its own skills, without a cue.
PROMPTED = {name: StringTask(name, function, steps=PROMPT_STEPS) for name, function in SKILLS.items()}


class MixedTask(Task):
    """Several tasks in every batch, as many rows of each as fit."""

    name = "mixed"

    def __init__(self, tasks: Sequence[StringTask]) -> None:
        self.tasks = tasks
        self.steps = sum(task.steps for task in tasks)

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows of each task in turn: two tensors (B, T)."""
        parts = [len(range(i, batch_size, len(self.tasks))) for i in range(len(self.tasks))]  # rows of each task
        pairs = [task.batch(part, generator) for task, part in zip(self.tasks, parts, strict=True)]
        inputs, targets = zip(*pairs, strict=True)
        return torch.cat(inputs), torch.cat(targets)

    def score(self, model: nn.Module) -> float:
        """Mean score over the tasks."""
        return sum(task.score(model) for task in self.tasks) / len(self.tasks)


# ---- held-out questions, and a library to serve -------------------------------------------------------------------------


def held_out(task: StringTask, n: int = 256) -> tuple[Tensor, Tensor]:
    """Held-out questions with their right answers: tokens to be read (n, T), and the answers (n, LENGTH)."""
    generator = torch.Generator().manual_seed(0)
    question = questions(n, True, generator)
    answer = task.function(question)  # (n, LENGTH)
    tokens = torch.cat([task.prompted(question, generator), solved(question, answer)[:, LENGTH:-2]], dim=1)
    return tokens, answer


@torch.no_grad()
def mixed_accuracies(model: nn.Module, tasks: Sequence[StringTask]) -> list[float]:
    """Accuracy on every task, the rows of all tasks shuffled in one batch; the k-th task's rows take adapter k.

    Exact match as in `StringTask.score`. The rows of all tasks must be of one length.
    """
    tokens, answers = (torch.cat(parts) for parts in zip(*(held_out(task) for task in tasks), strict=True))
    choice = torch.arange(len(tasks)).repeat_interleave(len(tokens) // len(tasks))  # (batch,)
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(1))
    device = next(model.parameters()).device
    logits = model(tokens[order].to(device), choice[order].to(device))  # (batch, T, vocab_size)
    right = (logits[:, -LENGTH:].argmax(dim=-1).cpu() == answers[order]).all(dim=1)  # (batch,)
    return [right[choice[order] == k].float().mean().item() for k in range(len(tasks))]


def train_library(
    seed: int, tasks: Mapping[str, StringTask] = SEQUENCE, method: str = "lora", progress: bool = False
) -> dict[str, Trained]:
    """Train an adapter for each task, every one on the same frozen base: task -> what was trained."""
    library = {}
    for name, task in tasks.items():
        torch.manual_seed(seed)
        adapted = METHODS[method].attach(load_base(task.base))
        train(adapted, task, task.steps, METHODS[method].learning_rate, seed=seed, progress=progress)
        library[name] = trained(adapted)
    return library


def scores(model: nn.Module) -> dict[str, float]:
    """Accuracy on every task of the sequence, and on the skills that the base has from pretraining ("old skills")."""
    return {name: evaluate(model, task) for name, task in {**SEQUENCE, "old skills": SkillStreams()}.items()}


def rows_of(seed: int, stage: int, way: str, found: Mapping[str, float]) -> list[dict]:
    """Rows of continual.csv."""
    return [{"seed": seed, "stage": stage, "task": task, "way": way, "score": score} for task, score in found.items()]


def in_sequence(method: str, seed: int, progress: bool = False) -> list[dict]:
    """One model, trained on one task after another; a row a stage and task, stage 0 before any training.

    Args:
        method: `full` moves all weights on and on; `lora` one LoRA.
        seed: of added weights and batches.
        progress: draw progress bars.
    """
    torch.manual_seed(seed)
    model = METHODS[method].attach(load_base("tiny"))
    rows = rows_of(seed, 0, method, scores(model))
    for stage, task in enumerate(SEQUENCE.values(), start=1):
        train(model, task, task.steps, METHODS[method].learning_rate, seed=seed, progress=progress)
        rows += rows_of(seed, stage, method, scores(model))
    return rows


def by_library(seed: int, library: Mapping[str, Trained]) -> list[dict]:
    """A LoRA a task, and the right one attached for every question; rows as `in_sequence` gives them.

    A task without a LoRA yet is answered by the base. The way "library" scores the old skills with nothing attached,
    "library, attached" with the newest LoRA.
    """
    model = load_base("tiny")
    rows = rows_of(seed, 0, "library", scores(model))
    for stage, newest in enumerate(library, start=1):
        found = {}
        for name in [*list(library)[:stage], newest]:  # the newest once more, to stay attached
            model = METHODS["lora"].restore(detach(model), library[name])
            found[name] = evaluate(model, SEQUENCE[name])
        attached = evaluate(model, SkillStreams())
        model = detach(model)
        rows += rows_of(seed, stage, "library", scores(model) | found)
        rows += rows_of(seed, stage, "library, attached", {"old skills": attached})
    return rows


def all_at_once(seed: int) -> list[dict]:
    """Full fine-tuning on all tasks in every batch, with the steps of all: what one model could learn."""
    model = METHODS["full"].attach(load_base("tiny"))
    task = MixedTask(list(SEQUENCE.values()))
    train(model, task, task.steps, METHODS["full"].learning_rate, seed=seed, progress=False)
    return rows_of(seed, len(SEQUENCE), "all at once", scores(model))


def from_random_weights(seed: int) -> list[dict]:
    """The same steps from random weights: a LoRA a task, and all weights a task. What pretraining is worth."""
    rows = []
    for method in ("lora", "full"):
        for stage, (name, task) in enumerate(SEQUENCE.items(), start=1):
            torch.manual_seed(seed)
            model = METHODS[method].attach(GPT(load_base("tiny").config))
            train(model, task, task.steps, METHODS[method].learning_rate, seed=seed, progress=False)
            rows += rows_of(seed, stage, f"{method}, random base", {name: evaluate(model, task)})
    return rows


def continual(seed: int, library: Mapping[str, Trained]) -> list[dict]:
    """All ways to learn the three tasks, with one seed.

    Args:
        seed: of added weights and batches.
        library: what `train_library(seed)` gave.

    Returns:
        Rows of seed, stage (tasks learned so far), task, way, and score (accuracy).
    """
    rows = [*in_sequence("full", seed), *in_sequence("lora", seed), *by_library(seed, library)]
    return [*rows, *all_at_once(seed), *from_random_weights(seed)]


def train_router(
    seed: int,
    library: Mapping[str, Trained],
    reads: int = 1,
    tasks: Sequence[str] = tuple(SEQUENCE),
    progress: bool = False,
) -> LoRAMixture:
    """A mixture of the library's LoRAs whose router is trained, told nothing but the right answers.

    Args:
        seed: of the batches.
        library: the experts.
        reads: how many of the first tokens the router averages over.
        tasks: names of the tasks in every batch.
        progress: draw a progress bar.
    """
    mixture = LoRAMixture(load_base("tiny"), library, reads=reads)
    task = MixedTask([SEQUENCE[name] for name in tasks])
    train(mixture, task, ROUTER_STEPS, ROUTER_RATE, seed=seed, progress=progress)
    return mixture


@torch.no_grad()
def mean_gates(mixture: LoRAMixture) -> Tensor:
    """Mean gates on the held-out questions of each task of the sequence: (tasks, K), rows that sum to one."""
    device = next(mixture.parameters()).device
    return torch.stack([mixture.gates(held_out(task)[0].to(device)).mean(dim=0).cpu() for task in SEQUENCE.values()])


def routing(seed: int, library: Mapping[str, Trained]) -> list[dict]:
    """Ways to choose from the library, and four prompts in one batch, with one seed.

    Args:
        seed: of added weights and batches.
        library: what `train_library(seed)` gave.

    Returns:
        Rows of seed, way, task, score (accuracy), and gate: the mean weight of the task's own expert.
    """

    def row(way: str, task: str, score: float, gate: float = 1.0) -> dict:
        return {"seed": seed, "way": way, "task": task, "score": score, "gate": gate}

    experts = mix_loras(load_base("tiny"), library)
    found = mixed_accuracies(experts, list(SEQUENCE.values()))
    rows = [row("oracle", name, score) for name, score in zip(SEQUENCE, found, strict=True)]
    mixtures = {
        "uniform": LoRAMixture(load_base("tiny"), library),  # an untrained router
        "router, cue": train_router(seed, library),
        "router, mean": train_router(seed, library, reads=READ_ALL),
    }
    for way, mixture in mixtures.items():
        own = mean_gates(mixture).diagonal().tolist()
        rows += [
            row(way, name, evaluate(mixture, SEQUENCE[name]), gate) for name, gate in zip(SEQUENCE, own, strict=True)
        ]
    prompts = train_library(seed, PROMPTED, "prompt")
    found = mixed_accuracies(mix_prompts(load_base("tiny"), prompts), list(PROMPTED.values()))
    return rows + [row("prompts, one batch", name, score) for name, score in zip(PROMPTED, found, strict=True)]


def main(arguments: list[str] | None = None) -> None:
    """Train and score everything over several seeds; write continual.csv and routing.csv."""
    parser = argparse.ArgumentParser(prog="python -m minitransformer.experiments.serving", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default 3)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")
    options = parser.parse_args(arguments)
    check_writable(options.out)
    setup(0, "cpu")
    learned, routed = [], []
    for seed in range(options.seeds):
        library = train_library(seed)
        learned += continual(seed, library)
        routed += routing(seed, library)
        print(f"{seed + 1} of {options.seeds} seeds are done")
    write_text(options.out / "continual.csv", to_csv(learned))
    write_text(options.out / "routing.csv", to_csv(routed))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
