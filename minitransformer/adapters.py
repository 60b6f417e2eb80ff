"""Attach a method by its name, train, save, load and merge: the few lines that one's own project needs.

    adapted = attach(load_base("tiny"), "lora", rank=4)
    train(adapted, task, steps=300, learning_rate=1e-2)
    save_adapter(adapted, "task.safetensors")

    model = merge(load_adapter(load_base("tiny"), "task.safetensors"))

A method of one's own is a `Method` under its name in `METHODS`; then all of this works with it.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from minitransformer.files import write_safetensors
from minitransformer.method import Adaptation, Method, Trained, adaptation_of, trained
from minitransformer.methods import METHODS
from minitransformer.model import GPTConfig
from minitransformer.surgery import base_weights, check_finite, count_parameters, detach, fingerprint

__all__ = ["attach", "count", "detach", "load_adapter", "merge", "read_adapter", "save_adapter"]

VERSION = 1  # of the file; a file of another version is not read


def method_of(name: str) -> Method:
    """A method by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in METHODS:
        raise ValueError(f"there is no method {name!r}; there are: {', '.join(METHODS)}")
    return METHODS[name]


def attach(model: nn.Module, method: str, **settings: object) -> nn.Module:
    """Freeze a model and add what a method trains; the model becomes part of the result.

    Args:
        model: a GPT; lora, dora, ia3 and adapter take any module with linear layers.
        method: a name in METHODS.
        settings: of the method, such as `rank=4`; what is left out has the method's default.

    Raises:
        ValueError: there is no such method or setting, or something is attached already; nothing is changed then.
    """
    return method_of(method).attach(model, **settings)


def count(model_or_config: nn.Module | GPTConfig, method: str, **settings: object) -> int:
    """How many numbers a method trains: from a config by its formula, in a model by attaching it to a copy.

    Raises:
        ValueError: as `attach`.
    """
    if isinstance(model_or_config, GPTConfig):
        return method_of(method).count(model_or_config, **settings)
    with torch.random.fork_rng(devices=[]):  # counting must not change what is drawn next
        adapted = attach(copy.deepcopy(model_or_config), method, **settings)
    return count_parameters(adapted, trainable_only=True)


def merge(adapted: nn.Module) -> nn.Module:
    """Fold what was trained into a copy of the base: a plain model with the same logits.

    Raises:
        ValueError: nothing is attached, the method cannot be merged, or more than one is attached.
    """
    method = method_of(adaptation_of(adapted).method)
    merged = method.merge(adapted)
    if merged is None:
        raise ValueError(f"merge: {method.name!r} cannot be folded into the base's weights; use the adapted model")
    return merged


# ---- files ------------------------------------------------------------------------------------------------------------


def checksum(record: str, weights: Mapping[str, Tensor]) -> str:
    """Of all that a file holds."""
    return hashlib.sha256((record + fingerprint(weights)).encode()).hexdigest()


def save_adapter(adapted: nn.Module, file: str | Path) -> None:
    """Write what was trained as one safetensors file, with all that is needed to bring it back.

    Besides the weights it holds: the method, its complete settings, the fingerprint and precision of the base as it is
    now, the version of the file, and a checksum.

    Raises:
        ValueError: the file would not bring the model back: nothing is attached, a weight is frozen, changed in the
            base or not finite, or METHODS does not know the method. Nothing is written then.
        OSError: the file cannot be written.
    """
    found = trained(adapted)
    method_of(found.adaptation.method)
    weights = {name: tensor.cpu().contiguous() for name, tensor in found.weights.items()}
    precision = str(next(iter(base_weights(adapted).values())).dtype)
    record = json.dumps({**asdict(found.adaptation), "precision": precision, "version": VERSION})
    write_safetensors(weights, Path(file), {"adapter": record, "checksum": checksum(record, weights)})


def read_adapter(file: str | Path) -> Trained:
    """Read what `save_adapter` wrote.

    Raises:
        ValueError: the file is missing or damaged, was not written by `save_adapter`, or by another version of it, or
            holds a method that METHODS does not know, or numbers that are not finite.
    """
    try:
        with safe_open(file, framework="pt") as saved:
            metadata = saved.metadata() or {}
            weights = {key: saved.get_tensor(key) for key in saved.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} cannot be read as an adapter file ({error}); save it again") from None
    if not {"adapter", "checksum"} <= metadata.keys():
        raise ValueError(f"{file} holds no adapter; only files that save_adapter wrote can be read")
    if checksum(metadata["adapter"], weights) != metadata["checksum"]:
        raise ValueError(f"{file} is damaged (its checksum is another); save it again")
    record = json.loads(metadata["adapter"])
    if record["version"] != VERSION:
        raise ValueError(f"{file} is of version {record['version']}, and this is version {VERSION}; save it again")
    method = method_of(record["method"])
    if record["settings"].keys() != method.defaults.keys():
        raise ValueError(f"{file} was saved by a {method.name!r} with other settings: {', '.join(record['settings'])}")
    check_finite(weights, str(file))
    return Trained(Adaptation(record["method"], record["settings"], record["base"]), weights)


def load_adapter(model: nn.Module, file: str | Path, allow_other_base: bool = False) -> nn.Module:
    """Attach what a file holds to the base that it was trained on; the model becomes part of the result.

    Args:
        model: the base.
        file: written by `save_adapter`.
        allow_other_base: take a base with other weights, or in another precision, if the shapes fit. The logits are
            then not those that were saved.

    Raises:
        ValueError: as `read_adapter`; or the model is another base, or has something attached; it is unchanged then.
    """
    found = read_adapter(file)
    try:
        return method_of(found.adaptation.method).restore(model, found, allow_other_base)
    except ValueError as error:
        raise ValueError(f"{file} cannot be loaded: {error}") from None
