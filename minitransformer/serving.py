"""One base, many adapters: swapping them, mixing them in a batch, routing between them, learning one task after another.

The tasks here carry a cue: two tokens in front of the question that say which task is meant. So they do not contradict
each other, and one model could learn them all: whatever is lost on the way is forgotten, not impossible.

`python -m minitransformer.serving --out docs/reference` repeats what lesson 15 shows over three seeds.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.checkpoints import load_base
from minitransformer.compare import to_csv
from minitransformer.files import check_writable, write_text
from minitransformer.methods import METHODS
from minitransformer.model import GPT
from minitransformer.surgery import check_plain, check_scale, detach, freeze, load_weights, trainable_state_dict
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

Weights = Mapping[str, Tensor]  # what `trainable_state_dict` and `read_adapter` give: one task's added weights by name

ALPHA = 8.0  # LoRA's default, over rank 4
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
    "reverse": CuedTask("reverse", reverse, cue=5, steps=250),
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


# ---- one task at a time: hot-swapping -----------------------------------------------------------------------------------


def factors(weights: Weights, alpha: float) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Sort the weights of a LoRA by the matrix that they change.

    Args:
        weights: names such as `blocks.0.attn.q_proj.lora_A`, (rank, d_in), and `...lora_B`, (d_out, rank).
        alpha: the update is scaled by alpha / rank.

    Returns:
        Name of a linear layer -> A, B, scaling.

    Raises:
        ValueError: these are not the weights of a LoRA, or alpha is no number above 0.
    """
    check_scale(alpha=alpha)
    layers = {key.rpartition(".")[0] for key in weights}
    wanted = {f"{layer}.lora_{side}" for layer in layers for side in "AB"}
    if not weights or wanted != set(weights):
        odd = sorted(wanted ^ set(weights))
        raise ValueError(f"these are not the weights of a LoRA (see {odd[0] if odd else 'an empty file'!r})")
    pairs = {layer: (weights[f"{layer}.lora_A"], weights[f"{layer}.lora_B"]) for layer in sorted(layers)}
    return {layer: (A, B, alpha / len(A)) for layer, (A, B) in pairs.items()}


@torch.no_grad()
def swap(model: GPT, take_off: Weights | None, put_on: Weights | None, alpha: float = ALPHA) -> None:
    """Exchange one merged LoRA for another, in place: W <- W - s B_old A_old + s B_new A_new (arXiv:2106.09685, 4.1).

    Every call rounds twice, so the weights are no longer to the bit what they were.

    Args:
        model: a plain GPT, with `take_off` merged into it.
        take_off: the LoRA that is merged now; None: none is.
        put_on: the LoRA to merge; None: none.
        alpha: of both.

    Raises:
        ValueError: what is given are not the weights of a LoRA; the model is unchanged then.
    """
    old, new = (factors(weights, alpha) if weights else {} for weights in (take_off, put_on))
    for layers, sign in ((old, -1), (new, 1)):
        for layer, (A, B, scaling) in layers.items():
            weight = model.get_submodule(layer).weight  # (d_out, d_in)
            weight.addmm_(B.to(weight.dtype), A.to(weight.dtype), alpha=sign * scaling)


@torch.no_grad()
def put_on_originals(model: GPT, originals: Weights, put_on: Weights, alpha: float = ALPHA) -> None:
    """Merge a LoRA into the original weights, whatever was merged before: exact for ever, for a second copy in memory.

    Args:
        model: a plain GPT; it is changed in place.
        originals: the base's `state_dict`, kept aside.
        put_on: the LoRA to merge.
        alpha: of the LoRA.

    Raises:
        ValueError: what is given are not the weights of a LoRA; the model is unchanged then.
    """
    layers = factors(put_on, alpha)
    for name, original in originals.items():
        model.get_parameter(name).copy_(original)
    for layer, (A, B, scaling) in layers.items():
        model.get_submodule(layer).weight.addmm_(B, A, alpha=scaling)


# ---- many tasks in one batch --------------------------------------------------------------------------------------------


def stacked(library: Mapping[str, Weights]) -> dict[str, Tensor]:
    """Stack the same weight of every task: name -> (K, ...), K tasks.

    Raises:
        ValueError: the library is empty, or the tasks' names or shapes differ.
    """
    shapes = {
        task: {name: tuple(tensor.shape) for name, tensor in weights.items()} for task, weights in library.items()
    }
    for task, found in shapes.items():
        if found != next(iter(shapes.values())):
            raise ValueError(
                f"library: {task!r} has other names or shapes than the first; use the same settings for all"
            )
    if not library:
        raise ValueError("library: there is no adapter in it")
    names = next(iter(library.values()))
    return {name: torch.stack([weights[name] for weights in library.values()]) for name in names}


class MixedLoRALinear(nn.Module):
    """A frozen linear layer with K low-rank paths beside it, of which every row of the batch takes its own.

    The idea of Punica (Chen et al. 2023, arXiv:2310.18547) and S-LoRA (Sheng et al. 2023, arXiv:2311.03285), which
    have kernels for it; here the matrices are gathered and multiplied row by row.

    Args:
        base: the frozen layer.
        A: (K, rank, d_in).
        B: (K, d_out, rank).
        scaling: alpha / rank.
    """

    choice: Tensor | None = None  # (batch,): the path of each row; `MixedGPT` sets it before every pass

    def __init__(self, base: nn.Linear, A: Tensor, B: Tensor, scaling: float) -> None:
        super().__init__()
        self.base, self.scaling = base, scaling
        self.register_buffer("A", A)
        self.register_buffer("B", B)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, T, d_in) -> (batch, T, d_out)."""
        A, B = self.A[self.choice], self.B[self.choice]  # (batch, rank, d_in), (batch, d_out, rank)
        features = self.scaling * x @ A.mT  # (batch, T, rank)
        return self.base(x) + features @ B.mT  # (batch, T, d_out)


class MixedScaled(nn.Module):
    """A frozen module with K sets of (IA)^3's knobs, of which every row of the batch takes its own.

    Mixing tasks in a batch is why (IA)^3 scales activations and not weights (Liu et al. 2022, arXiv:2205.05638, section 3.3).

    Args:
        base: the frozen module.
        scale: (K, channels).
    """

    choice: Tensor | None = None  # (batch,): the knobs of each row

    def __init__(self, base: nn.Module, scale: Tensor) -> None:
        super().__init__()
        self.base = base
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, T, d_in) -> (batch, T, channels)."""
        return self.base(x) * self.scale[self.choice][:, None]  # (batch, 1, channels): alike at every position


class MixedGPT(nn.Module):
    """A GPT whose layers give every row its own adapter.

    Args:
        base: a GPT with MixedLoRALinear, MixedScaled or LoRAMixtureLinear in it.
    """

    def __init__(self, base: GPT) -> None:
        super().__init__()
        self.base, self.config = base, base.config
        self.layers = [module for module in base.modules() if hasattr(module, "choice")]

    def forward(self, idx: Tensor, choice: Tensor) -> Tensor:
        """Logits, every row by its own adapter.

        Args:
            idx: tokens, (batch, T).
            choice: (batch,), which adapter of the library each row takes; for a mixture (batch, K), how much of each.

        Returns:
            (batch, T, vocab_size).
        """
        for layer in self.layers:
            layer.choice = choice
        return self.base(idx)


class MixedPromptGPT(nn.Module):
    """A frozen GPT with K soft prompts, of which every row of the batch reads its own (arXiv:2104.08691, section 1).

    Args:
        base: the frozen model.
        prompts: (K, p, d).
    """

    def __init__(self, base: GPT, prompts: Tensor) -> None:
        super().__init__()
        self.base = base
        self.register_buffer("prompts", prompts)

    def forward(self, idx: Tensor, choice: Tensor) -> Tensor:
        """(batch, T) tokens and (batch,) choices -> (batch, T, vocab_size)."""
        p = self.prompts.size(1)
        virtual = self.prompts[choice] + self.base.wpe.weight[:p]  # (batch, p, d)
        x = torch.cat([virtual, self.base.embed(idx, start=p)], dim=1)  # (batch, p + T, d)
        return self.base.unembed(self.base.transform(x)[:, p:])  # (batch, T, vocab_size)


def mix_loras(model: GPT, library: Mapping[str, Weights], alpha: float = ALPHA) -> MixedGPT:
    """Put a whole library of LoRAs into a plain GPT, in place; choice k of a row is the k-th of the library.

    Raises:
        ValueError: a method is attached already, or the library is no set of LoRAs of one rank; the model is unchanged then.
    """
    return MixedGPT(with_paths(model, library, alpha, MixedLoRALinear))


def with_paths(model: GPT, library: Mapping[str, Weights], alpha: float, kind: type[nn.Module]) -> GPT:
    """Freeze the model and put a layer of that kind in the place of every linear layer that the library changes."""
    check_plain(model)
    stack = stacked(library)
    layers = factors(next(iter(library.values())), alpha)
    freeze(model)
    for layer, (_, _, scaling) in layers.items():
        A, B = stack[f"{layer}.lora_A"], stack[f"{layer}.lora_B"]  # (K, rank, d_in), (K, d_out, rank)
        model.set_submodule(layer, kind(model.get_submodule(layer), A, B, scaling))
    return model


def mix_ia3(model: GPT, library: Mapping[str, Weights]) -> MixedGPT:
    """Put a whole library of (IA)^3 vectors into a plain GPT, in place; choice k of a row is the k-th of the library.

    Raises:
        ValueError: a method is attached already, or the library is no set of (IA)^3 vectors; the model is unchanged then.
    """
    check_plain(model)
    stack = stacked(library)
    if not all(name.endswith(".scale") for name in stack):
        raise ValueError("library: these are not the vectors of (IA)^3, whose names end in .scale")
    freeze(model)
    for name, scale in stack.items():
        layer = name.rpartition(".")[0]
        model.set_submodule(layer, MixedScaled(model.get_submodule(layer), scale))
    return MixedGPT(model)


# ---- a mixture of experts -----------------------------------------------------------------------------------------------


class LoRAMixtureLinear(nn.Module):
    """A frozen linear layer with K frozen low-rank paths beside it, each row a weighted sum of all of them.

    y = W x + sum_k g_k s B_k A_k x, as in Mixture of LoRA Experts (Wu et al. 2024, arXiv:2404.13628), with one gate for
    the whole model where the paper has one a layer.

    Args:
        base: the frozen layer.
        A: (K, rank, d_in).
        B: (K, d_out, rank).
        scaling: alpha / rank.
    """

    choice: Tensor | None = None  # (batch, K): the gates of each row

    def __init__(self, base: nn.Linear, A: Tensor, B: Tensor, scaling: float) -> None:
        super().__init__()
        self.base, self.scaling = base, scaling
        self.register_buffer("A", A)
        self.register_buffer("B", B)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, T, d_in) -> (batch, T, d_out)."""
        features = F.linear(x, self.A.flatten(0, 1)).unflatten(-1, self.A.shape[:2])  # (batch, T, K, rank)
        features = self.scaling * self.choice[:, None, :, None] * features  # (batch, T, K, rank)
        B = self.B.transpose(0, 1).flatten(1)  # (d_out, K rank)
        return self.base(x) + F.linear(features.flatten(-2), B)  # (batch, T, d_out)


class LoRAMixture(nn.Module):
    """Frozen LoRA experts over a frozen base; a trained router reads the first tokens and weighs the experts.

    The router sees the first tokens only, so no later token can change what an earlier one saw.

    Args:
        model: a plain GPT; it is changed in place.
        library: the experts, LoRAs of one rank.
        alpha: of all experts.
        reads: how many of the first tokens the router averages over.

    Raises:
        ValueError: as `mix_loras`; reads is no whole number from 1 to block_size; the model is unchanged then.
    """

    def __init__(self, model: GPT, library: Mapping[str, Weights], alpha: float = ALPHA, reads: int = 1) -> None:
        super().__init__()
        if type(reads) is not int or not 1 <= reads <= model.config.block_size:
            raise ValueError(f"reads must be a whole number from 1 to {model.config.block_size}, not {reads!r}")
        self.mixed = MixedGPT(with_paths(model, library, alpha, LoRAMixtureLinear))
        self.config, self.reads = model.config, reads
        table = model.wte.weight
        self.router = nn.Linear(model.config.n_embd, len(library), device=table.device, dtype=table.dtype)
        nn.init.zeros_(self.router.weight)  # all experts alike at the start
        nn.init.zeros_(self.router.bias)

    def gates(self, idx: Tensor) -> Tensor:
        """How much of each expert every row gets: (batch, T) -> (batch, K), rows that sum to one."""
        x = self.mixed.base.embed(idx[:, : self.reads]).mean(dim=1)  # (batch, d)
        return self.router(x).softmax(dim=-1)  # (batch, K)

    def forward(self, idx: Tensor) -> Tensor:
        """(batch, T) -> (batch, T, vocab_size)."""
        return self.mixed(idx, self.gates(idx))


# ---- the experiments of lesson 15 ---------------------------------------------------------------------------------------


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
) -> dict[str, Weights]:
    """Train an adapter for each task, every one on the same frozen base: task -> its weights."""
    library = {}
    for name, task in tasks.items():
        torch.manual_seed(seed)
        adapted = METHODS[method].attach(load_base(task.base))
        train(adapted, task, task.steps, METHODS[method].learning_rate, seed=seed, progress=progress)
        library[name] = trainable_state_dict(adapted)
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


def by_library(seed: int, library: Mapping[str, Weights]) -> list[dict]:
    """A LoRA a task, and the right one attached for every question; rows as `in_sequence` gives them.

    A task without a LoRA yet is answered by the base. The way "library" scores the old skills with nothing attached,
    "library, attached" with the newest LoRA.
    """
    model = load_base("tiny")
    rows = rows_of(seed, 0, "library", scores(model))
    for stage, newest in enumerate(library, start=1):
        found = {}
        for name in [*list(library)[:stage], newest]:  # the newest once more, to stay attached
            model = METHODS["lora"].attach(detach(model))
            load_weights(model, library[name])
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


def continual(seed: int, library: Mapping[str, Weights]) -> list[dict]:
    """All ways to learn the three tasks, with one seed.

    Args:
        seed: of added weights and batches.
        library: what `train_library(seed)` gave.

    Returns:
        Rows of seed, stage (tasks learned so far), task, way, and score (accuracy).
    """
    rows = [*in_sequence("full", seed), *in_sequence("lora", seed), *by_library(seed, library)]
    return [*rows, *all_at_once(seed), *from_random_weights(seed)]


def train_router(seed: int, library: Mapping[str, Weights], reads: int = 1, progress: bool = False) -> LoRAMixture:
    """A mixture of the library's LoRAs whose router is trained on batches of all tasks, told only the right answers."""
    mixture = LoRAMixture(load_base("tiny"), library, reads=reads)
    task = MixedTask(list(SEQUENCE.values()))
    train(mixture, task, ROUTER_STEPS, ROUTER_RATE, seed=seed, progress=progress)
    return mixture


@torch.no_grad()
def mean_gates(mixture: LoRAMixture) -> Tensor:
    """Mean gates on the held-out questions of each task of the sequence: (tasks, K), rows that sum to one."""
    device = next(mixture.parameters()).device
    return torch.stack([mixture.gates(held_out(task)[0].to(device)).mean(dim=0).cpu() for task in SEQUENCE.values()])


def routing(seed: int, library: Mapping[str, Weights]) -> list[dict]:
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
    prompts = stacked(train_library(seed, PROMPTED, "prompt"))["prompt"]  # (K, p, d)
    found = mixed_accuracies(MixedPromptGPT(load_base("tiny"), prompts), list(PROMPTED.values()))
    return rows + [row("prompts, one batch", name, score) for name, score in zip(PROMPTED, found, strict=True)]


def main(arguments: list[str] | None = None) -> None:
    """Train and score everything over several seeds; write continual.csv and routing.csv."""
    parser = argparse.ArgumentParser(prog="python -m minitransformer.serving", description=main.__doc__)
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
