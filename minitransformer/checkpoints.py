"""The pretrained bases that ship with the course: safetensors for the weights, a JSON card beside each."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from minitransformer.model import GPT, GPTConfig

FOLDER = Path(__file__).parent / "pretrained"


def base_names(folder: Path = FOLDER) -> list[str]:
    """Names of the bases that are there."""
    return sorted(file.stem for file in folder.glob("*.json"))


def load_card(name: str, folder: Path = FOLDER) -> dict:
    """Read a base's card: its config, data, seed, steps, accuracies, and the command that made it.

    Raises:
        ValueError: no base of that name is there, or its card is damaged.
    """
    if name not in base_names(folder):
        raise ValueError(f"there is no base {name!r}; there are: {', '.join(base_names(folder)) or 'none'}")
    try:
        card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        GPTConfig(**card["config"])
        card["sha256"]  # must be there too
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the card {folder / name}.json is damaged ({error}); {remedy(name)}") from None
    return card


def load_base(name: str = "tiny", device: torch.device | str = "cpu", folder: Path = FOLDER) -> GPT:
    """Load a pretrained base, in evaluation mode.

    Args:
        name: `nano`, `tiny`, `small` (the skills base, 32, 64 and 128 wide) or `docs` (the character model).
        device: where the weights go.
        folder: where the bases are.

    Raises:
        ValueError: no base of that name is there, or its files are damaged.
    """
    card = load_card(name, folder)
    file = folder / f"{name}.safetensors"
    try:
        data = file.read_bytes()  # read, not mapped: an open map would keep Windows from replacing the file
        weights = load(data)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} is missing or damaged ({error}); {remedy(name)}") from None
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise ValueError(f"{file} is damaged (its checksum is not the card's); {remedy(name)}")
    with torch.random.fork_rng(devices=[]):  # loading must not change what is drawn next
        model = GPT(GPTConfig(**card["config"]))
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError:
        raise ValueError(
            f"the card {folder / name}.json is damaged (its config is not the weights'); {remedy(name)}"
        ) from None
    return model.requires_grad_().eval().to(device)


def remedy(name: str) -> str:
    """What to do about a damaged base."""
    return f"restore it with `git checkout -- minitransformer/{FOLDER.name}` or make it anew with `python -m minitransformer pretrain {name}`"
