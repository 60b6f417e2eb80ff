"""Freezing, swapping modules, counting, and keeping the added weights: what every method does to a model."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from minitransformer.model import GPTConfig

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


class Attached(nn.Module):
    """A module that a method puts in the place of another, which it keeps as `base`."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base


def inside(module: nn.Module) -> nn.Module:
    """The module that others stand for: without the wrappers of methods and of `torch.compile`."""
    while isinstance(module, Attached) or hasattr(module, "_orig_mod"):
        module = module.base if isinstance(module, Attached) else module._orig_mod
    return module


def added_modules(model: nn.Module) -> list[str]:
    """Names of the modules that a method has attached ("" is the model itself)."""
    return [name for name, module in model.named_modules() if isinstance(module, Attached)]


def base_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of the base inside an adapted model, by their names in the base, each shared tensor once."""
    found: dict[str, Tensor] = {}

    def walk(module: nn.Module, prefix: str) -> None:
        module = inside(module)
        own = [*module.named_parameters(prefix, recurse=False), *module.named_buffers(prefix, recurse=False)]
        for name, tensor in own:
            if not any(tensor is other for other in found.values()):
                found[name] = tensor
        for name, child in module.named_children():
            walk(child, f"{prefix}.{name}" if prefix else name)

    walk(model, "")
    return found


def check_plain(model: nn.Module) -> None:
    """Make sure that no method is attached yet.

    Raises:
        ValueError: a method is attached, or the model is compiled.
    """
    added = added_modules(model)
    if added:
        kind = type(model.get_submodule(added[0])).__name__
        raise ValueError(
            f"the model has a {kind} attached already (at {added[0] or 'the top'!r}); "
            "merge it, detach it, or load the base again"
        )
    if any(hasattr(module, "_orig_mod") for module in model.modules()):
        raise ValueError("the model is compiled; attach to the plain model first, then compile the result")


def check_gpt(model: nn.Module, method: str) -> None:
    """Make sure that a model has what a method of the whole model needs: a GPT's config and three steps.

    Raises:
        ValueError: it has not; the message names the method.
    """
    if not all(hasattr(model, part) for part in ("config", "blocks", "embed", "transform", "unembed")):
        raise ValueError(
            f"{method} serves the course's GPT alone, and this is a {type(model).__name__}; "
            "lora, dora, ia3 and adapter serve any module with linear layers"
        )


def check_unpacked(model: nn.Module, method: str) -> None:
    """Make sure that every matrix of a model is a weight that can train, and not bytes that it is unpacked from.

    Raises:
        ValueError: one is packed; the message names it and the method.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not any(part != "bias" for part, _ in module.named_parameters()):
            raise ValueError(
                f"{method} trains the weights themselves, and those of {name!r} are packed ({type(module).__name__}); "
                "unpack the model first, or attach a method that trains beside it, as lora does"
            )


def check_own_forward(model: nn.Module) -> None:
    """Make sure that no module of a GPT runs in a wrapping of gradient checkpointing or the like.

    That would run a module a second time in the backward pass, when the weights that stood in for its own are gone, and
    give gradients of another model.

    Raises:
        ValueError: one does; the message names it.
    """
    for name, module in model.named_modules():
        known = type(module).__module__.startswith(("torch.nn.", "minitransformer."))
        if not known or "forward" in vars(module):
            raise ValueError(
                f"the module at {name!r} is wrapped, by gradient checkpointing perhaps, which runs it again without the "
                "weights that stand in for its own here; take the wrapping off"
            )


def beside(weight: Tensor) -> dict:
    """Device and precision of what is added beside a weight: its own, but never fewer than 32 bits.

    AdamW's small steps and moments are lost in 16 bits.
    """
    return {"device": weight.device, "dtype": torch.promote_types(weight.dtype, torch.float32)}


def check_finite(weights: Mapping[str, Tensor], whose: str) -> None:
    """Make sure that weights are numbers.

    Raises:
        ValueError: one is NaN or infinite; `whose` says where they are from.
    """
    for name, weight in weights.items():
        if not weight.is_meta and not weight.isfinite().all():
            raise ValueError(f"{whose}: {name!r} holds numbers that are not finite; go back to a state before that")


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


def names_of(model: nn.Module, fits: Callable[[nn.Module], bool]) -> tuple[str, ...]:
    """Last parts of the names of a model's modules, those whose modules all fit: what `target_modules` may name."""
    parts = [(name.split(".")[-1], fits(module)) for name, module in model.named_modules() if name]
    return tuple(dict.fromkeys(part for part, _ in parts if all(fit for other, fit in parts if other == part)))


def linear_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the linear layers that a method can stand in for; of a GPT, the matrices of its blocks.

    Subclasses of nn.Linear are left out: PyTorch's own read the weight past the layer's forward.
    """
    config = getattr(model, "config", None)
    if isinstance(config, GPTConfig):
        return tuple(config.matrices)
    return names_of(model, lambda module: type(module) is nn.Linear)


def check_targets(target_modules: Sequence[str], names: Sequence[str] = MATRICES, kind: str = "linear layer") -> None:
    """Make sure that every target is one of the names that there are.

    Raises:
        ValueError: the list is empty or a string, or holds another name.
    """
    if isinstance(target_modules, str) or not isinstance(target_modules, Sequence) or not target_modules:
        raise ValueError(f'target_modules must be a list of names such as ("q_proj", "v_proj"), not {target_modules!r}')
    for name in target_modules:
        if name not in names:
            raise ValueError(f"target_modules: {name!r} names no {kind}; there are: {', '.join(names) or 'none'}")


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
    """(in_features, out_features) of one of a block's matrices.

    Raises:
        ValueError: a block has none of that name.
    """
    check_targets([name], tuple(config.matrices))
    return config.matrices[name]


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
        ValueError: as `target_names` does, or one target lies inside another, before anything is replaced.
    """
    names = target_names(model, target_modules)
    for name in names:
        around = [other for other in names if name.startswith(f"{other}.")]
        if around:
            raise ValueError(f"target_modules: {name!r} lies inside {around[0]!r}; name one of them")
    for name in names:
        model.set_submodule(name, make(model.get_submodule(name)))
    return names


def merge_modules(adapted: nn.Module) -> nn.Module:
    """Put `merged()`, a plain module, in the place of every attached module that has it; in place."""
    for name, module in list(adapted.named_modules()):
        if isinstance(module, Attached) and hasattr(module, "merged"):
            adapted.set_submodule(name, module.merged())
    return adapted


def linear_layer(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A plain linear layer with copies of a weight (d_out, d_in) and a bias (d_out) or none, where they are."""
    d_out, d_in = weight.shape
    linear = nn.Linear(d_in, d_out, bias=bias is not None, device="meta")  # shapes without memory
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear


def detach(adapted: nn.Module) -> nn.Module:
    """Take a method off again, leaving the base as it was, to the bit.

    A module that a method adds keeps the module that it replaced under the name `base`; putting those back is all.
    It stays frozen. A fully fine-tuned model comes back as it is: nothing was added that could be taken off.
    """
    module = inside(adapted)
    for name, child in list(module.named_children()):
        setattr(module, name, detach(child))
    vars(module).pop("adaptation", None)  # the record of what was attached
    return module


# ---- the weights that train -------------------------------------------------------------------------------------------


def trainable_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The weights that train, by name: all that has to be stored for one task."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def load_weights(adapted: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a model with the same method attached what was trained, all or nothing, in the precision it was trained in.

    Raises:
        ValueError: names or shapes differ, so the weights belong to another method, setting or base; or a number is
            not finite.
    """
    own = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    wrong = sorted(own.keys() ^ weights.keys())
    wrong += [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    if wrong:
        raise ValueError(f"the weights do not fit this model, at {wrong[0]!r} among others; attach the same settings")
    check_finite(weights, "load_weights")
    for key, parameter in own.items():
        parameter.data = weights[key].detach().to(parameter.device, copy=True)
