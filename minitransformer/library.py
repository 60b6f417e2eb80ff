"""A library of adapters over one frozen base: swapped one for another, mixed in a batch, chosen by a router.

A library maps the name of a task to its weights, as `trainable_state_dict` and `read_adapter` give them.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.model import GPT
from minitransformer.surgery import check_plain, check_scale, freeze

Weights = Mapping[str, Tensor]  # one task's added weights by name

ALPHA = 8.0  # LoRA's default, over rank 4

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


def matrices(model: GPT, weights: Weights, alpha: float) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    """The matrices of a plain model that a LoRA changes, each with A, B (in its precision) and scaling.

    Raises:
        ValueError: as `factors`, or the LoRA does not fit the model.
    """
    parameters = dict(model.named_parameters())
    found = []
    for layer, (A, B, scaling) in factors(weights, alpha).items():
        W = parameters.get(f"{layer}.weight")  # (d_out, d_in)
        if W is None or W.shape != (len(B), A.size(1)):
            raise ValueError(f"the LoRA does not fit this model, at {layer!r}; give the plain base that it belongs to")
        found.append((W, A.to(W.dtype), B.to(W.dtype), scaling))
    return found


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
        ValueError: what is given is no LoRA for this model; the model is unchanged then.
    """
    old, new = ([] if weights is None else matrices(model, weights, alpha) for weights in (take_off, put_on))
    for W, A, B, scaling in old:
        W.addmm_(B, A, alpha=-scaling)
    for W, A, B, scaling in new:
        W.addmm_(B, A, alpha=scaling)


@torch.no_grad()
def put_on_originals(model: GPT, originals: Weights, put_on: Weights, alpha: float = ALPHA) -> None:
    """Merge a LoRA into the original weights, whatever was merged before: exact for ever, for a second copy in memory.

    Args:
        model: a plain GPT; it is changed in place.
        originals: the base's `state_dict`, kept aside.
        put_on: the LoRA to merge.
        alpha: of the LoRA.

    Raises:
        ValueError: what is given is no LoRA for this model; the model is unchanged then.
    """
    new = matrices(model, put_on, alpha)
    model.load_state_dict(originals)  # copies
    for W, A, B, scaling in new:
        W.addmm_(B, A, alpha=scaling)


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
    first = next(iter(library.values()))
    matrices(model, first, alpha)  # refuses what does not fit
    freeze(model)
    for layer, (_, _, scaling) in factors(first, alpha).items():
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


class LoRAMixtureLinear(MixedLoRALinear):
    """The same layer, each row a weighted sum of all K paths in the place of a choice.

    y = W x + sum_k g_k s B_k A_k x, as in Mixture of LoRA Experts (Wu et al. 2024, arXiv:2404.13628), with one gate for
    the whole model where the paper has one a layer. Here `choice` is (batch, K): the gates of each row.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, T, d_in) -> (batch, T, d_out)."""
        features = F.linear(x, self.A.flatten(0, 1)).unflatten(-1, self.A.shape[:2])  # (batch, T, K, rank)
        features = self.scaling * self.choice[:, None, :, None] * features  # (batch, T, K, rank)
        B = self.B.transpose(0, 1).flatten(1)  # (d_out, K rank)
        return self.base(x) + F.linear(features.flatten(-2), B)  # (batch, T, d_out)


class LoRAMixture(nn.Module):
    """Frozen LoRA experts over a frozen base; a trained router reads the first tokens and weighs the experts.

    The router sees the first `reads` tokens and no later ones, so it is settled before an answer begins.

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
