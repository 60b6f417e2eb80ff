"""Freezing, swapping modules, counting, and keeping the added weights: what every method does to a model."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from minitransformer.files import write_safetensors
from minitransformer.model import GPT, GPTConfig

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")  # of each block


def freeze(model: nn.Module) -> None:
    """Stop training every weight that the model has now; what is added later trains."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def count_parameters(model: nn.Module, trainable_only: bool = False) -> int:
    """Count the numbers in the model's parameters, each shared tensor once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """A checksum of weights: their names, precisions, shapes and every bit; on the meta device the bits are left out."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)};".encode())
        if weight.device.type != "meta":
            digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def added_modules(model: nn.Module) -> list[str]:
    """Names of the modules that no plain GPT has: what a method has attached ("" is the model itself)."""
    with torch.random.fork_rng(devices=[]):  # what trains next must not depend on this
        plain = {type(module) for module in GPT(GPTConfig(1, 1, 1, 1, 1)).modules()}
    return [name for name, module in model.named_modules() if type(module) not in plain]


def check_plain(model: nn.Module) -> None:
    """Make sure that no method is attached yet.

    Raises:
        ValueError: the model holds a module that a plain GPT does not have.
    """
    added = added_modules(model)
    if added:
        kind = type(model.get_submodule(added[0])).__name__
        raise ValueError(
            f"the model has a {kind} attached already (at {added[0] or 'the top'!r}); "
            "merge it, detach it, or load the base again"
        )


def check_positive(**settings: int) -> None:
    """Make sure that settings are whole numbers above zero.

    Raises:
        ValueError: one is not; the message names it.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")


def check_scale(**settings: float) -> None:
    """Make sure that settings are finite numbers above zero.

    Raises:
        ValueError: one is not; the message names it.
    """
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"{name} must be a number above 0, not {value!r}")


def check_tokens(model: nn.Module, idx: Tensor, name: str = "tokens") -> None:
    """Make sure that a model can read these tokens.

    Raises:
        ValueError: they are no whole numbers, or lie outside the model's vocabulary; `name` says whose they are.
    """
    if not isinstance(idx, Tensor) or idx.is_floating_point() or idx.is_complex() or idx.dtype == torch.bool:
        kind = idx.dtype if isinstance(idx, Tensor) else type(idx).__name__
        raise ValueError(f"{name} must be a tensor of whole numbers, not {kind}")
    size = getattr(getattr(model, "config", None), "vocab_size", None)
    if size is not None and idx.numel() and not 0 <= int(idx.min()) <= int(idx.max()) < size:
        raise ValueError(
            f"{name} must be from 0 to {size - 1}, the vocabulary; found {int(idx.min())} to {int(idx.max())}"
        )


def check_targets(target_modules: Sequence[str]) -> None:
    """Make sure that every name is one of the six matrices of a block.

    Raises:
        ValueError: the list is empty or a string, or holds another name.
    """
    if isinstance(target_modules, str) or not isinstance(target_modules, Sequence) or not target_modules:
        raise ValueError(f'target_modules must be a list of names such as ("q_proj", "v_proj"), not {target_modules!r}')
    for name in target_modules:
        if name not in MATRICES:
            raise ValueError(
                f"target_modules: {name!r} matches nothing; the matrices of a block are {', '.join(MATRICES)}"
            )


def check_room(config: GPTConfig, num_virtual_tokens: int) -> None:
    """Make sure that virtual tokens leave room for real ones in the block.

    Raises:
        ValueError: num_virtual_tokens is no whole number above zero, or fills the block.
    """
    check_positive(num_virtual_tokens=num_virtual_tokens)
    if num_virtual_tokens >= config.block_size:
        raise ValueError(
            f"num_virtual_tokens={num_virtual_tokens} leaves no room for real tokens in a block of "
            f"{config.block_size}; give at most {config.block_size - 1}"
        )


def matrix_shape(config: GPTConfig, name: str) -> tuple[int, int]:
    """(in_features, out_features) of one of a block's six matrices."""
    d, f = config.n_embd, config.n_inner
    return {"up_proj": (d, f), "down_proj": (f, d)}.get(name, (d, d))


def target_names(model: nn.Module, target_modules: Sequence[str]) -> list[str]:
    """Full names of the modules that are meant: those whose last part is one of `target_modules`.

    `"q_proj"` stands for `blocks.0.attn.q_proj`, `blocks.1.attn.q_proj` and so on, and never for `other_q_proj`.

    Raises:
        ValueError: a name matches nothing.
    """
    names = [name for name, _ in model.named_modules() if name]
    lasts = {name.split(".")[-1] for name in names}
    for target in target_modules:
        if target not in lasts:
            raise ValueError(f"no module of the model is called {target!r}; there are: {', '.join(sorted(lasts))}")
    return [name for name in names if name.split(".")[-1] in target_modules]


def replace_modules(
    model: nn.Module, target_modules: Sequence[str], make: Callable[[nn.Module], nn.Module]
) -> list[str]:
    """Put `make(module)` in the place of every module meant by `target_modules`; return the names.

    Raises:
        ValueError: as `target_names` does, before anything is replaced.
    """
    names = target_names(model, target_modules)
    for name in names:
        model.set_submodule(name, make(model.get_submodule(name)))
    return names


def linear_layer(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A plain linear layer with copies of a weight (d_out, d_in) and a bias (d_out), where they are."""
    d_out, d_in = weight.shape
    linear = nn.Linear(d_in, d_out, device="meta")  # shapes without memory
    linear.weight = nn.Parameter(weight.detach().clone())
    linear.bias = nn.Parameter(bias.detach().clone())
    return linear


def detach(adapted: nn.Module) -> GPT:
    """Take a method off again, leaving the base as it was, to the bit.

    A module that a method adds keeps the module that it replaced under the name `base`; putting those back is all.
    It stays frozen. A fully fine-tuned model comes back as it is: nothing was added that could be taken off.
    """
    while hasattr(adapted, "base"):
        adapted = adapted.base
    for name, module in list(adapted.named_children()):
        setattr(adapted, name, detach(module))
    return adapted


# ---- the added weights as a file --------------------------------------------------------------------------------------


def trainable_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The weights that train, by name: all that has to be stored for one task."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def save_adapter(adapted: nn.Module, file: str | Path, method: str, **settings: object) -> None:
    """Write the weights that train, with the method and settings to attach them again, as one safetensors file.

    Settings that are left out are the method's defaults on the day of loading, so give all that matter.

    Raises:
        OSError: the file cannot be written.
    """
    write_safetensors(trainable_state_dict(adapted), Path(file), {"method": method, "settings": json.dumps(settings)})


def read_adapter(file: str | Path) -> tuple[str, dict, dict[str, Tensor]]:
    """Read what `save_adapter` wrote: the method's name, its settings, the weights.

    Raises:
        ValueError: the file is missing, damaged, or not written by `save_adapter`.
    """
    try:
        with safe_open(file, framework="pt") as saved:
            metadata = saved.metadata() or {}
            weights = {key: saved.get_tensor(key) for key in saved.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} cannot be read as an adapter file ({error}); save it again") from None
    try:
        return metadata["method"], json.loads(metadata["settings"]), weights
    except (KeyError, ValueError):
        raise ValueError(
            f"{file} names no method or settings; only files that save_adapter wrote can be read"
        ) from None


def load_weights(adapted: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy trained weights into a model with the same method attached, all or none.

    Raises:
        ValueError: names or shapes differ, so the weights belong to another method, setting or base.
    """
    own = trainable_state_dict(adapted)
    wrong = sorted(own.keys() ^ weights.keys())
    wrong += [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    if wrong:
        raise ValueError(f"the weights do not fit this model, at {wrong[0]!r} among others; attach the same settings")
    for key, tensor in own.items():
        tensor.copy_(weights[key])
